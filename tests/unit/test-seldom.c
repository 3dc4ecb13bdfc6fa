/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/seldom.c: once in so long, and how often it was wanted meanwhile.
 */
#include <config.h>

#include "common/seldom.h"
#include "tests/lib/fake-clock.h"

#include <glib.h>

#define GAP_US ((int64_t)10 * G_USEC_PER_SEC)

static void
test_due(void)
{
    struct seldom seldom = { 0 };
    unsigned missed = 7;
    fake_clock_install();
    g_assert_true(seldom_due(&seldom, GAP_US, &missed));
    g_assert_cmpuint(missed, ==, 0);
    fake_clock_pass(GAP_US - 1);
    for (int i = 0; i < 3; i++)
        g_assert_false(seldom_due(&seldom, GAP_US, &missed));
    g_assert_cmpuint(missed, ==, 0); /* told when it is due */
    fake_clock_pass(1);
    g_assert_true(seldom_due(&seldom, GAP_US, &missed));
    g_assert_cmpuint(missed, ==, 3);
    fake_clock_pass(GAP_US);
    g_assert_true(seldom_due(&seldom, GAP_US, NULL)); /* who asks does not have to count */
    g_assert_false(seldom_due(&seldom, GAP_US, NULL));
    fake_clock_remove();
}

/* Somebody sets the clock: that is neither here nor there. */
static void
test_clock_set(void)
{
    struct seldom seldom = { 0 };
    fake_clock_install();
    g_assert_true(seldom_due(&seldom, GAP_US, NULL));
    fake_clock_set_wall(FAKE_CLOCK_START_S + 86400);
    g_assert_false(seldom_due(&seldom, GAP_US, NULL));
    fake_clock_remove();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/seldom/due", test_due);
    g_test_add_func("/seldom/clock-set", test_clock_set);
    return g_test_run();
}
