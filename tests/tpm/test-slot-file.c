/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Slots in files: key and identity belong together, whatever becomes of the file, and nothing stays in the TPM.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/slot-file.h"
#include "tests/tpm/bench.h"

#include <string.h>

#include <glib/gstdio.h>

static const uint8_t key[32] = "thirty-two bytes of a hub's key", other_key[32] = "and another thirty-two bytes...";

static struct bench *
start(void)
{
    struct bench *bench = bench_start();
    bench_attach(bench);
    return bench;
}

static struct bench *
start_injected(void)
{
    struct bench *bench = bench_start_injected("record=%s/record,");
    bench_attach(bench);
    return bench;
}

static void
provision(struct bench *bench, uint32_t slot, const struct identity *identity, const uint8_t bytes[32])
{
    g_autoptr(GError) error = NULL;
    bench_provision_as(bench, slot, true, identity, bytes, 32, &error);
    g_assert_no_error(error);
}

static void
idle(struct bench *bench)
{
    slot_storage_ops.idle(bench->storage);
}

static void
expect_not_signed(struct bench *bench, uint32_t slot, int code, const char *words)
{
    uint8_t mac[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    g_assert_false(bench_sign(bench, slot, "x", 1, mac, &error));
    bench_expect_error(&error, code, words);
}

static char *
record_of(struct bench *bench, uint32_t slot)
{
    return g_strdup_printf("%s/slot-%u", bench->state_dir, slot);
}

/* ---- life ---- */

static void
test_life(void)
{
    static const struct identity identities[] = {
        { .host = (char *)BENCH_HOST, .device = (char *)BENCH_DEVICE },
        { .host = (char *)BENCH_HOST, .device = (char *)BENCH_DEVICE, .module = (char *)"m" },
        { .host = (char *)BENCH_HOST, .device = (char *)BENCH_DEVICE, .gateway = (char *)"edge.local" },
        { .audience = (char *)"sb://ns.servicebus.windows.net/hub", .key_name = (char *)"send" },
    };
    static const uint32_t slots[] = { 0, 9, 10, 65535 };
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < G_N_ELEMENTS(identities); i++) {
        provision(bench, slots[i], &identities[i], key);
        bench_expect(bench, slots[i], SLOT_READY, NULL);
        bench_expect_tidy(bench);
    }
    bench_restart(bench);
    for (size_t i = 0; i < G_N_ELEMENTS(identities); i++) {
        struct slot_finding finding = bench_look(bench, slots[i]);
        g_assert_true(finding.file && identity_equal(finding.identity, &identities[i]));
        slot_finding_clear(&finding);
        bench_expect_signs(bench, slots[i], key, 32);
    }
    idle(bench);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    /* Nothing of it stands in the TPM but the SRK, and what stands there at a slot's number is no concern of a
     * file's. */
    g_assert_null(stranger_look(bench->stranger, BENCH_KEY(0)));
    for (size_t i = 0; i < G_N_ELEMENTS(identities); i++)
        g_assert_true(bench_clear(bench, slots[i], &error));
    bench_expect(bench, 65535, SLOT_EMPTY, NULL);
    g_assert_false(bench_sign(bench, 65535, "x", 1, (uint8_t[SLOT_MAC_BYTES]){ 0 }, NULL));
    bench_stop(bench);
}

/* However many slots are asked in turn, one key at a time is in the TPM, and none when nobody asks. */
static void
test_transients(void)
{
    enum { SLOTS = 12 };
    struct bench *bench = start();
    struct stranger_usage before = stranger_usage(bench->stranger), now;
    for (uint32_t slot = 10; slot < 10 + SLOTS; slot++)
        provision(bench, slot, NULL, slot % 2 ? key : other_key);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t slot = 10; slot < 10 + SLOTS; slot++) {
            bench_expect_signs(bench, slot, slot % 2 ? key : other_key, 32);
            now = stranger_usage(bench->stranger);
            g_assert_cmpuint(now.transient, ==, before.transient + 1);
        }
    idle(bench);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

static const size_t text_lengths[] = { 0, 1, 64, 1023, 1024, 1025, 2048, 2049, 3000 };

/* Texts of all lengths, signed by two slots in turn, so that the key is loaded for each. */
static void
expect_signs_all_lengths(struct bench *bench)
{
    static uint8_t text[3000];
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 13 + i / 256);
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(text_lengths); i++) {
        uint8_t mac[SLOT_MAC_BYTES], expected[SLOT_MAC_BYTES];
        g_autoptr(GError) error = NULL;
        size_t len = text_lengths[i / 2];
        bench_sign(bench, 10 + i % 2, text, len, mac, &error);
        g_assert_no_error(error);
        bench_hmac(i % 2 ? other_key : key, 32, text, len, expected);
        g_assert_cmpmem(mac, sizeof mac, expected, sizeof expected);
        g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, before.transient + 1);
    }
    idle(bench);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    g_assert_cmpuint(tpm_counters(bench->tpm).resets, ==, 0); /* nothing went wrong that was put right in silence */
}

static void
test_text_lengths(gconstpointer protect)
{
    struct bench *bench = start();
    tpm_protect_bus(bench->tpm, GPOINTER_TO_INT(protect));
    provision(bench, 10, NULL, key);
    provision(bench, 11, NULL, other_key);
    expect_signs_all_lengths(bench);
    bench_stop(bench);
}

/* A TPM that has no TPM2_HMAC: a slot is made, and signs, by sequences; it is asked for that command once. */
static void
test_no_one_shot(gconstpointer protect)
{
    struct bench *bench = start_injected();
    tpm_protect_bus(bench->tpm, GPOINTER_TO_INT(protect));
    bench_inject(bench, "0x155 1 0 refuse 0x143\n");
    provision(bench, 10, NULL, key);
    provision(bench, 11, NULL, other_key);
    expect_signs_all_lengths(bench);
    g_assert_cmpuint(bench_injected(bench), ==, 1);
    bench_stop(bench);
}

/* A signature that breaks off at any command of a sequence leaves nothing, and the next one is right. */
static void
test_sequence_refused(void)
{
    static const char *const commands[] = { "0x157", "0x173", "0x15b", "0x15c", "0x13e" };
    static const uint8_t text[3000];
    struct bench *bench = start_injected();
    struct stranger_usage before = stranger_usage(bench->stranger);
    provision(bench, 10, NULL, key);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        uint8_t mac[SLOT_MAC_BYTES];
        g_autoptr(GError) error = NULL;
        g_autofree char *rules = g_strdup_printf("%s 1 1 refuse 0x17f\n", commands[i]);
        bench_inject(bench, rules);
        g_assert_false(bench_sign(bench, 10, text, sizeof text, mac, &error));
        bench_expect_error(&error, ERROR_TPM_FAILED, "0x17f");
        g_assert_cmpuint(bench_injected(bench), ==, 1);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
        bench_expect_signs(bench, 10, key, 32);
        idle(bench);
    }
    bench_stop(bench);
}

/* A key that is not loaded costs one TPM2_Load more, and the TPM2_FlushContext of the one before. */
static void
test_commands(void)
{
    struct bench *bench = start();
    provision(bench, 10, NULL, key);
    provision(bench, 11, NULL, other_key);
    bench_expect_signs(bench, 10, key, 32);
    uint64_t before = tpm_counters(bench->tpm).operations;
    bench_expect_signs(bench, 11, other_key, 32);
    g_assert_cmpuint(tpm_counters(bench->tpm).operations, ==, before + 3);
    bench_expect_signs(bench, 11, other_key, 32);
    g_assert_cmpuint(tpm_counters(bench->tpm).operations, ==, before + 4);
    bench_stop(bench);
}

/* hubkeyd ends without letting go, and has no resource manager that does it: the next one does. */
static void
test_left_loaded(void)
{
    struct bench *bench = start();
    struct stranger_usage before, held;
    provision(bench, 10, NULL, key);
    stranger_load(bench->stranger);
    before = stranger_usage(bench->stranger);
    bench_expect_signs(bench, 10, key, 32);
    held = stranger_usage(bench->stranger);
    g_assert_cmpuint(held.transient, ==, before.transient + 1);
    bench_restart(bench);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_expect_signs(bench, 10, key, 32);
    bench_stop(bench);
}

/* The TPM refuses to let a key go: it is gone before the next one is loaded. */
static void
test_not_let_go(void)
{
    struct bench *bench = start_injected();
    provision(bench, 10, NULL, key);
    provision(bench, 11, NULL, other_key);
    struct stranger_usage before = stranger_usage(bench->stranger);
    bench_expect_signs(bench, 10, key, 32);
    bench_inject(bench, "0x165 1 1 refuse 0x12f\n");
    idle(bench);
    g_assert_cmpuint(bench_injected(bench), ==, 1);
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, before.transient + 1);
    bench_expect_signs(bench, 11, other_key, 32);
    idle(bench);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* The same while a slot is made, in a file or in the TPM: all or nothing, and nothing is left in the TPM. */
static void
test_provision_not_let_go(void)
{
    static const uint32_t slots[] = { 10, 3 };
    struct bench *bench = start_injected();
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < G_N_ELEMENTS(slots); i++)
        for (unsigned n = 1;; n++) {
            g_autoptr(GError) error = NULL;
            g_autofree char *rules = g_strdup_printf("0x165 %u 1 refuse 0x12f\n", n);
            bench_inject(bench, rules);
            bool done = bench_provision(bench, slots[i], key, 32, &error);
            unsigned refused = bench_injected(bench);
            bench_inject(bench, NULL);
            g_assert_true(stranger_same_usage(bench->stranger, &before));
            bench_expect_tidy(bench);
            if (done) {
                g_assert_cmpuint(refused, ==, 0);
                g_assert_cmpuint(n, >, 1);
                bench_expect_signs(bench, slots[i], key, 32);
                idle(bench);
                break;
            }
            bench_expect_error(&error, ERROR_TPM_FAILED, "TPM2_FlushContext");
            bench_expect(bench, slots[i], SLOT_EMPTY, NULL);
        }
    bench_stop(bench);
}

/* Others hold all the room for loaded objects: that is said, what holds it is left alone, and it passes. */
static void
test_no_room(void)
{
    struct bench *bench = start();
    uint32_t theirs[3];
    provision(bench, 10, NULL, key);
    for (size_t i = 0; i < G_N_ELEMENTS(theirs); i++)
        theirs[i] = stranger_load(bench->stranger);
    struct stranger_usage full = stranger_usage(bench->stranger);
    expect_not_signed(bench, 10, ERROR_BUSY, "retry in");
    g_assert_true(stranger_same_usage(bench->stranger, &full));
    bench_expect(bench, 10, SLOT_READY, NULL);
    /* Room for two: the TPM also brings the persistent parent into it while a key is loaded. */
    stranger_flush(bench->stranger, theirs[0]);
    stranger_flush(bench->stranger, theirs[1]);
    bench_expect_signs(bench, 10, key, 32);
    bench_stop(bench);
}

/* The same in a TPM that at that moment does not tell what is in it: nobody hides that, it just is not known. */
static void
test_no_room_untold(void)
{
    struct bench *bench = start_injected();
    provision(bench, 10, NULL, key);
    bench_inject(bench, "0x157 1 0 refuse 0x902\n0x17a 1 0 refuse 0x17f\n");
    expect_not_signed(bench, 10, ERROR_BUSY, "loaded objects (which ones it does not tell now)");
    bench_inject(bench, NULL);
    bench_expect_signs(bench, 10, key, 32);
    bench_stop(bench);
}

static void
test_power_cut(void)
{
    struct bench *bench = start();
    provision(bench, 10, NULL, key);
    bench_expect_signs(bench, 10, key, 32);
    swtpm_cut_power(bench->swtpm);
    swtpm_give_power(bench->swtpm);
    bench_expect_signs(bench, 10, key, 32); /* the key that was loaded is gone with the power */
    idle(bench);
    bench_stop(bench);
}

/* ---- rotation ---- */

static void
test_rotate(void)
{
    static const struct identity elsewhere = { .host = (char *)"new.azure-devices.net",
                                               .device = (char *)BENCH_DEVICE };
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    provision(bench, 10, NULL, key);
    g_assert_false(bench_undo(bench, 10, &error));
    bench_expect_error(&error, ERROR_UNSUPPORTED, "no earlier key");
    g_assert_true(bench_rotate(bench, 10, &elsewhere, other_key, 32, &error));
    bench_expect_signs(bench, 10, other_key, 32);
    bench_restart(bench);
    struct slot_finding finding = bench_look(bench, 10);
    g_assert_cmpstr(finding.identity->host, ==, elsewhere.host);
    g_assert_true(finding.can_undo);
    g_assert_cmpuint(finding.generation, ==, 2);
    slot_finding_clear(&finding);
    g_assert_true(bench_undo(bench, 10, &error));
    bench_expect_signs(bench, 10, key, 32);
    finding = bench_look(bench, 10);
    g_assert_cmpstr(finding.identity->host, ==, BENCH_HOST);
    g_assert_false(finding.can_undo);
    g_assert_cmpuint(finding.generation, ==, 3);
    slot_finding_clear(&finding);
    g_assert_false(bench_undo(bench, 10, &error));
    bench_expect_error(&error, ERROR_UNSUPPORTED, "undone already");
    bench_expect_tidy(bench);
    bench_stop(bench);
}

/* ---- damage ---- */

static struct store_record
read_record(struct bench *bench, uint32_t slot)
{
    struct store_record record;
    g_autoptr(GError) error = NULL;
    store_load_record(bench->store, slot, &record, &error);
    g_assert_no_error(error);
    return record;
}

/* Whatever is done to a record's bytes, the slot is damaged, says so, and the next one goes on. */
static void
test_torn(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    provision(bench, 10, NULL, key);
    provision(bench, 11, NULL, other_key);
    g_autofree char *file = record_of(bench, 10), *text = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(file, &text, &len, NULL));
    for (gsize cut = 0; cut < len; cut += 13) {
        g_assert_true(g_file_set_contents(file, text, (gssize)cut, NULL));
        bench_expect(bench, 10, SLOT_DAMAGED, "hubkeyctl clear 10");
        expect_not_signed(bench, 10, ERROR_DAMAGED, "");
    }
    for (gsize at = 0; at < len; at += 11) {
        text[at] ^= 4;
        g_assert_true(g_file_set_contents(file, text, (gssize)len, NULL));
        bench_expect(bench, 10, SLOT_DAMAGED, "hubkeyctl clear 10");
        text[at] ^= 4;
    }
    bench_expect_signs(bench, 11, other_key, 32);
    uint64_t generation = 0;
    for (int i = 0; i < 2; i++) { /* and once more: the number it had is lost each time, and never comes again */
        g_assert_true(bench_clear(bench, 10, &error)); /* the command that the message names */
        bench_expect(bench, 10, SLOT_EMPTY, NULL);
        provision(bench, 10, NULL, key);
        bench_expect_signs(bench, 10, key, 32);
        struct store_record record = read_record(bench, 10);
        g_assert_cmpuint(record.generation, >, generation + 1);
        generation = record.generation;
        store_record_clear(&record);
        g_assert_true(g_file_set_contents(file, "", 0, NULL));
    }
    bench_stop(bench);
}

/* Writes a record that is whole, so that only the TPM can tell that it is wrong. */
static void
write_record(struct bench *bench, uint32_t slot, struct store_record *record)
{
    g_autoptr(GError) error = NULL;
    store_save_record(bench->store, slot, record, &error);
    g_assert_no_error(error);
    store_record_clear(record);
}

/* A record with a good checksum that another identity was written into, or that came from another slot. */
static void
test_swapped(void)
{
    struct bench *bench = start();
    provision(bench, 10, NULL, key);
    struct store_record record = read_record(bench, 10);
    g_free(record.key.identity->device);
    record.key.identity->device = g_strdup("weather-2");
    write_record(bench, 10, &record);
    bench_expect(bench, 10, SLOT_DAMAGED, "was not made for");
    expect_not_signed(bench, 10, ERROR_DAMAGED, "was not made for");

    provision(bench, 11, NULL, key);
    record = read_record(bench, 11);
    write_record(bench, 12, &record);
    bench_expect(bench, 12, SLOT_DAMAGED, "was not made for");
    expect_not_signed(bench, 12, ERROR_DAMAGED, "hubkeyctl clear 12");
    bench_expect_signs(bench, 11, key, 32);
    bench_stop(bench);
}

/* A record of a slot in the TPM that was copied to a number where the TPM has none. */
static void
test_misplaced(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    g_assert_true(bench_provision(bench, 3, key, 32, &error));
    struct store_record record = read_record(bench, 3);
    write_record(bench, 12, &record);
    bench_restart(bench);
    bench_expect(bench, 12, SLOT_DAMAGED, "only slots 0 to 9");
    expect_not_signed(bench, 12, ERROR_DAMAGED, "only slots 0 to 9");
    g_assert_false(bench_rotate(bench, 12, &(struct identity){ .host = (char *)BENCH_HOST, .device = (char *)"d" },
                                other_key, 32, &error));
    bench_expect_error(&error, ERROR_DAMAGED, "slot 12");
    g_assert_true(bench_clear(bench, 12, &error));
    bench_expect(bench, 12, SLOT_EMPTY, NULL);
    bench_expect_signs(bench, 3, key, 32);
    bench_stop(bench);
}

/* The public area that says the right policy, before a private area that was made with another: the TPM itself
 * refuses. */
static void
test_forged_policy(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    provision(bench, 10, NULL, key);
    provision(bench, 11, NULL, other_key);
    struct store_record mine = read_record(bench, 10), theirs = read_record(bench, 11);
    gsize size, other_size;
    const uint8_t *bytes = g_bytes_get_data(mine.key.blob, &size),
                  *other = g_bytes_get_data(theirs.key.blob, &other_size);
    gsize public_size = 2 + ((gsize)bytes[0] << 8 | bytes[1]); /* TPM2B_PUBLIC, then TPM2B_PRIVATE */
    GByteArray *forged = g_byte_array_new();
    g_byte_array_append(forged, bytes, (guint)public_size);
    g_byte_array_append(forged, other + public_size, (guint)(other_size - public_size));
    g_bytes_unref(mine.key.blob);
    mine.key.blob = g_byte_array_free_to_bytes(forged);
    write_record(bench, 10, &mine);
    store_record_clear(&theirs);
    bench_expect(bench, 10, SLOT_READY, NULL); /* as far as can be told without the TPM */
    expect_not_signed(bench, 10, ERROR_DAMAGED, "altered");
    bench_expect(bench, 10, SLOT_DAMAGED, "the TPM does not load its key");
    bench_expect_signs(bench, 11, other_key, 32);
    g_assert_true(bench_clear(bench, 10, &error));
    bench_expect(bench, 10, SLOT_EMPTY, NULL);
    bench_stop(bench);
}

/* The state directory on another TPM. */
static void
test_copied(void)
{
    struct bench *bench = start(), *copy = bench_start();
    provision(bench, 10, NULL, key);
    g_autofree char *from = record_of(bench, 10), *to = record_of(copy, 10), *text = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(from, &text, &len, NULL));
    g_assert_true(g_file_set_contents(to, text, (gssize)len, NULL));
    stranger_put(copy->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    bench_restart(copy);
    bench_expect(copy, 10, SLOT_DAMAGED, "made in another TPM");
    expect_not_signed(copy, 10, ERROR_DAMAGED, "made in another TPM");
    bench_expect_signs(bench, 10, key, 32);
    bench_stop(copy);
    bench_stop(bench);
}

/* TPM2_Clear behind our back: known at the next signature, told as such, and cured as the message says. */
static void
test_cleared(void)
{
    struct bench *bench = start();
    g_autoptr(GError) error = NULL;
    provision(bench, 10, NULL, key);
    bench_expect_signs(bench, 10, key, 32);
    idle(bench);
    stranger_clear(bench->stranger);
    expect_not_signed(bench, 10, ERROR_DAMAGED, "this one was cleared since");
    bench_expect(bench, 10, SLOT_DAMAGED, "this one was cleared since");
    bench_restart(bench);
    g_assert_true(bench->medium.cleared);
    g_assert_false(bench_provision(bench, 11, key, 32, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "the TPM was cleared");
    g_assert_true(bench_clear(bench, 10, &error));
    provision(bench, 10, NULL, key);
    bench_expect_signs(bench, 10, key, 32);
    bench_stop(bench);
}

/* The same of another SRK in the place of ours, from one signature to the next. */
static void
test_exchanged(void)
{
    struct bench *bench = start();
    provision(bench, 10, NULL, key);
    bench_expect_signs(bench, 10, key, 32);
    idle(bench);
    stranger_evict(bench->stranger, BENCH_SRK);
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    expect_not_signed(bench, 10, ERROR_DAMAGED, "this one was cleared since");
    bench_expect(bench, 10, SLOT_DAMAGED, "this one was cleared since");
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/slot-file/life", test_life);
    g_test_add_func("/slot-file/transients", test_transients);
    g_test_add_data_func("/slot-file/text-lengths/provisioning", GINT_TO_POINTER(false), test_text_lengths);
    g_test_add_data_func("/slot-file/text-lengths/always", GINT_TO_POINTER(true), test_text_lengths);
    g_test_add_data_func("/slot-file/no-one-shot/provisioning", GINT_TO_POINTER(false), test_no_one_shot);
    g_test_add_data_func("/slot-file/no-one-shot/always", GINT_TO_POINTER(true), test_no_one_shot);
    g_test_add_func("/slot-file/sequence-refused", test_sequence_refused);
    g_test_add_func("/slot-file/commands", test_commands);
    g_test_add_func("/slot-file/left-loaded", test_left_loaded);
    g_test_add_func("/slot-file/not-let-go", test_not_let_go);
    g_test_add_func("/slot-file/provision-not-let-go", test_provision_not_let_go);
    g_test_add_func("/slot-file/no-room", test_no_room);
    g_test_add_func("/slot-file/no-room-untold", test_no_room_untold);
    g_test_add_func("/slot-file/power-cut", test_power_cut);
    g_test_add_func("/slot-file/rotate", test_rotate);
    g_test_add_func("/slot-file/damage/torn", test_torn);
    g_test_add_func("/slot-file/damage/swapped", test_swapped);
    g_test_add_func("/slot-file/damage/misplaced", test_misplaced);
    g_test_add_func("/slot-file/damage/forged-policy", test_forged_policy);
    g_test_add_func("/slot-file/damage/copied", test_copied);
    g_test_add_func("/slot-file/damage/cleared", test_cleared);
    g_test_add_func("/slot-file/damage/exchanged", test_exchanged);
    return g_test_run();
}
