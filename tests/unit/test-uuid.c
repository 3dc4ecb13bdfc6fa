/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/uuid.h"

#include <string.h>

#include <glib.h>

static void
test_form(void)
{
    char ids[100][UUID_SIZE];
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_assert_true(uuid_make(1700000000000 + (int64_t)i / 10, ids[i]));
        g_assert_true(g_uuid_string_is_valid(ids[i]));
        g_assert_cmpint(ids[i][14], ==, '7');
        g_assert_nonnull(strchr("89ab", ids[i][19]));
        /* The time comes first; within a millisecond any order. */
        g_assert_cmpint(i > 0 ? strncmp(ids[i - 1], ids[i], 13) : 0, <=, 0);
        for (size_t j = 0; j < i; j++)
            g_assert_cmpstr(ids[i], !=, ids[j]);
    }
}

/* RFC 9562, appendix A.6: 017F22E2-79B0-7... is 2022-02-22 19:22:22 UTC. */
static void
test_time(void)
{
    char id[UUID_SIZE];
    g_assert_true(uuid_make(1645557742000, id));
    g_assert_true(g_str_has_prefix(id, "017f22e2-79b0-7"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uuid/form", test_form);
    g_test_add_func("/uuid/time", test_time);
    return g_test_run();
}
