/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Clearing a damaged slot, cut short at every change of a file: damaged as it was, or forgotten. Nothing in the TPM is
 * touched, and no generation comes again.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/intent.h"
#include "tests/tpm/bench.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define FILE_SLOT 10
#define MISPLACED 12
#define GENERATION 7 /* of the records here */

static const uint8_t key[32] = "thirty-two bytes of a hub's key";

/* ---- a disk that takes no change any more, as if hubkeyd had ended there ---- */

static unsigned left = UINT_MAX;

static bool
take_change(void)
{
    if (left == 0)
        errno = EROFS;
    return left > 0 && left--;
}

/* In place of libc's, for all of this program. */
int
renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    return take_change() ? (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, 0) : -1;
}

int
unlinkat(int directory, const char *path, int flags)
{
    return take_change() ? (int)syscall(SYS_unlinkat, directory, path, flags) : -1;
}

/* ---- what is damaged ---- */

enum part { ABSENT, WHOLE, DAMAGED };

struct row {
    const char *what;
    uint32_t slot;
    enum part record, intent;
    enum intent_operation operation;
    bool record_in_tpm, intent_in_tpm; /* what they say of themselves */
};

static const struct row rows[] = {
    { "a record, no intent", 0, DAMAGED, ABSENT, 0, true, true },
    { "a record while it was provisioned", 0, DAMAGED, WHOLE, INTENT_PROVISION, true, true },
    { "a record while it was cleared", 0, DAMAGED, WHOLE, INTENT_CLEAR, true, true },
    { "a record while it was rotated", 0, DAMAGED, WHOLE, INTENT_ROTATE, true, true },
    { "an intent", 0, WHOLE, DAMAGED, INTENT_ROTATE, true, true },
    { "both", 0, DAMAGED, DAMAGED, INTENT_ROTATE, true, true },
    { "a file slot's record", FILE_SLOT, DAMAGED, WHOLE, INTENT_ROTATE, false, false },
    { "a file slot's intent", FILE_SLOT, WHOLE, DAMAGED, INTENT_ROTATE, false, false },
    { "a record at the wrong number", MISPLACED, WHOLE, ABSENT, 0, true, false },
    { "a record at the wrong number while it was rotated", MISPLACED, WHOLE, WHOLE, INTENT_ROTATE, true, false },
    { "an intent at the wrong number", MISPLACED, WHOLE, WHOLE, INTENT_ROTATE, false, true },
};

static void
put(struct bench *bench, const char *name, enum part part)
{
    g_autofree char *file = g_build_filename(bench->state_dir, name, NULL);
    if (part == DAMAGED)
        g_assert_true(g_file_set_contents(file, "torn", -1, NULL));
    else if (part == ABSENT)
        g_unlink(file);
}

/* The record and the intent of a rotation, or of what else the row says, with the keys of another slot's record. */
static void
prepare(struct bench *bench, const struct row *row, const struct store_record *whole)
{
    g_autofree char *record_name = g_strdup_printf("slot-%u", row->slot),
                    *intent_name = g_strdup_printf("slot-%u.intent", row->slot);
    struct store_record record = *whole;
    struct intent intent = { .operation = row->operation, .generation = GENERATION + 1, .file = !row->intent_in_tpm };
    record.generation = GENERATION;
    record.file = !row->record_in_tpm;
    if (row->operation != INTENT_CLEAR)
        intent.made = whole->key;
    if (row->operation != INTENT_PROVISION)
        intent.old = whole->key;
    g_assert_true(store_save_record(bench->store, row->slot, &record, NULL));
    if (row->intent == WHOLE)
        g_assert_true(intent_write(bench->store, row->slot, &intent, NULL));
    put(bench, record_name, row->record);
    put(bench, intent_name, row->intent);
}

/* ---- what must hold ---- */

static void
expect_same(struct bench *bench, uint32_t handle, GBytes *before)
{
    g_autoptr(GBytes) now = stranger_look(bench->stranger, handle);
    g_assert_true(!now == !before && (!now || g_bytes_equal(now, before)));
}

/* Whether the slot is forgotten; else it is damaged. Its generation is above all that it ever was. */
static bool
is_forgotten(struct bench *bench, const struct row *row, uint64_t *generation)
{
    struct slot_finding finding = bench_look(bench, row->slot);
    enum slot_state forgotten = row->slot == 0 ? SLOT_FOUND : SLOT_EMPTY; /* the key itself is where it was */
    bool is = finding.state == forgotten;
    if (!is && finding.state != SLOT_DAMAGED)
        g_error("%s: slot %u is %s", row->what, row->slot, slot_state_name(finding.state));
    if (is)
        g_assert_cmpuint(finding.generation, >, *generation);
    *generation = MAX(finding.generation, *generation);
    slot_finding_clear(&finding);
    return is;
}

static void
test_cut_short(void)
{
    struct bench *bench = bench_start();
    struct store_record whole;
    g_autoptr(GError) error = NULL;
    bench_attach(bench);
    g_assert_true(bench_provision(bench, 0, key, sizeof key, &error));
    g_assert_true(store_load_record(bench->store, 0, &whole, NULL));
    g_autoptr(GBytes) object = stranger_look(bench->stranger, BENCH_KEY(0)),
                      index = stranger_look(bench->stranger, BENCH_NV(0));
    uint64_t generation = GENERATION + 1;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        for (unsigned n = 0, cut = 1; cut; n++) {
            const struct row *row = &rows[i];
            g_test_message("%s, after %u changes", row->what, n);
            prepare(bench, row, &whole);
            bench_restart(bench);
            bench_expect(bench, row->slot, SLOT_DAMAGED, "hubkeyctl clear");
            left = n;
            bool cleared = bench_clear(bench, row->slot, &error);
            cut = left == 0;
            left = UINT_MAX;
            g_assert_true(cleared || error->code == ERROR_INTERNAL);
            g_clear_error(&error);
            bench_restart(bench);
            if (!is_forgotten(bench, row, &generation)) {
                g_assert_false(cleared);
                g_assert_true(bench_clear(bench, row->slot, &error)); /* once more, and it is done */
                g_assert_true(is_forgotten(bench, row, &generation));
            }
            bench_expect_tidy(bench);
            expect_same(bench, BENCH_KEY(0), object);
            expect_same(bench, BENCH_NV(0), index);
            expect_same(bench, BENCH_KEY(row->slot), row->slot == 0 ? object : NULL);
            expect_same(bench, BENCH_NV(row->slot), row->slot == 0 ? index : NULL);
        }
    store_record_clear(&whole);
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/slot-forget/cut-short", test_cut_short);
    return g_test_run();
}
