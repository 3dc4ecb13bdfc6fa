/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * In which state slots are taken to be, by what stands in the TPM and on disk.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/slot-key.h"
#include "tests/lib/refuse.h"
#include "tests/tpm/bench.h"

#include <string.h>
#include <unistd.h>

static const uint8_t key[32] = "thirty-two bytes of a hub's key";

static struct bench *
start_provisioned(void)
{
    struct bench *bench = bench_start();
    g_autoptr(GError) error = NULL;
    bench_attach(bench);
    bench_provision(bench, 0, key, sizeof key, &error);
    g_assert_no_error(error);
    return bench;
}

static void
expect_not_signed(struct bench *bench, uint32_t slot, int code, const char *words)
{
    uint8_t mac[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_sign(bench, slot, "x", 1, mac, &error));
    bench_expect_error(&error, code, words);
}

static void
expect_not_provisioned(struct bench *bench, uint32_t slot, int code, const char *words)
{
    g_autoptr(GError) error = NULL;
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GBytes) object = stranger_look(bench->stranger, BENCH_KEY(slot));
    g_autoptr(GBytes) index = stranger_look(bench->stranger, BENCH_NV(slot));
    g_assert_false(bench_provision(bench, slot, key, sizeof key, &error));
    bench_expect_error(&error, code, words);
    g_autoptr(GBytes) object_now = stranger_look(bench->stranger, BENCH_KEY(slot));
    g_autoptr(GBytes) index_now = stranger_look(bench->stranger, BENCH_NV(slot));
    g_assert_true(!object == !object_now && (!object || g_bytes_equal(object, object_now)));
    g_assert_true(!index == !index_now && (!index || g_bytes_equal(index, index_now)));
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_expect_tidy(bench);
}

static void
test_empty_and_ready(void)
{
    struct bench *bench = bench_start();
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    bench_attach(bench);
    g_assert_null(bench->medium.srk_name);
    g_assert_false(bench->medium.cleared);
    /* Looking makes nothing, not even the SRK. */
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++)
        bench_expect(bench, slot, SLOT_EMPTY, NULL);
    g_assert_null(stranger_look(bench->stranger, BENCH_SRK));
    expect_not_signed(bench, 0, ERROR_NOT_PROVISIONED, "slot 0");
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++) {
        g_assert_true(bench_provision(bench, slot, key, sizeof key - slot, &error));
        bench_expect(bench, slot, SLOT_READY, NULL);
    }
    bench_restart(bench);
    g_assert_nonnull(bench->medium.srk_name);
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++) {
        bench_expect(bench, slot, SLOT_READY, NULL);
        bench_expect_signs(bench, slot, key, sizeof key - slot);
        expect_not_provisioned(bench, slot, ERROR_SLOT_IN_USE, "hubkeyctl clear");
    }
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

static void
expect_found(struct bench *bench, uint32_t slot, const char *host, const char *device)
{
    g_autoptr(GError) error = NULL;
    struct slot_finding finding;
    slot_storage_ops.survey(bench->storage, slot, &finding, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(slot_state_name(finding.state), ==, "found");
    g_assert_cmpstr(finding.identity->host, ==, host);
    g_assert_cmpstr(finding.identity->device, ==, device);
    g_assert_cmpuint(strlen(finding.tpm_name), ==, 68);
    g_assert_cmpuint(finding.generation, ==, 0);
    slot_finding_clear(&finding);
}

/* What Windows left is shown and not used. */
static void
test_found(void)
{
    struct bench *bench = bench_start();
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    stranger_put(bench->stranger, BENCH_KEY(0), STRANGER_HMAC, NULL);
    stranger_put_text(bench->stranger, BENCH_NV(0), "Old.Azure-Devices.net/pump:7");
    stranger_put(bench->stranger, BENCH_KEY(3), STRANGER_HMAC, NULL);
    stranger_put_text(bench->stranger, BENCH_NV(3), "old.azure-devices.net/");
    stranger_put(bench->stranger, BENCH_KEY(9), STRANGER_HMAC, NULL);
    stranger_put_nv(bench->stranger, BENCH_NV(9), STRANGER_NV_MCU, NULL, "h.azure-devices.cn/a%2fb", 24);
    bench_attach(bench);
    expect_found(bench, 0, "old.azure-devices.net", "pump:7");
    expect_found(bench, 9, "h.azure-devices.cn", "a%2fb"); /* '%' is a letter of device IDs like any other */
    /* Without a device ID it is the hardware's. */
    g_autofree char *hardware = slot_hardware_id(3, bench->medium.srk_name);
    g_assert_cmpuint(strlen(hardware), ==, 64);
    expect_found(bench, 3, "old.azure-devices.net", hardware);
    expect_not_signed(bench, 0, ERROR_NOT_PROVISIONED, "slot 0");
    expect_not_provisioned(bench, 0, ERROR_SLOT_IN_USE, "pump:7");
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_clear(bench, 0, &error));
    bench_expect_error(&error, ERROR_NOT_PROVISIONED, "nothing to clear");
    bench_stop(bench);
}

static void
test_hardware_id(void)
{
    static const char srk[] = "000bfff389956ba8d5a722a9eeb4a3e7a813d003d8b9018f6f3d900fea2dbcf2f75c";
    g_autofree char *zero = slot_hardware_id(0, srk), *three = slot_hardware_id(3, srk);
    g_autofree char *none = slot_hardware_id(0, NULL);
    g_assert_cmpstr(zero, ==, "05bc8e3fedb7718d9f222b89ddb176437f9d9e2177ae86d363c210b3725da2e3");
    g_assert_cmpstr(three, ==, "a332bae88abf0c8ed5d2d6f895312918eb345d0c1974a66ec21c4d59834069b9");
    g_assert_cmpstr(none, ==, "");
}

/* Objects of others where a slot would be: never taken for one, never touched. */
static void
test_foreign_objects(void)
{
    static const enum stranger_kind kinds[] = { STRANGER_HMAC_SHA1, STRANGER_HMAC_384, STRANGER_RESTRICTED,
                                                STRANGER_SEALED, STRANGER_ECC_SIGN, STRANGER_ECC_STORAGE };
    struct bench *bench = bench_start();
    bench_attach(bench);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        stranger_put(bench->stranger, BENCH_KEY(2), kinds[i], NULL);
        bench_expect(bench, 2, SLOT_FOREIGN, "another program's object");
        stranger_put_text(bench->stranger, BENCH_NV(2), "h.azure-devices.net/d");
        bench_expect(bench, 2, SLOT_FOREIGN, "another program's object");
        expect_not_provisioned(bench, 2, ERROR_FOREIGN, "leaves it alone");
        stranger_evict(bench->stranger, BENCH_KEY(2));
        bench_expect(bench, 2, SLOT_FOREIGN, "NV index");
        expect_not_provisioned(bench, 2, ERROR_FOREIGN, "leaves it alone");
        stranger_undefine(bench->stranger, BENCH_NV(2));
        bench_expect(bench, 2, SLOT_EMPTY, NULL);
    }
    stranger_put(bench->stranger, BENCH_KEY(2), STRANGER_HMAC, NULL);
    bench_expect(bench, 2, SLOT_FOREIGN, "device provisioning");
    expect_not_provisioned(bench, 2, ERROR_FOREIGN, "leaves it alone");
    bench_stop(bench);
}

/* Records that name no host and device, some of them made to hurt whoever believes them. */
static void
test_foreign_records(void)
{
    static const struct {
        const char *text;
        size_t size;
    } rows[] = {
        { "", 1 }, { "/", 1 }, { "/device", 7 }, { "host", 4 }, { "h.azure-devices.net/d\0", 22 },
        { "h%2eazure-devices.net/d", 23 },
        { "h.azure-devices.net/d\r\nX: y", 27 }, { "h.azure-devices.net\r\n/d", 23 },
        { "h.azure-devices.net/d/e", 23 }, { "h.azure-devices.net/..", 22 }, { "h.azure-devices.net/d d", 23 },
        { "h_x.azure-devices.net/d&se=9", 28 }, { "\xff\xfe\xc0\x80/\xff", 6 }, { "h.azure-devices.net/d\xc3\xa9", 23 },
    };
    struct bench *bench = bench_start();
    bench_attach(bench);
    stranger_put(bench->stranger, BENCH_KEY(5), STRANGER_HMAC, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_test_message("record %zu", i);
        stranger_put_nv(bench->stranger, BENCH_NV(5), STRANGER_NV_WINDOWS, NULL, rows[i].text, rows[i].size);
        bench_expect(bench, 5, SLOT_FOREIGN, "names no host and device");
        expect_not_provisioned(bench, 5, ERROR_FOREIGN, "leaves it alone");
        stranger_undefine(bench->stranger, BENCH_NV(5));
    }
    g_autofree char *huge = g_strnfill(1000, 'h');
    stranger_put_nv(bench->stranger, BENCH_NV(5), STRANGER_NV_WINDOWS, NULL, huge, 1000);
    bench_expect(bench, 5, SLOT_FOREIGN, "names no host and device");
    bench_stop(bench);
}

/* ---- tampering ---- */

/* Nothing is signed, nothing provisioned, and a new start makes no difference. */
static void
expect_tampered(struct bench *bench, const char *words)
{
    expect_not_signed(bench, 0, ERROR_TAMPERED, words);
    bench_expect(bench, 0, SLOT_TAMPERED, words);
    expect_not_provisioned(bench, 0, ERROR_SLOT_IN_USE, "hubkeyctl clear 0");
    bench_restart(bench);
    bench_expect(bench, 0, SLOT_TAMPERED, words);
}

static void
test_key_swapped(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    bench_expect_signs(bench, 0, key, sizeof key);
    stranger_evict(bench->stranger, BENCH_KEY(0));
    stranger_put(bench->stranger, BENCH_KEY(0), STRANGER_HMAC, NULL);
    g_autoptr(GBytes) theirs = stranger_look(bench->stranger, BENCH_KEY(0));
    bench_restart(bench);
    expect_tampered(bench, "another key stands in its place");
    g_assert_true(bench_clear(bench, 0, &error));
    g_autoptr(GBytes) still = stranger_look(bench->stranger, BENCH_KEY(0));
    g_assert_true(g_bytes_equal(theirs, still));
    g_assert_null(stranger_look(bench->stranger, BENCH_NV(0)));
    bench_expect(bench, 0, SLOT_FOREIGN, "without an identity record");
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* Even the key that is held open is known to be gone with the next signature. */
static void
test_key_gone(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    bench_expect_signs(bench, 0, key, sizeof key);
    stranger_evict(bench->stranger, BENCH_KEY(0));
    expect_tampered(bench, "its key is gone");
    g_assert_true(bench_clear(bench, 0, &error));
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    g_assert_null(stranger_look(bench->stranger, BENCH_NV(0)));
    bench_stop(bench);
}

static void
test_record_changed(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    stranger_undefine(bench->stranger, BENCH_NV(0));
    expect_tampered(bench, "its identity record is gone");
    stranger_put_text(bench->stranger, BENCH_NV(0), "evil.azure-devices.net/weather-1");
    g_autoptr(GBytes) theirs = stranger_look(bench->stranger, BENCH_NV(0));
    expect_tampered(bench, "its identity record was changed");
    g_assert_true(bench_clear(bench, 0, &error));
    g_autoptr(GBytes) still = stranger_look(bench->stranger, BENCH_NV(0));
    g_assert_true(g_bytes_equal(theirs, still));
    g_assert_null(stranger_look(bench->stranger, BENCH_KEY(0)));
    bench_expect(bench, 0, SLOT_FOREIGN, "NV index");
    bench_stop(bench);
}

static void
test_tpm_cleared(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    stranger_clear(bench->stranger);
    bench_restart(bench);
    g_assert_true(bench->medium.cleared);
    g_assert_null(bench->medium.srk_name);
    expect_tampered(bench, "cleared");
    /* Nothing is made in a cleared TPM before the slots that are lost are cleared. */
    g_assert_false(bench_provision(bench, 1, key, sizeof key, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "the TPM was cleared");
    g_assert_null(stranger_look(bench->stranger, BENCH_SRK));
    g_assert_true(bench_clear(bench, 0, &error));
    g_assert_true(bench_provision(bench, 0, key, sizeof key, &error));
    bench_restart(bench);
    g_assert_false(bench->medium.cleared);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_stop(bench);
}

/* Whatever the TPM refuses while it is looked at, and at which command: the look fails, or sees what is there. */
static void
test_refused_look(void)
{
    static const char *const commands[] = { "0x173", "0x169", "0x14e" }; /* ReadPublic, NV_ReadPublic, NV_Read */
    static const char *const codes[] = { "0x17f", "0x921", "0x922", "0x902", "0x101", "0x184", "0x185" };
    struct bench *bench = bench_start_injected("record=%s/record,");
    g_autoptr(GError) error = NULL;
    bench_attach(bench);
    g_assert_true(bench_provision(bench, 0, key, sizeof key, &error));
    for (size_t i = 0; i < G_N_ELEMENTS(commands) * G_N_ELEMENTS(codes); i++)
        for (unsigned n = 1, met = 1; met; n++) {
            struct slot_finding finding;
            g_autofree char *rules = g_strdup_printf("%s %u 11 refuse %s\n", commands[i / G_N_ELEMENTS(codes)], n,
                                                     codes[i % G_N_ELEMENTS(codes)]);
            bench_inject(bench, rules);
            bool seen = slot_storage_ops.survey(bench->storage, 0, &finding, &error);
            met = bench_injected(bench);
            if (seen ? finding.state != SLOT_READY : met == 0)
                g_error("%s: slot 0 is \"%s\": %s", rules, seen ? slot_state_name(finding.state) : "not seen",
                        seen ? finding.reason : error->message);
            g_clear_error(&error);
            slot_finding_clear(&finding);
        }
    bench_inject(bench, NULL);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_stop(bench);
}

/* ---- the SRK ---- */

/* What a stranger with the owner's rights put in its place, one that could be known outside of this TPM too, gets no
 * key to see, and is not touched. */
static void
test_srk_foreign(gconstpointer kind)
{
    struct bench *bench = bench_start();
    stranger_put(bench->stranger, BENCH_SRK, (enum stranger_kind)GPOINTER_TO_INT(kind), NULL);
    g_autoptr(GBytes) theirs = stranger_look(bench->stranger, BENCH_SRK);
    stranger_put(bench->stranger, BENCH_KEY(1), STRANGER_HMAC, NULL);
    stranger_put_text(bench->stranger, BENCH_NV(1), "h.azure-devices.net/d");
    bench_attach(bench);
    g_assert_false(bench->medium.cleared);
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    bench_expect(bench, 1, SLOT_FOUND, "hubkeyd did not put this key here");
    expect_not_provisioned(bench, 0, ERROR_FOREIGN, "tpm2_evictcontrol -C o -c 0x81000001");
    g_autoptr(GBytes) still = stranger_look(bench->stranger, BENCH_SRK);
    g_assert_true(g_bytes_equal(theirs, still));
    bench_stop(bench);
}

static void
test_srk_lost(void)
{
    struct bench *bench = start_provisioned();
    stranger_evict(bench->stranger, BENCH_SRK);
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_SIGN, NULL);
    bench_restart(bench);
    g_assert_true(bench->medium.cleared);
    bench_stop(bench);
}

/* ---- disk ---- */

static void
test_record_damaged(void)
{
    struct bench *bench = start_provisioned();
    g_autofree char *file = g_build_filename(bench->state_dir, "slot-0", NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(file, &text, &len, NULL));
    for (gsize at = 0; at < len; at += 7) {
        text[at] ^= 1;
        g_assert_true(g_file_set_contents(file, text, (gssize)len, NULL));
        bench_expect(bench, 0, SLOT_DAMAGED, "hubkeyctl clear 0");
        text[at] ^= 1;
    }
    expect_not_signed(bench, 0, ERROR_DAMAGED, "damaged");
    expect_not_provisioned(bench, 0, ERROR_SLOT_IN_USE, "hubkeyctl clear 0");
    /* What the record told is not known any more: nothing in the TPM is known to be ours. */
    g_autoptr(GBytes) object = stranger_look(bench->stranger, BENCH_KEY(0));
    g_assert_true(bench_clear(bench, 0, &error));
    g_autoptr(GBytes) still = stranger_look(bench->stranger, BENCH_KEY(0));
    g_assert_true(g_bytes_equal(object, still));
    bench_expect(bench, 0, SLOT_FOUND, "hubkeyctl adopt 0");
    bench_expect_tidy(bench);
    bench_stop(bench);
}

static unsigned told; /* warnings of an intent for the SRK, with its cure */

static GLogWriterOutput
count_warnings(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer unused)
{
    for (gsize i = 0; i < n_fields; i++)
        if (level == G_LOG_LEVEL_WARNING && strcmp(fields[i].key, "MESSAGE") == 0)
            told += strstr(fields[i].value, "srk.intent") && strstr(fields[i].value, "tpm2_flushcontext -t");
    return g_log_writer_default(level, fields, n_fields, NULL);
}

/* An intent for the SRK that nobody can read: told once, kept, and everything goes on. */
static void
test_srk_intent_damaged(void)
{
    static const char *const contents[] = { "", "[intent]\nOperation=make-srk\n", "\xff" };
    struct bench *bench = start_provisioned();
    g_autofree char *file = g_build_filename(bench->state_dir, "srk.intent", NULL),
                    *aside = g_build_filename(bench->state_dir, "srk.intent.damaged", NULL);
    g_autoptr(GError) error = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(contents); i++) {
        g_autofree char *kept = NULL;
        g_assert_true(g_file_set_contents(file, contents[i], -1, NULL));
        told = 0;
        bench_attach(bench);
        g_assert_cmpuint(told, ==, 1);
        g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
        g_assert_true(g_file_get_contents(aside, &kept, NULL, NULL));
        g_assert_cmpstr(kept, ==, contents[i]);
        bench_attach(bench);
        g_assert_cmpuint(told, ==, 1);
        bench_expect(bench, 0, SLOT_READY, NULL);
        bench_expect_signs(bench, 0, key, sizeof key);
    }
    /* Where it just could not be read it is not damaged, and waits for the next look. */
    struct slot_medium medium = { 0 };
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    unsigned usual = refuse_descriptors(0);
    g_assert_false(slot_storage_ops.attach(bench->storage, false, &medium, &error));
    refuse_descriptors(usual);
    bench_expect_error(&error, ERROR_INTERNAL, "srk.intent");
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    bench_stop(bench);
}

static void
tell_none(uint32_t slot, struct slot_finding *finding, void *user)
{
    g_error("slot %u was told of", slot);
}

/* The directory cannot be listed for a moment: no slot is empty because of that, and the SRK stays pinned. */
static void
test_not_listed(void)
{
    struct bench *bench = start_provisioned();
    g_autofree char *pin = g_build_filename(bench->state_dir, "srk", NULL);
    g_autoptr(GError) load = NULL, forget = NULL, attach = NULL;
    struct slot_medium medium = { 0 };
    unsigned usual = refuse_descriptors(0);
    g_assert_false(slot_storage_ops.load_all(bench->storage, tell_none, NULL, &load));
    g_assert_false(slot_key_forget_srk_if_unused(bench->store, &forget));
    g_assert_false(slot_storage_ops.attach(bench->storage, false, &medium, &attach));
    refuse_descriptors(usual);
    bench_expect_error(&load, ERROR_INTERNAL, "cannot list");
    bench_expect_error(&forget, ERROR_INTERNAL, "cannot list");
    g_assert_nonnull(attach);
    g_assert_true(g_file_test(pin, G_FILE_TEST_EXISTS));
    bench_attach(bench);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_stop(bench);
}

static void
test_record_lost(void)
{
    struct bench *bench = start_provisioned();
    g_autofree char *file = g_build_filename(bench->state_dir, "slot-0", NULL);
    g_assert_cmpint(unlink(file), ==, 0);
    bench_restart(bench);
    expect_found(bench, 0, BENCH_HOST, BENCH_DEVICE);
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_log_set_writer_func(count_warnings, NULL, NULL);
    g_test_add_func("/slot-tpm/empty-and-ready", test_empty_and_ready);
    g_test_add_func("/slot-tpm/found", test_found);
    g_test_add_func("/slot-tpm/hardware-id", test_hardware_id);
    g_test_add_func("/slot-tpm/foreign/objects", test_foreign_objects);
    g_test_add_func("/slot-tpm/foreign/records", test_foreign_records);
    g_test_add_func("/slot-tpm/tampered/key-swapped", test_key_swapped);
    g_test_add_func("/slot-tpm/tampered/key-gone", test_key_gone);
    g_test_add_func("/slot-tpm/tampered/record", test_record_changed);
    g_test_add_func("/slot-tpm/tampered/tpm-cleared", test_tpm_cleared);
    g_test_add_func("/slot-tpm/refused-look", test_refused_look);
    g_test_add_data_func("/slot-tpm/srk/foreign", GINT_TO_POINTER(STRANGER_ECC_SIGN), test_srk_foreign);
    g_test_add_data_func("/slot-tpm/srk/loose", GINT_TO_POINTER(STRANGER_ECC_STORAGE_LOOSE), test_srk_foreign);
    g_test_add_func("/slot-tpm/srk/lost", test_srk_lost);
    g_test_add_func("/slot-tpm/disk/damaged", test_record_damaged);
    g_test_add_func("/slot-tpm/disk/lost", test_record_lost);
    g_test_add_func("/slot-tpm/disk/srk-intent", test_srk_intent_damaged);
    g_test_add_func("/slot-tpm/disk/not-listed", test_not_listed);
    return g_test_run();
}
