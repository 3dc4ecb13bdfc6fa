/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Provisioning, signing and clearing slots in the TPM, and what happens when the TPM refuses half-way.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/intent.h"
#include "tests/tpm/bench.h"

#include <string.h>

#define PASSWORD "correct horse battery staple"

static uint8_t key[1024];

static struct bench *
start(void)
{
    struct bench *bench = bench_start();
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 31 + 5);
    bench_attach(bench);
    return bench;
}

static void
provision(struct bench *bench, uint32_t slot, size_t len)
{
    g_autoptr(GError) error = NULL;
    bench_provision(bench, slot, key, len, &error);
    g_assert_no_error(error);
}

static void
clear(struct bench *bench, uint32_t slot)
{
    g_autoptr(GError) error = NULL;
    bench_clear(bench, slot, &error);
    g_assert_no_error(error);
}

static void
expect_provision_fails(struct bench *bench, int code, const char *words)
{
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_provision(bench, 0, key, 32, &error));
    bench_expect_error(&error, code, words);
    g_assert_null(stranger_look(bench->stranger, BENCH_KEY(0)));
    g_assert_null(stranger_look(bench->stranger, BENCH_NV(0)));
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    bench_expect_tidy(bench);
}

static uint64_t
generation(struct bench *bench, uint32_t slot)
{
    g_autoptr(GError) error = NULL;
    struct slot_finding finding;
    slot_storage_ops.survey(bench->storage, slot, &finding, &error);
    g_assert_no_error(error);
    uint64_t number = finding.generation;
    slot_finding_clear(&finding);
    return number;
}

/* ---- when all goes well ---- */

/* HMAC's own rule: a key longer than a block is hashed first. */
static void
test_key_lengths(void)
{
    static const size_t lengths[] = { 1, 32, 63, 64, 65, 128, 1023, 1024 };
    struct bench *bench = start();
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        provision(bench, 0, lengths[i]);
        bench_expect_signs(bench, 0, key, lengths[i]);
        clear(bench, 0);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
        bench_expect_tidy(bench);
    }
    bench_stop(bench);
}

static void
test_text_lengths(void)
{
    static const size_t lengths[] = { 0, 1, 1024, 1025, 2048, 3000 };
    static uint8_t text[3000];
    struct bench *bench = start();
    struct stranger_usage before = stranger_usage(bench->stranger);
    provision(bench, 0, 32);
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        uint8_t mac[SLOT_MAC_BYTES], expected[SLOT_MAC_BYTES];
        g_autoptr(GError) error = NULL;
        bench_sign(bench, 0, text, lengths[i], mac, &error);
        g_assert_no_error(error);
        bench_hmac(key, 32, text, lengths[i], expected);
        g_assert_cmpmem(mac, sizeof mac, expected, sizeof expected);
    }
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

static void
test_generations(void)
{
    struct bench *bench = start();
    for (uint64_t round = 0; round < 3; round++) {
        provision(bench, 0, 32);
        g_assert_cmpuint(generation(bench, 0), ==, 2 * round + 1);
        bench_restart(bench);
        g_assert_cmpuint(generation(bench, 0), ==, 2 * round + 1);
        clear(bench, 0);
        g_assert_cmpuint(generation(bench, 0), ==, 2 * round + 2);
        bench_restart(bench);
    }
    /* A token of an earlier generation is not made any more. */
    uint8_t mac[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    provision(bench, 0, 32);
    g_assert_false(slot_storage_ops.sign(bench->storage, 0, 1, "x", 1, mac, &error));
    bench_expect_error(&error, ERROR_BUSY, "retry in 0 ms");
    bench_stop(bench);
}

static void
test_clear_empty(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_clear(bench, 0, &error));
    bench_expect_error(&error, ERROR_NOT_PROVISIONED, "nothing to clear");
    bench_stop(bench);
}

/* An SRK is pinned by the slots that need it, and by nothing else. */
static void
test_srk_pin(void)
{
    struct bench *bench = start();
    g_autofree char *pin = g_build_filename(bench->state_dir, "srk", NULL);
    provision(bench, 0, 32);
    provision(bench, 1, 32);
    clear(bench, 0);
    g_assert_true(g_file_test(pin, G_FILE_TEST_EXISTS));
    clear(bench, 1);
    g_assert_false(g_file_test(pin, G_FILE_TEST_EXISTS));
    /* Pinned for a Provision that then failed; the TPM is cleared, and still it can be provisioned. */
    stranger_fill_persistent(bench->stranger);
    expect_provision_fails(bench, ERROR_NO_SPACE, "full");
    stranger_clear(bench->stranger);
    bench_restart(bench);
    g_assert_false(bench->medium.cleared);
    provision(bench, 0, 32);
    bench_expect_signs(bench, 0, key, 32);
    bench_stop(bench);
}

/* Making the SRK is refused at whatever command: nothing of it stays, and a stranger's object that looks like it
 * does. */
static void
test_srk_refused(void)
{
    static const char *const commands[] = { "0x181", "0x17a", "0x131", "0x120", "0x165" };
    struct bench *bench = bench_start_injected("record=%s/record,");
    bench_attach(bench);
    uint32_t theirs = stranger_load_rsa_storage(bench->stranger, true);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autofree char *rules = g_strdup_printf("%s 1 1 refuse 0x17f\n", commands[i]);
        bench_inject(bench, rules);
        expect_provision_fails(bench, ERROR_TPM_FAILED, "0x17f");
        g_assert_cmpuint(bench_injected(bench), ==, 1);
        g_autoptr(GBytes) srk = stranger_look(bench->stranger, BENCH_SRK);
        /* It stands where only its copy could not be flushed. */
        g_assert_true(!srk == (strcmp(commands[i], "0x165") != 0));
    }
    /* As after a kill, and the flush is refused then: it is not forgotten that something is left. */
    stranger_evict(bench->stranger, BENCH_SRK);
    bench_inject(bench, "0x120 1 1 refuse 0x17f\n0x165 1 2 refuse 0x17f\n");
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_provision(bench, 0, key, 32, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "TPM2_EvictControl");
    g_assert_cmpuint(bench_injected(bench), ==, 3);
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, 2);
    bench_attach(bench);
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, 1);
    stranger_flush(bench->stranger, theirs);
    provision(bench, 0, 32);
    bench_expect_signs(bench, 0, key, 32);
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* ---- reset ---- */

static void
test_power_cut(void)
{
    struct bench *bench = start();
    provision(bench, 0, 32);
    bench_expect_signs(bench, 0, key, 32);
    for (int i = 0; i < 3; i++) {
        swtpm_cut_power(bench->swtpm);
        swtpm_give_power(bench->swtpm);
        bench_expect_signs(bench, 0, key, 32);
    }
    swtpm_cut_power(bench->swtpm);
    uint8_t mac[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_sign(bench, 0, "x", 1, mac, &error));
    bench_expect_error(&error, ERROR_TPM_ABSENT, "TPM");
    g_assert_false(bench_clear(bench, 0, &error));
    bench_expect_error(&error, ERROR_TPM_ABSENT, "TPM");
    swtpm_give_power(bench->swtpm);
    bench_expect_signs(bench, 0, key, 32);
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* What was cut short is pending for as long as the TPM lets nobody finish it, and says so. */
static void
test_pending(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    provision(bench, 0, 32);
    struct store_record record;
    g_assert_true(store_load_record(bench->store, 0, &record, NULL));
    const struct intent intent = { .operation = INTENT_CLEAR, .generation = 2, .old = record.key };
    g_assert_true(intent_write(bench->store, 0, &intent, NULL));
    store_record_clear(&record);
    stranger_set_owner(bench->stranger, "", PASSWORD);
    bench_restart(bench); /* which may not finish it */
    bench_expect(bench, 0, SLOT_PENDING, "clearing was cut short");
    g_assert_false(bench_clear(bench, 0, &error)); /* the command that the message names says what is missing */
    bench_expect_error(&error, ERROR_TPM_FAILED, "OwnerAuthFile");
    bench_give_owner(bench, PASSWORD); /* and with that it is finished without hands */
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* ---- the owner's password ---- */

static void
test_owner(void)
{
    static const char *const spellings[] = { PASSWORD, PASSWORD "\n" };
    struct bench *bench = start();
    struct stranger_usage before = stranger_usage(bench->stranger);
    stranger_set_owner(bench->stranger, "", PASSWORD);
    for (size_t i = 0; i < G_N_ELEMENTS(spellings); i++) {
        /* With no SRK there at first: the one session then has nothing to be salted to. */
        bench_give_owner(bench, spellings[i]);
        provision(bench, 0, 32);
        bench_expect_signs(bench, 0, key, 32);
        clear(bench, 0);
        bench_expect(bench, 0, SLOT_EMPTY, NULL);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
    }
    bench_stop(bench);
}

/* Wrong, missing or malformed: said by name, tried once, and no step towards the lockout. */
static void
expect_owner_refused(struct bench *bench, const char *password)
{
    bench_give_owner(bench, password);
    expect_provision_fails(bench, ERROR_TPM_FAILED, "OwnerAuthFile");
    g_assert_cmpuint(stranger_lockout_counter(bench->stranger), ==, 0);
}

static void
test_owner_wrong(void)
{
    struct bench *bench = start();
    stranger_set_owner(bench->stranger, "", PASSWORD);
    g_autofree char *too_long = g_strnfill(TPM_OWNER_AUTH_MAX + 1, 'x'), *far_too_long = g_strnfill(5000, 'x');
    const char *const wrong[] = { "wrong", "", PASSWORD "\n\n", too_long, far_too_long, NULL };
    expect_provision_fails(bench, ERROR_TPM_FAILED, "OwnerAuthFile");
    for (int with_srk = 0; with_srk < 2; with_srk++) {
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
            expect_owner_refused(bench, wrong[i]);
        /* Once more, with an SRK that sessions are salted to. */
        bench_give_owner(bench, PASSWORD);
        provision(bench, 0, 32);
        clear(bench, 0);
    }
    bench_stop(bench);
}

/* A Clear that is refused at once leaves a slot that works. */
static void
test_owner_wrong_clear(void)
{
    struct bench *bench = start();
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    stranger_set_owner(bench->stranger, "", PASSWORD);
    bench_give_owner(bench, PASSWORD);
    provision(bench, 0, 32);
    bench_give_owner(bench, "wrong");
    g_assert_false(bench_clear(bench, 0, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "OwnerAuthFile");
    bench_expect(bench, 0, SLOT_READY, NULL);
    bench_expect_signs(bench, 0, key, 32);
    bench_expect_tidy(bench);
    g_assert_cmpuint(stranger_lockout_counter(bench->stranger), ==, 0);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_give_owner(bench, PASSWORD "\n");
    clear(bench, 0);
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    bench_stop(bench);
}

/* ---- a full TPM ---- */

static void
test_full_persistent(void)
{
    struct bench *bench = start();
    provision(bench, 1, 32);
    stranger_fill_persistent(bench->stranger);
    expect_provision_fails(bench, ERROR_NO_SPACE, "use a slot from 10 on");
    expect_provision_fails(bench, ERROR_NO_SPACE, "0x81000001 the storage root key, 0x81000101 a slot of hubkey");
    expect_provision_fails(bench, ERROR_NO_SPACE, "tpm2_evictcontrol");
    bench_expect_signs(bench, 1, key, 32);
    clear(bench, 1);
    provision(bench, 0, 32);
    bench_expect_signs(bench, 0, key, 32);
    bench_stop(bench);
}

static void
test_full_nv(void)
{
    struct bench *bench = start();
    provision(bench, 1, 32);
    stranger_fill_nv(bench->stranger);
    expect_provision_fails(bench, ERROR_NO_SPACE, "use a slot from 10 on");
    expect_provision_fails(bench, ERROR_NO_SPACE, "0x01400101 a slot of hubkey");
    expect_provision_fails(bench, ERROR_NO_SPACE, "NV indices");
    expect_provision_fails(bench, ERROR_NO_SPACE, "tpm2_nvundefine");
    bench_expect_signs(bench, 1, key, 32);
    bench_stop(bench);
}

/* Others hold all the memory for loaded objects: Busy, which says when to come again, and then it works. */
static void
test_full_transient(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    uint32_t handles[3];
    provision(bench, 1, 32);
    for (size_t i = 0; i < G_N_ELEMENTS(handles); i++)
        handles[i] = stranger_load(bench->stranger);
    g_assert_false(bench_provision(bench, 0, key, 32, &error));
    g_assert_nonnull(strstr(error->message, "3 loaded objects (0x80000000, 0x80000001, 0x80000002) of other programs"));
    g_assert_nonnull(strstr(error->message, "tpm2_flushcontext -t"));
    bench_expect_error(&error, ERROR_BUSY, "retry in 1000 ms");
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, 3);
    for (size_t i = 0; i < G_N_ELEMENTS(handles); i++)
        stranger_flush(bench->stranger, handles[i]);
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    bench_expect_tidy(bench);
    provision(bench, 0, 32);
    bench_expect_signs(bench, 0, key, 32);
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/slot-change/key-lengths", test_key_lengths);
    g_test_add_func("/slot-change/text-lengths", test_text_lengths);
    g_test_add_func("/slot-change/generations", test_generations);
    g_test_add_func("/slot-change/clear-empty", test_clear_empty);
    g_test_add_func("/slot-change/srk-pin", test_srk_pin);
    g_test_add_func("/slot-change/srk-refused", test_srk_refused);
    g_test_add_func("/slot-change/power-cut", test_power_cut);
    g_test_add_func("/slot-change/pending", test_pending);
    g_test_add_func("/slot-change/owner/right", test_owner);
    g_test_add_func("/slot-change/owner/wrong", test_owner_wrong);
    g_test_add_func("/slot-change/owner/wrong-clear", test_owner_wrong_clear);
    g_test_add_func("/slot-change/full/persistent", test_full_persistent);
    g_test_add_func("/slot-change/full/nv", test_full_nv);
    g_test_add_func("/slot-change/full/transient", test_full_transient);
    return g_test_run();
}
