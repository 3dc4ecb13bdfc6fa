/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A record or an intent as it lies on disk; the checksum is added, so that not every input ends there. What is
 * accepted, written and read again, is written the same way.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/intent.h"
#include "daemon/store.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#define SUM "# sha256 "

static struct store *store;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    store = store_open(fuzz_folder(), NULL);
    g_assert_nonnull(store);
    return 0;
}

static void
write_file(const char *name, const uint8_t *data, size_t size)
{
    g_autofree char *path = g_build_filename(fuzz_folder(), name, NULL);
    FILE *out = fopen(path, "we");
    g_assert_nonnull(out);
    fwrite(data, 1, size, out);
    if (!memmem(data, size, SUM, strlen(SUM))) {
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
        fprintf(out, SUM "%s\n", sum);
    }
    g_assert_cmpint(fclose(out), ==, 0);
}

static char *
read_file(const char *name)
{
    g_autofree char *path = g_build_filename(fuzz_folder(), name, NULL);
    char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

/* Reads the record and writes it; what it writes, NULL where it cannot be read. */
static char *
pass_record(uint32_t slot)
{
    struct store_record record;
    g_autoptr(GError) error = NULL;
    if (!store_load_record(store, slot, &record, &error)) {
        g_assert_true(g_error_matches(error, ERROR_DOMAIN, ERROR_DAMAGED));
        fuzz_expect_error(&error);
        return NULL;
    }
    g_assert_no_error(error);
    g_assert_true(store_save_record(store, slot, &record, &error));
    g_assert_no_error(error);
    store_record_clear(&record);
    return read_file("slot-7");
}

static char *
pass_intent(uint32_t slot)
{
    struct intent intent;
    bool absent;
    g_autoptr(GError) error = NULL;
    if (!intent_read(store, slot, &intent, &absent, &error)) {
        g_assert_true(g_error_matches(error, ERROR_DOMAIN, ERROR_DAMAGED));
        fuzz_expect_error(&error);
        return NULL;
    }
    g_assert_no_error(error);
    g_assert_false(absent);
    g_assert_true(intent_write(store, slot, &intent, &error));
    g_assert_no_error(error);
    intent_clear(&intent);
    return read_file("slot-7.intent");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool intent = size >= 7 && memcmp(data, "[intent", 7) == 0;
    write_file(intent ? "slot-7.intent" : "slot-7", data, size);
    g_autofree char *once = intent ? pass_intent(7) : pass_record(7);
    if (!once)
        return 0;
    g_autofree char *again = intent ? pass_intent(7) : pass_record(7);
    g_assert_cmpstr(once, ==, again);
    return 0;
}
