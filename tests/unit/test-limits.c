/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/limits.c and daemon/stats.c: bounds that give way exactly where they should, and figures that are right.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/limits.h"
#include "daemon/stats.h"

#include <string.h>

static void
expect_busy(struct limits *limits, uid_t uid, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(limits_enter(limits, uid, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_BUSY);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_true(g_str_has_suffix(error->message, "retry in 100 ms"));
}

static void
test_per_user(void)
{
    struct limits *limits = limits_new();
    for (int i = 0; i < LIMITS_WAITING_PER_UID; i++)
        g_assert_true(limits_enter(limits, 1000, NULL));
    expect_busy(limits, 1000, "512 requests of your user");
    g_assert_true(limits_enter(limits, 1001, NULL)); /* the others do not feel it */
    g_assert_true(limits_enter(limits, 0, NULL));
    limits_leave(limits, 1000);
    g_assert_true(limits_enter(limits, 1000, NULL)); /* one out, one in */
    expect_busy(limits, 1000, "512 requests of your user");
    for (int i = 0; i < LIMITS_WAITING_PER_UID; i++)
        limits_leave(limits, 1000);
    g_assert_true(limits_enter(limits, 1000, NULL));
    limits_free(limits);
}

static void
test_total(void)
{
    struct limits *limits = limits_new();
    for (int i = 0; i < LIMITS_WAITING_TOTAL; i++)
        g_assert_true(limits_enter(limits, (uid_t)(1000 + i / 100), NULL));
    expect_busy(limits, 5, "8192 requests"); /* who has none waiting is told whose they are */
    expect_busy(limits, 1000, "of all users");
    limits_leave(limits, 1000);
    g_assert_true(limits_enter(limits, 5, NULL));
    limits_free(limits);
    limits_free(NULL);
}

static void
test_latencies(void)
{
    static struct stats stats;
    g_assert_cmpuint(stats_latency_us(&stats, 500), ==, 0);
    stats_note_latency(&stats, 700);
    g_assert_cmpuint(stats_latency_us(&stats, 500), ==, 700);
    g_assert_cmpuint(stats_latency_us(&stats, 990), ==, 700);
    stats = (struct stats){ 0 };
    for (int i = 1000; i >= 1; i--)
        stats_note_latency(&stats, i);
    g_assert_cmpuint(stats_latency_us(&stats, 500), ==, 500);
    g_assert_cmpuint(stats_latency_us(&stats, 990), ==, 990);
    g_assert_cmpuint(stats_latency_us(&stats, 1000), ==, 1000);
    /* Only the most recent ones count. */
    for (int i = 0; i < STATS_LATENCIES; i++)
        stats_note_latency(&stats, 5);
    g_assert_cmpuint(stats_latency_us(&stats, 1000), ==, 5);
    stats_note_latency(&stats, INT64_C(1) << 40);
    g_assert_cmpuint(stats_latency_us(&stats, 1000), ==, UINT32_MAX);
    g_assert_cmpuint(stats_latency_us(&stats, 500), ==, 5);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/limits/per-user", test_per_user);
    g_test_add_func("/limits/total", test_total);
    g_test_add_func("/stats/latencies", test_latencies);
    return g_test_run();
}
