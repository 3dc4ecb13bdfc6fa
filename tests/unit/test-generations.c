/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/generations.c: whatever stands in the file of its mark, none is given twice.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/generations.h"
#include "tests/lib/folder.h"
#include "tests/lib/refuse.h"
#include "tests/lib/store-fixture.h"

#include <string.h>

#define LOSSES 8

static void
save(struct store_fixture *fixture, uint32_t slot, uint64_t generation)
{
    const struct store_record record = { .generation = generation };
    g_assert_true(store_save_record(fixture->store, slot, &record, NULL));
}

static uint64_t
take(struct store_fixture *fixture)
{
    uint64_t generation = 0;
    g_autoptr(GError) error = NULL;
    g_assert_true(generations_take(fixture->store, &generation, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(generation % GENERATIONS_RANGE, ==, 0);
    g_assert_cmpuint(generation, >, 0);
    g_assert_cmpuint(generation, <=, STORE_GENERATION_MAX);
    return generation;
}

/* A mark that is whole, as far as its checksum goes. */
static void
put_mark(struct store_fixture *fixture, const char *highest)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_key_file_set_string(file, "generations", "Highest", highest);
    g_assert_true(store_write(fixture->store, "generations", file, NULL));
}

static void
test_in_turn(struct store_fixture *fixture, gconstpointer unused)
{
    save(fixture, 1, 7);
    g_assert_cmpuint(take(fixture), ==, GENERATIONS_RANGE);
    g_assert_cmpuint(take(fixture), ==, 2 * GENERATIONS_RANGE);
    /* Another process, and a slot that went on since. */
    store_close(fixture->store);
    fixture->store = store_open(fixture->folder, NULL);
    save(fixture, 2, 5 * GENERATIONS_RANGE + 3);
    g_assert_cmpuint(take(fixture), ==, 6 * GENERATIONS_RANGE);
    /* A record that is damaged is what all this is for. */
    g_free(folder_file(fixture->folder, "slot-2", "x", 1));
    g_assert_cmpuint(take(fixture), ==, 7 * GENERATIONS_RANGE);
}

/* Lost again and again, with the record of the one slot that had what was given: far above the others, and never the
 * same again. */
static void
test_lost(struct store_fixture *fixture, gconstpointer unused)
{
    uint64_t given[LOSSES + 1];
    save(fixture, 1, 7 * GENERATIONS_RANGE + 7);
    given[0] = take(fixture);
    for (unsigned n = 1; n <= LOSSES; n++) {
        g_free(folder_file(fixture->folder, "generations", "x", 1));
        given[n] = take(fixture);
        g_assert_cmpuint(given[n], >, given[0]);
        for (unsigned before = 0; before < n; before++)
            g_assert_cmpuint(given[n] / GENERATIONS_RANGE, !=, given[before] / GENERATIONS_RANGE);
        g_assert_cmpuint(take(fixture), ==, given[n] + GENERATIONS_RANGE);
    }
}

/* A number that was never written there is not gone by, however whole the file looks. */
static void
test_garbage(struct store_fixture *fixture, gconstpointer unused)
{
    static const char *const garbage[] = { "0", "1", "268435455", "268435457", "9007199254740993",
                                           "18446744073441116160", "18446744073709551615", "-268435456", "x", "" };
    uint64_t high = 0;
    for (unsigned i = 0; i < 5; i++)
        high = take(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(garbage); i++) {
        g_test_message("%s", garbage[i]);
        put_mark(fixture, garbage[i]);
        g_assert_cmpuint(take(fixture), >, high);
    }
}

/* The highest that there can be is the end, and not the beginning again. */
static void
test_end(struct store_fixture *fixture, gconstpointer unused)
{
    uint64_t generation;
    g_autoptr(GError) error = NULL;
    save(fixture, 1, STORE_GENERATION_MAX - GENERATIONS_RANGE);
    g_assert_cmpuint(take(fixture), ==, STORE_GENERATION_MAX);
    g_assert_false(generations_take(fixture->store, &generation, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_nonnull(strstr(error->message, "9007199254740992"));
}

static void
test_starving(struct store_fixture *fixture, gconstpointer unused)
{
    uint64_t generation, first = take(fixture);
    g_autoptr(GError) error = NULL;
    unsigned usual = refuse_descriptors(0);
    g_assert_false(generations_take(fixture->store, &generation, &error));
    refuse_descriptors(usual);
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_cmpuint(take(fixture), ==, first + GENERATIONS_RANGE);
}

#define ADD(path, test)                                                                                                \
    g_test_add(path, struct store_fixture, NULL, store_fixture_set_up, test, store_fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); /* a damaged mark warns */
    ADD("/generations/in-turn", test_in_turn);
    ADD("/generations/lost", test_lost);
    ADD("/generations/garbage", test_garbage);
    ADD("/generations/end", test_end);
    ADD("/generations/starving", test_starving);
    return g_test_run();
}
