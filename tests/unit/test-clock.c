/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/clock.c: real clocks, and those that a test sets.
 */
#include <config.h>

#include "common/clock.h"

#include <time.h>

#include <glib.h>

static int64_t wall;

static int64_t
fake_wall(void)
{
    return wall;
}

static int64_t
fake_boot(void)
{
    return 2;
}

static int64_t
fake_monotonic(void)
{
    return 3;
}

static void
test_seconds(void)
{
    static const struct clock_source fake = { fake_wall, fake_boot, fake_monotonic };
    static const struct {
        int64_t us, s;
    } rows[] = {
        { 0, 0 },        { 999999, 0 },    { 1000000, 1 },   { 1700000000999999, 1700000000 },
        { -1, -1 },      { -1000000, -1 }, { -1000001, -2 }, { INT64_MAX, INT64_MAX / 1000000 },
    };
    clock_set_source(&fake);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        wall = rows[i].us;
        g_assert_cmpint(clock_wall_us(), ==, rows[i].us);
        g_assert_cmpint(clock_wall_s(), ==, rows[i].s);
    }
    g_assert_cmpint(clock_boot_us(), ==, 2);
    g_assert_cmpint(clock_monotonic_us(), ==, 3);
    clock_set_source(NULL);
}

static void
test_real(void)
{
    int64_t before = (int64_t)time(NULL), now = clock_wall_s(), after = (int64_t)time(NULL);
    g_assert_cmpint(now, >=, before);
    g_assert_cmpint(now, <=, after + 1); /* time() may lag by a tick */
    int64_t monotonic = clock_monotonic_us();
    g_assert_cmpint(monotonic, >=, 0);
    g_assert_cmpint(clock_monotonic_us(), >=, monotonic);
    g_assert_cmpint(clock_boot_us(), >=, monotonic); /* it counts suspend as well */
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/clock/seconds", test_seconds);
    g_test_add_func("/clock/real", test_real);
    return g_test_run();
}
