/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/rate.c: as many as are allowed, at once or one by one, and not one more.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/rate.h"
#include "tests/lib/fake-clock.h"

#include <string.h>

#define MS INT64_C(1000)

static unsigned
take_many(struct rate *rate, uid_t uid, uint32_t slot, uint32_t per_minute, unsigned tries)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < tries; i++)
        taken += rate_take(rate, uid, slot, per_minute, NULL);
    return taken;
}

static void
expect_busy(struct rate *rate, uid_t uid, uint32_t slot, uint32_t per_minute, const char *end)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(rate_take(rate, uid, slot, per_minute, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_BUSY);
    g_test_message("%s", error->message);
    g_assert_true(g_str_has_suffix(error->message, end));
}

static void
test_bucket(void)
{
    fake_clock_install();
    struct rate *rate = rate_new();
    g_assert_cmpuint(take_many(rate, 1000, 0, 60, 100), ==, 60);
    expect_busy(rate, 1000, 0, 60, "slot 0 gives each user 60 tokens a minute (RequestsPerMinute), and yours are used "
                "up; retry in 1000 ms");
    fake_clock_pass(999 * MS);
    expect_busy(rate, 1000, 0, 60, "retry in 1 ms");
    fake_clock_pass(MS);
    g_assert_cmpuint(take_many(rate, 1000, 0, 60, 100), ==, 1); /* what was refused has not been counted */
    fake_clock_pass(10 * 1000 * MS);
    g_assert_cmpuint(take_many(rate, 1000, 0, 60, 100), ==, 10);
    fake_clock_pass(3600 * 1000 * MS);
    g_assert_cmpuint(take_many(rate, 1000, 0, 60, 100), ==, 60); /* a bucket is never fuller than full */
    fake_clock_set_wall(1);
    expect_busy(rate, 1000, 0, 60, "retry in 1000 ms"); /* setting the clock changes nothing */
    rate_free(rate);
    fake_clock_remove();
}

/* Who waits as long as it was told to is let in, at any number. */
static void
test_waiting(void)
{
    fake_clock_install();
    const uint32_t numbers[] = { 1, 2, 7, 59, 60, 61, 999, 60001, 1000000 };
    struct rate *rate = rate_new();
    for (uint32_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_assert_cmpuint(take_many(rate, 1000, i, numbers[i], numbers[i] + 1), >=, numbers[i]);
        for (int times = 0; times < 5; times++) {
            g_autoptr(GError) error = NULL;
            while (rate_take(rate, 1000, i, numbers[i], NULL))
                ;
            g_assert_false(rate_take(rate, 1000, i, numbers[i], &error));
            int64_t ms = g_ascii_strtoll(strstr(error->message, "retry in ") + strlen("retry in "), NULL, 10);
            g_assert_cmpint(ms, >, 0);
            g_assert_cmpint(ms, <=, 60000);
            fake_clock_pass(ms * MS);
            g_assert_true(rate_take(rate, 1000, i, numbers[i], NULL));
        }
    }
    rate_free(rate);
    fake_clock_remove();
}

static void
test_apart(void)
{
    fake_clock_install();
    struct rate *rate = rate_new();
    g_assert_cmpuint(take_many(rate, 1000, 0, 3, 9), ==, 3);
    g_assert_cmpuint(take_many(rate, 1001, 0, 3, 9), ==, 3); /* another user */
    g_assert_cmpuint(take_many(rate, 1000, 1, 3, 9), ==, 3); /* another slot */
    g_assert_cmpuint(take_many(rate, 0, 0, 3, 9), ==, 3);    /* root is a user like any other */
    g_assert_cmpuint(take_many(rate, 1000, 0, 0, 9), ==, 9); /* no limit */
    rate_free(rate);
    fake_clock_remove();
}

/* RequestsPerMinute= changes while buckets are in use: nobody waits longer than a minute for it. */
static void
test_other_number(void)
{
    fake_clock_install();
    struct rate *rate = rate_new();
    g_assert_cmpuint(take_many(rate, 1000, 0, 1000, 2000), ==, 1000);
    expect_busy(rate, 1000, 0, 1, "retry in 60000 ms");
    g_assert_cmpuint(take_many(rate, 1000, 0, 2000, 4000), ==, 0);
    fake_clock_pass(30 * 1000 * MS);
    g_assert_cmpuint(take_many(rate, 1000, 0, 2000, 4000), ==, 1000);
    rate_free(rate);
    fake_clock_remove();
}

/* Memory is bounded, and buckets that are full again make room. */
static void
test_bounded(void)
{
    fake_clock_install();
    struct rate *rate = rate_new();
    for (uint32_t i = 0; i < RATE_KEPT_MAX; i++)
        g_assert_true(rate_take(rate, 1000 + i / 16384, i % 16384, 1, NULL));
    expect_busy(rate, 999, 0, 1, "retry in 1000 ms");
    expect_busy(rate, 1000, 5, 1, "retry in 60000 ms"); /* nobody is forgotten for it */
    fake_clock_pass(61 * 1000 * MS);
    g_assert_true(rate_take(rate, 999, 0, 1, NULL));
    rate_free(rate);
    rate_free(NULL);
    fake_clock_remove();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rate/bucket", test_bucket);
    g_test_add_func("/rate/waiting", test_waiting);
    g_test_add_func("/rate/apart", test_apart);
    g_test_add_func("/rate/other-number", test_other_number);
    g_test_add_func("/rate/bounded", test_bounded);
    return g_test_run();
}
