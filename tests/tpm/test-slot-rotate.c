/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Keys in the TPM taken over from others, exchanged, and brought back.
 */
#include <config.h>

#include "daemon/intent.h"
#include "common/error.h"
#include "tests/tpm/bench.h"

#include <string.h>

#define THEIR_SECRET "what Windows put there"

static const uint8_t key[32] = "thirty-two bytes of a hub's key", next_key[32] = "and another thirty-two bytes...";
static const struct identity elsewhere = { .host = (char *)"new.azure-devices.net", .device = (char *)"pump" };

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
expect_slot(struct bench *bench, uint32_t slot, const char *host, uint64_t generation, bool can_undo)
{
    struct slot_finding finding = bench_look(bench, slot);
    g_assert_cmpstr(slot_state_name(finding.state), ==, "ready");
    g_assert_cmpstr(finding.identity->host, ==, host);
    g_assert_cmpuint(finding.generation, ==, generation);
    g_assert_true(finding.can_undo == can_undo);
    slot_finding_clear(&finding);
}

/* ---- Rotate and UndoRotate ---- */

static void
test_rotate(void)
{
    struct bench *bench = start_provisioned();
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) record = stranger_look(bench->stranger, BENCH_NV(0));
    g_assert_true(bench_rotate(bench, 0, NULL, next_key, sizeof next_key, &error));
    bench_expect_signs(bench, 0, next_key, sizeof next_key);
    g_autoptr(GBytes) same = stranger_look(bench->stranger, BENCH_NV(0));
    g_assert_true(g_bytes_equal(record, same)); /* the identity is the same, so its record was not touched */
    expect_slot(bench, 0, BENCH_HOST, 2, true);
    bench_restart(bench);
    expect_slot(bench, 0, BENCH_HOST, 2, true);
    g_assert_true(bench_undo(bench, 0, &error));
    bench_expect_signs(bench, 0, key, sizeof key);
    expect_slot(bench, 0, BENCH_HOST, 3, false);
    g_assert_false(bench_undo(bench, 0, &error));
    bench_expect_error(&error, ERROR_UNSUPPORTED, "undone already");
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* To another hub in the same step, and back. */
static void
test_move(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    g_assert_true(bench_rotate(bench, 0, &elsewhere, next_key, sizeof next_key, &error));
    bench_restart(bench);
    expect_slot(bench, 0, elsewhere.host, 2, true);
    bench_expect_signs(bench, 0, next_key, sizeof next_key);
    g_assert_true(bench_undo(bench, 0, &error));
    bench_restart(bench);
    expect_slot(bench, 0, BENCH_HOST, 3, false);
    bench_expect_signs(bench, 0, key, sizeof key);
    g_assert_true(bench_clear(bench, 0, &error));
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    bench_stop(bench);
}

/* The TPM refuses half-way, as it does without the owner's password: the slot is as it was. */
static void
test_refused(void)
{
    struct bench *bench = start_provisioned();
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    stranger_set_owner(bench->stranger, "", "secret");
    g_assert_false(bench_rotate(bench, 0, &elsewhere, next_key, sizeof next_key, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "OwnerAuthFile");
    expect_slot(bench, 0, BENCH_HOST, 1, false);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_expect_tidy(bench);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* Clear of a slot whose rotation was cut short and can be finished leaves nothing that signs. */
static void
test_clear_pending(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    g_assert_true(bench_rotate(bench, 0, NULL, next_key, sizeof next_key, &error));
    struct store_record record;
    g_assert_true(store_load_record(bench->store, 0, &record, NULL));
    const struct intent intent = { .operation = INTENT_ROTATE, .generation = record.generation + 1,
                                   .made = record.previous, .old = record.key };
    g_assert_true(intent_write(bench->store, 0, &intent, NULL)); /* as if the next one had just begun */
    store_record_clear(&record);
    bench_expect(bench, 0, SLOT_PENDING, "rotating was cut short");
    g_assert_true(bench_clear(bench, 0, &error));
    bench_expect(bench, 0, SLOT_EMPTY, NULL);
    g_assert_null(stranger_look(bench->stranger, BENCH_KEY(0)));
    g_assert_null(stranger_look(bench->stranger, BENCH_NV(0)));
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* A stranger's key in the slot is neither rotated away nor taken for ours. */
static void
test_tampered(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    stranger_evict(bench->stranger, BENCH_KEY(0));
    stranger_put(bench->stranger, BENCH_KEY(0), STRANGER_HMAC, NULL);
    g_autoptr(GBytes) theirs = stranger_look(bench->stranger, BENCH_KEY(0));
    g_assert_false(bench_rotate(bench, 0, NULL, next_key, sizeof next_key, &error));
    bench_expect_error(&error, ERROR_TAMPERED, "another key stands in its place");
    g_autoptr(GBytes) still = stranger_look(bench->stranger, BENCH_KEY(0));
    g_assert_true(g_bytes_equal(theirs, still));
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* While a change that was cut short waits to be finished or undone, nothing is signed with what it left behind, and it
 * is not taken for tampering. */
static void
test_cut_short(void)
{
    struct bench *bench = start_provisioned();
    struct store_record record;
    uint8_t mac[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    bench_restart(bench);
    g_assert_true(store_load_record(bench->store, 0, &record, &error));
    const struct intent intent = { .operation = INTENT_ROTATE, .generation = 2, .made = record.key, .old = record.key };
    g_assert_true(intent_write(bench->store, 0, &intent, &error));
    store_record_clear(&record);
    g_assert_false(slot_storage_ops.sign(bench->storage, 0, 1, "x", 1, mac, &error));
    bench_expect_error(&error, ERROR_NOT_PROVISIONED, "pending");
    bench_attach(bench);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* ---- Adopt ---- */

static struct bench *
start_with_theirs(const char *text)
{
    struct bench *bench = bench_start();
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    stranger_put(bench->stranger, BENCH_KEY(1), STRANGER_HMAC, THEIR_SECRET);
    stranger_put_nv(bench->stranger, BENCH_NV(1), STRANGER_NV_WINDOWS, NULL, text, strlen(text));
    bench_attach(bench);
    return bench;
}

/* As hubkeyctl adopt does it: what the slot shows is what is said. */
static void
adopt_as_shown(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    struct slot_finding finding = bench_look(bench, 1);
    g_assert_cmpstr(slot_state_name(finding.state), ==, "found");
    g_assert_nonnull(strstr(finding.reason, "hubkeyctl adopt 1"));
    bench_adopt(bench, 1, finding.identity->host, finding.identity->device, finding.tpm_name, &error);
    g_assert_no_error(error);
    slot_finding_clear(&finding);
}

/* What Windows made goes on working there: not a byte of it is changed. */
static void
test_adopt(void)
{
    static const char *const texts[] = { "Old.Azure-Devices.net/pump:7", "old.azure-devices.net/" };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        struct bench *bench = start_with_theirs(texts[i]);
        g_autoptr(GBytes) object = stranger_look(bench->stranger, BENCH_KEY(1));
        g_autoptr(GBytes) index = stranger_look(bench->stranger, BENCH_NV(1));
        adopt_as_shown(bench);
        expect_slot(bench, 1, "old.azure-devices.net", 1, false);
        bench_expect_signs(bench, 1, THEIR_SECRET, strlen(THEIR_SECRET));
        bench_restart(bench);
        expect_slot(bench, 1, "old.azure-devices.net", 1, false);
        bench_expect_signs(bench, 1, THEIR_SECRET, strlen(THEIR_SECRET));
        g_autoptr(GBytes) object_now = stranger_look(bench->stranger, BENCH_KEY(1));
        g_autoptr(GBytes) index_now = stranger_look(bench->stranger, BENCH_NV(1));
        g_assert_true(g_bytes_equal(object, object_now) && g_bytes_equal(index, index_now));
        bench_stop(bench);
    }
}

static void
test_adopt_other(void)
{
    struct bench *bench = start_with_theirs("old.azure-devices.net/pump");
    struct slot_finding finding = bench_look(bench, 1);
    g_autoptr(GError) error = NULL;
    g_autofree char *other = g_strnfill(68, 'a');
    g_assert_false(bench_adopt(bench, 1, "new.azure-devices.net", "pump", finding.tpm_name, &error));
    bench_expect_error(&error, ERROR_TAMPERED, "hubkeyctl show 1");
    g_assert_false(bench_adopt(bench, 1, "old.azure-devices.net", "pump", other, &error));
    bench_expect_error(&error, ERROR_TAMPERED, "hubkeyctl show 1");
    g_assert_false(bench_adopt(bench, 2, "old.azure-devices.net", "pump", other, &error));
    bench_expect_error(&error, ERROR_NOT_PROVISIONED, "empty");
    /* Swapped between looking and adopting. */
    stranger_evict(bench->stranger, BENCH_KEY(1));
    stranger_put(bench->stranger, BENCH_KEY(1), STRANGER_HMAC, NULL);
    g_assert_false(bench_adopt(bench, 1, "old.azure-devices.net", "pump", finding.tpm_name, &error));
    bench_expect_error(&error, ERROR_TAMPERED, "another key");
    slot_finding_clear(&finding);
    stranger_undefine(bench->stranger, BENCH_NV(1));
    g_assert_false(bench_adopt(bench, 1, "old.azure-devices.net", "pump", other, &error));
    bench_expect_error(&error, ERROR_FOREIGN, "tpm2_evictcontrol -C o -c 0x81000101");
    bench_stop(bench);
}

/* An adopted key has no blob: it can be rotated away, and not be brought back. */
static void
test_adopt_then_rotate(void)
{
    struct bench *bench = start_with_theirs("old.azure-devices.net/pump");
    g_autoptr(GError) error = NULL;
    adopt_as_shown(bench);
    g_assert_true(bench_rotate(bench, 1, NULL, key, sizeof key, &error));
    expect_slot(bench, 1, "old.azure-devices.net", 2, false);
    bench_expect_signs(bench, 1, key, sizeof key);
    g_assert_true(bench_rotate(bench, 1, NULL, next_key, sizeof next_key, &error));
    expect_slot(bench, 1, "old.azure-devices.net", 3, true);
    bench_restart(bench);
    g_assert_true(bench_undo(bench, 1, &error));
    bench_expect_signs(bench, 1, key, sizeof key);
    bench_stop(bench);
}

/* An adopted key pins the SRK as one of our own does: a TPM that was cleared is told from a tampered slot. */
static void
test_adopt_then_clear_tpm(void)
{
    struct bench *bench = start_with_theirs("old.azure-devices.net/pump");
    adopt_as_shown(bench);
    g_assert_false(bench->medium.cleared);
    stranger_clear(bench->stranger);
    bench_restart(bench);
    g_assert_true(bench->medium.cleared);
    bench_stop(bench);
}

/* After the state directory is lost, what is in the TPM is found and comes back by adopting it. */
static void
test_adopt_after_loss(void)
{
    struct bench *bench = start_provisioned();
    g_autoptr(GError) error = NULL;
    g_assert_true(store_remove(bench->store, "slot-0", NULL) && store_remove(bench->store, "srk", NULL));
    bench_restart(bench);
    struct slot_finding finding = bench_look(bench, 0);
    g_assert_cmpstr(slot_state_name(finding.state), ==, "found");
    g_assert_true(bench_adopt(bench, 0, BENCH_HOST, BENCH_DEVICE, finding.tpm_name, &error));
    slot_finding_clear(&finding);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_restart(bench);
    g_assert_false(bench->medium.cleared);
    bench_expect_signs(bench, 0, key, sizeof key);
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/slot-rotate/same-identity", test_rotate);
    g_test_add_func("/slot-rotate/move", test_move);
    g_test_add_func("/slot-rotate/refused", test_refused);
    g_test_add_func("/slot-rotate/clear-pending", test_clear_pending);
    g_test_add_func("/slot-rotate/tampered", test_tampered);
    g_test_add_func("/slot-rotate/cut-short", test_cut_short);
    g_test_add_func("/slot-adopt/windows", test_adopt);
    g_test_add_func("/slot-adopt/other", test_adopt_other);
    g_test_add_func("/slot-adopt/then-rotate", test_adopt_then_rotate);
    g_test_add_func("/slot-adopt/then-clear-tpm", test_adopt_then_clear_tpm);
    g_test_add_func("/slot-adopt/after-loss", test_adopt_after_loss);
    return g_test_run();
}
