/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * ProtectBus=: what of a signature crosses in each mode, what becomes of answers that were changed on their way, and
 * that no session stays behind, whatever goes wrong. And a TPM that has no TPM2_HMAC.
 */
#include <config.h>

#include "common/error.h"
#include "tests/tpm/bench.h"
#include "tests/tpm/record.h"

#include <string.h>

#define SESSION_TYPE 0x02 /* TPM_HT_HMAC_SESSION, the first byte of its handle */
#define COMMANDS_MAX 20

static const uint8_t key[32] = "\x4e\x91\xd0kP\x1f\x83\xaa also at random\x02\xb7\xee\x10\x9c";
static const uint8_t text[3000] = "hub.azure-devices.net%2fdevices%2fweather-1\n1893456000";
static const size_t lengths[] = { 54, sizeof text }; /* one command; a sequence */

static struct bench *
start(bool always)
{
    struct bench *bench = bench_start_injected("record=%s/record,");
    g_autoptr(GError) error = NULL;
    tpm_protect_bus(bench->tpm, always);
    bench_attach(bench);
    bench_provision(bench, 0, key, sizeof key, &error);
    g_assert_no_error(error);
    bench_expect_signs(bench, 0, key, sizeof key);
    return bench;
}

/* Signs once; right is whether that is the signature of the key. */
static bool
sign(struct bench *bench, size_t len, bool *right, GError **error)
{
    uint8_t mac[SLOT_MAC_BYTES], expected[SLOT_MAC_BYTES];
    bench_hmac(key, sizeof key, text, len, expected);
    bool done = bench_sign(bench, 0, text, len, mac, error);
    *right = done && memcmp(mac, expected, sizeof mac) == 0;
    return done;
}

/* ---- what crosses ---- */

static void
expect_hmacs_in_session(GPtrArray *messages, bool always)
{
    for (guint i = 0; i < messages->len; i++)
        if (record_is_command(messages->pdata[i]) && record_number(messages->pdata[i], 6) == RECORD_HMAC) {
            uint32_t session = record_number(messages->pdata[i], 18);
            g_assert_true(always ? session >> 24 == SESSION_TYPE : session == RECORD_PASSWORD);
        }
}

static void
test_crosses(gconstpointer data)
{
    bool always = GPOINTER_TO_INT(data), right;
    struct bench *bench = start(always);
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        uint8_t mac[SLOT_MAC_BYTES];
        g_autoptr(GError) error = NULL;
        record_forget(bench);
        sign(bench, lengths[i], &right, &error);
        g_assert_no_error(error);
        g_assert_true(right);
        g_autoptr(GPtrArray) messages = record_read(bench);
        bench_hmac(key, sizeof key, text, lengths[i], mac);
        g_assert_cmpint(record_holds(messages, mac, sizeof mac), ==, !always);
        record_expect_absent(messages, key, sizeof key);
        if (always)
            record_expect_absent(messages, mac, sizeof mac);
        g_assert_cmpuint(record_count(messages, RECORD_START_AUTH_SESSION), ==, always ? 1 : 0);
        record_expect_salted(messages);
        expect_hmacs_in_session(messages, always);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
    }
    bench_stop(bench);
}

/* ---- what is changed on its way ---- */

/* Where in the answer of TPM2_HMAC: in the signature, behind tag, length, code, length of parameters and its own; and
 * in the proof, which comes last. */
static const int offsets[] = { 16, 40, -1, -20 };

/* Everyday signing cannot tell, which is why there is the other mode. */
static void
test_unnoticed(void)
{
    struct bench *bench = start(false);
    g_autoptr(GError) error = NULL;
    bool right;
    bench_inject(bench, "0x155 1 1 flip 16\n");
    sign(bench, lengths[0], &right, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(bench_injected(bench), ==, 1);
    g_assert_false(right);
    bench_stop(bench);
}

static void
test_noticed(void)
{
    struct bench *bench = start(true);
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++)
        for (unsigned count = 0; count < 2; count++) { /* 0: each of them */
            g_autofree char *rules = g_strdup_printf("0x155 1 %u flip %d\n", count, offsets[i]);
            g_autoptr(GError) error = NULL;
            bool right;
            bench_inject(bench, rules);
            bool done = sign(bench, lengths[0], &right, &error);
            g_assert_cmpuint(bench_injected(bench), ==, count ? 1 : 2);
            /* Asked once more, the TPM's own answer may come through. */
            g_assert_true(count ? right : !done);
            if (!done)
                bench_expect_error(&error, ERROR_TPM_FAILED, "does not carry the TPM's proof");
            bench_inject(bench, NULL);
            bench_expect_signs(bench, 0, key, sizeof key);
            g_assert_true(stranger_same_usage(bench->stranger, &before));
        }
    bench_stop(bench);
}

/* The TPM's nonce when the session begins: both sides have another key then. */
static void
test_session_changed(void)
{
    struct bench *bench = start(true);
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    bool right;
    bench_inject(bench, "0x176 1 0 flip 20\n");
    g_assert_false(sign(bench, lengths[0], &right, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "does not know the key of the session");
    bench_inject(bench, NULL);
    bench_expect_signs(bench, 0, key, sizeof key);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* Another key in the SRK's place, whose owner would learn the salt: nothing is encrypted to it. */
static void
test_srk_exchanged(void)
{
    struct bench *bench = start(true);
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    bool right;
    stranger_evict(bench->stranger, BENCH_SRK);
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    tpm_close(bench->tpm);
    record_forget(bench);
    g_assert_false(sign(bench, lengths[0], &right, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "not the one that hubkeyd pinned");
    g_autoptr(GPtrArray) messages = record_read(bench);
    g_assert_cmpuint(record_count(messages, RECORD_START_AUTH_SESSION), ==, 0);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* ---- every command refused, or its answer changed ---- */

static unsigned
count_commands(struct bench *bench, size_t len)
{
    g_autoptr(GError) error = NULL;
    bool right;
    record_forget(bench);
    sign(bench, len, &right, &error);
    g_assert_no_error(error);
    g_autoptr(GPtrArray) messages = record_read(bench);
    return record_count(messages, 0);
}

static void
expect_nothing_left(struct bench *bench, size_t len, unsigned n, const char *what)
{
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autofree char *rules = g_strdup_printf("any %u 1 %s\n", n, what);
    g_autoptr(GError) error = NULL;
    bool right;
    bench_inject(bench, rules);
    bool done = sign(bench, len, &right, &error);
    g_assert_cmpuint(bench_injected(bench), ==, 1);
    bench_inject(bench, NULL);
    g_assert_true(right == done); /* never a wrong signature */
    bench_expect_signs(bench, 0, key, sizeof key);
    if (!stranger_same_usage(bench->stranger, &before))
        g_error("%s at command %u of a signature of %zu bytes leaves something in the TPM", what, n, len);
}

/* Nobody can help it where the session's flush, the last command of a sequence, is refused, or where the handle that a
 * sequence has got does not arrive whole: only a resource manager knows it then. */
static void
test_every_command(void)
{
    static const char *const refusals[] = { "refuse 0x902", "refuse 0x903", "refuse 0x922", "refuse 0x101",
                                            "refuse 0x98e" };
    struct bench *bench = start(true);
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        unsigned commands = count_commands(bench, lengths[i]) - (i == 1);
        g_assert_cmpuint(commands, >, 1);
        g_assert_cmpuint(commands, <, COMMANDS_MAX);
        for (unsigned n = 1; n <= commands; n++) {
            for (size_t j = 0; j < G_N_ELEMENTS(refusals); j++)
                expect_nothing_left(bench, lengths[i], n, refusals[j]);
            if (n > 1 + i)
                expect_nothing_left(bench, lengths[i], n, "flip -1");
        }
    }
    bench_stop(bench);
}

/* ---- a TPM without TPM2_HMAC ---- */

static void
test_no_one_shot(gconstpointer data)
{
    struct bench *bench = start(GPOINTER_TO_INT(data));
    struct stranger_usage before = stranger_usage(bench->stranger);
    bench_inject(bench, "0x155 1 0 refuse 0x143\n");
    for (int i = 0; i < 5; i++)
        bench_expect_signs(bench, 0, key, sizeof key);
    g_assert_cmpuint(bench_injected(bench), ==, 1); /* and is not asked for it again */
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    tpm_close(bench->tpm);
    bench_expect_signs(bench, 0, key, sizeof key);
    g_assert_cmpuint(bench_injected(bench), ==, 2); /* another may stand there now */
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_data_func("/protect/crosses/provisioning", GINT_TO_POINTER(false), test_crosses);
    g_test_add_data_func("/protect/crosses/always", GINT_TO_POINTER(true), test_crosses);
    g_test_add_func("/protect/changed/unnoticed", test_unnoticed);
    g_test_add_func("/protect/changed/noticed", test_noticed);
    g_test_add_func("/protect/changed/session", test_session_changed);
    g_test_add_func("/protect/srk-exchanged", test_srk_exchanged);
    g_test_add_func("/protect/every-command", test_every_command);
    g_test_add_data_func("/protect/no-one-shot/provisioning", GINT_TO_POINTER(false), test_no_one_shot);
    g_test_add_data_func("/protect/no-one-shot/always", GINT_TO_POINTER(true), test_no_one_shot);
    return g_test_run();
}
