/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/random.h"
#include "common/uuid.h"
#include "tests/lib/refuse.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>

/* All of it is filled: no byte stays the same in many tries. */
static bool
fills_all(void)
{
    uint8_t bytes[300], seen[300] = { 0 };
    for (int i = 0; i < 20; i++) {
        memset(bytes, 0, sizeof bytes);
        if (!random_fill(bytes, sizeof bytes))
            return false;
        for (size_t j = 0; j < sizeof bytes; j++)
            seen[j] |= bytes[j];
    }
    return !memchr(seen, 0, sizeof seen);
}

static void
test_fills(void)
{
    g_assert_true(fills_all());
    g_assert_true(random_fill(NULL, 0));
}

static bool
fills_without_getrandom(void)
{
    return refuse_getrandom() && fills_all();
}

static bool
fails_without_both(void)
{
    char id[UUID_SIZE] = "x";
    uint8_t byte;
    refuse_descriptors(0);
    if (!refuse_getrandom() || random_fill(&byte, 1) || errno != EMFILE)
        return false;
    return !uuid_make(0, id) && id[0] == '\0';
}

static void
test_refused(void)
{
    if (!refuse_in_child(refuse_getrandom)) {
        g_test_skip("no seccomp filters here");
        return;
    }
    g_assert_true(refuse_in_child(fills_without_getrandom));
    g_assert_true(refuse_in_child(fails_without_both));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/random/fills", test_fills);
    g_test_add_func("/random/refused", test_refused);
    return g_test_run();
}
