/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/queue-expiry.c: when a message is too old to be sent, by which clock, in which boot.
 */
#include <config.h>

#include "client/boot-id.h"
#include "common/clock.h"
#include "tests/lib/scratch.h"

#include <sqlite3.h>

#define SANE (RELEASE_TIME + 86400)
#define UNSET INT64_C(10) /* as a machine without a battery starts */

static struct scratch *
scratch_new(int64_t wall_s)
{
    struct scratch *scratch = g_new0(struct scratch, 1);
    scratch_clock_start();
    scratch_clock_reboot("first");
    scratch_clock_set_wall(wall_s);
    scratch_open(scratch);
    return scratch;
}

static void
scratch_free(struct scratch *scratch)
{
    scratch_counts(scratch);
    scratch_close(scratch);
    g_free(scratch);
    clock_set_source(NULL);
    boot_id_set(NULL);
}

/* Another process in another boot. */
static void
reboot(struct scratch *scratch, const char *boot, int64_t wall_s)
{
    scratch_clock_reboot(boot);
    scratch_clock_set_wall(wall_s);
    scratch_reopen(scratch);
}

/* How many go now. */
static uint64_t
expire(struct scratch *scratch)
{
    g_autoptr(GArray) expired = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autoptr(GError) error = NULL;
    uint64_t n = 0;
    int64_t next_us = 0;
    for (int steps = 0; next_us == 0; steps++) {
        g_assert_cmpint(steps, <, 100);
        g_assert_true(queue_expire(scratch->queue, expired, &next_us, &error));
        g_assert_no_error(error);
    }
    for (guint i = 0; i < expired->len; i++) {
        struct queue_run *run = &g_array_index(expired, struct queue_run, i);
        n += run->last - run->first + 1;
    }
    return n;
}

static void
expect_waiting(struct scratch *scratch, uint64_t waiting, uint64_t expired)
{
    struct queue_state state;
    g_assert_true(queue_get_state(scratch->queue, &state, NULL));
    g_assert_cmpuint(scratch_counts(scratch).waiting, ==, waiting);
    g_assert_cmpuint(state.counts.dropped, ==, expired);
    g_assert_cmpuint(state.expired, ==, expired);
}

static void
test_time(void)
{
    static const char *const texts[] = { "no end" };
    struct scratch *scratch = scratch_new(SANE);
    g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    int64_t next_us;
    scratch_post(scratch, texts, 1);
    g_assert_true(queue_expire(scratch->queue, none, &next_us, NULL));
    g_assert_cmpint(next_us, ==, INT64_MAX);
    scratch_post_for(scratch, "ten", 10);
    scratch_post_for(scratch, "twenty", 20);
    g_assert_true(queue_expire(scratch->queue, none, &next_us, NULL));
    g_assert_cmpint(next_us, ==, scratch_clock_us() + 10 * G_USEC_PER_SEC);
    scratch_clock_move(9);
    g_assert_cmpuint(expire(scratch), ==, 0);
    scratch_clock_move(1);
    g_assert_cmpuint(expire(scratch), ==, 1);
    expect_waiting(scratch, 2, 1);
    g_assert_cmpint(queue_fate(scratch->queue, 2, NULL), ==, HUBKEY_GONE_EXPIRED);
    g_assert_cmpint(queue_fate(scratch->queue, 3, NULL), ==, 0);
    scratch_clock_move(1000000);
    g_assert_cmpuint(expire(scratch), ==, 1);
    expect_waiting(scratch, 1, 2);
    scratch_free(scratch);
}

/* Whatever is done to the wall clock. */
static void
test_wall_jumps(void)
{
    static const int64_t walls[] = { 0, SANE + 10 * INT64_C(31557600), UNSET, SANE };
    struct scratch *scratch = scratch_new(SANE);
    scratch_post_for(scratch, "hundred", 100);
    for (size_t i = 0; i < G_N_ELEMENTS(walls); i++) {
        scratch_clock_set_wall(walls[i]);
        scratch_clock_move(10);
        scratch_reopen(scratch);
        g_assert_cmpuint(expire(scratch), ==, 0);
    }
    scratch_clock_move(60);
    g_assert_cmpuint(expire(scratch), ==, 1);
    scratch_free(scratch);
}

static void
test_suspend(void)
{
    struct scratch *scratch = scratch_new(SANE);
    scratch_post_for(scratch, "hundred", 100);
    scratch_clock_suspend(100);
    g_assert_cmpuint(expire(scratch), ==, 1);
    scratch_free(scratch);
}

/* Off for a minute, with a clock that goes on. */
static void
test_boot(void)
{
    struct scratch *scratch = scratch_new(SANE);
    scratch_post_for(scratch, "hundred", 100);
    scratch_post_for(scratch, "minute", 60);
    reboot(scratch, "second", SANE + 60);
    g_assert_cmpuint(expire(scratch), ==, 1);
    scratch_clock_move(39);
    g_assert_cmpuint(expire(scratch), ==, 0);
    scratch_clock_move(1);
    g_assert_cmpuint(expire(scratch), ==, 1);
    expect_waiting(scratch, 0, 2);
    scratch_free(scratch);
}

/* A clock that was not set, before or after: the whole life anew, never less. */
static void
test_boot_without_clock(void)
{
    static const struct {
        int64_t before, after;
    } clocks[] = { { SANE, UNSET }, { UNSET, SANE }, { UNSET, UNSET }, { SANE, SANE - 1000 } };
    for (size_t i = 0; i < G_N_ELEMENTS(clocks); i++) {
        struct scratch *scratch = scratch_new(clocks[i].before);
        scratch_post_for(scratch, "hundred", 100);
        scratch_clock_move(90);
        reboot(scratch, "second", clocks[i].after);
        g_assert_cmpuint(expire(scratch), ==, 0);
        scratch_clock_set_wall(SANE + 100000);
        scratch_clock_move(99);
        g_assert_cmpuint(expire(scratch), ==, 0);
        scratch_clock_move(1);
        g_assert_cmpuint(expire(scratch), ==, 1);
        scratch_free(scratch);
    }
}

/* More than one transaction takes over, and drops. */
static void
test_many(void)
{
    struct scratch *scratch = scratch_new(SANE);
    for (int i = 0; i < 2500; i++)
        scratch_post_for(scratch, "x", i % 2 ? 100 : 200);
    reboot(scratch, "second", SANE + 10);
    g_assert_cmpuint(expire(scratch), ==, 0);
    scratch_clock_move(90);
    g_assert_cmpuint(expire(scratch), ==, 1250);
    scratch_clock_move(100);
    g_assert_cmpuint(expire(scratch), ==, 1250);
    expect_waiting(scratch, 0, 2500);
    scratch_free(scratch);
}

static int64_t
count_expiries(struct scratch *scratch)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    g_assert_cmpint(sqlite3_open(scratch->path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_prepare_v2(db, "SELECT count(*) FROM expiry", -1, &statement, NULL), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_step(statement), ==, SQLITE_ROW);
    int64_t n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return n;
}

/* Nothing is kept of messages that left another way. */
static void
test_left(void)
{
    struct scratch *scratch = scratch_new(SANE);
    uint64_t n;
    for (int i = 0; i < 5; i++)
        scratch_post_for(scratch, "hundred", 100);
    g_assert_true(queue_delivered(scratch->queue, 1, 1, NULL));
    g_assert_true(queue_bury(scratch->queue, 2, 413, "too large", NULL));
    g_autoptr(GArray) dropped = scratch_drop(scratch, 0, 1);
    g_assert_cmpint(count_expiries(scratch), ==, 2);
    g_assert_true(queue_remove(scratch->queue, HUBKEY_DROP_WAITING, UINT64_MAX, &n, NULL));
    g_assert_cmpint(count_expiries(scratch), ==, 0);
    scratch_clock_move(1000);
    g_assert_cmpuint(expire(scratch), ==, 0);
    scratch_free(scratch);
}

/* What is told of a message of an earlier boot is what it will be given, whatever the clock says. */
static void
test_told(void)
{
    static const struct {
        int64_t wall_s, left_s;
    } boots[] = { { SANE + 40, 60 }, { UNSET, 100 }, { SANE - 1000000, 100 } };
    for (size_t i = 0; i < G_N_ELEMENTS(boots); i++) {
        struct scratch *scratch = scratch_new(SANE);
        int64_t expires_ms;
        scratch_post_for(scratch, "hundred", 100);
        reboot(scratch, "another", boots[i].wall_s);
        g_assert_true(queue_expires(scratch->queue, 1, &expires_ms, NULL));
        g_assert_cmpint(expires_ms, ==, (boots[i].wall_s + boots[i].left_s) * 1000);
        scratch_free(scratch);
    }
}

/* Rows of expiry that are wrong: of messages that are not there, or of no time. The others go in theirs. */
static void
test_wrong(void)
{
    static const struct {
        const char *sql;
        int64_t left;
    } rows[] = {
        { "INSERT INTO expiry SELECT 77, boot, 1, NULL, 1 FROM expiry WHERE seq = 1", 1 },
        { "INSERT INTO expiry SELECT 77, boot, -1, NULL, 1 FROM expiry WHERE seq = 1", 1 },
        { "DELETE FROM waiting WHERE seq = 1; UPDATE state SET waiting = 2, accepted = 2, waiting_bytes = 1", 1 },
        { "UPDATE expiry SET due = x'39' WHERE seq <> 2", 2 },
        { "UPDATE expiry SET boot = 7 WHERE seq = 1", 2 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct scratch *scratch = scratch_new(SANE);
        scratch_post_for(scratch, "ten", 10);
        scratch_post_for(scratch, "twenty", 20);
        scratch_post_for(scratch, "hundred", 100);
        scratch_sql(scratch, rows[i].sql);
        scratch_clock_move(10);
        expire(scratch);
        scratch_clock_move(10);
        g_assert_cmpuint(expire(scratch), ==, 1);
        g_assert_cmpint(queue_fate(scratch->queue, 2, NULL), ==, HUBKEY_GONE_EXPIRED);
        g_assert_cmpint(queue_fate(scratch->queue, 3, NULL), ==, 0);
        g_assert_cmpint(count_expiries(scratch), ==, rows[i].left);
        scratch_free(scratch);
    }
}

/* ... and of the number that comes next. */
static void
test_wrong_next(void)
{
    struct scratch *scratch = scratch_new(SANE);
    scratch_post_for(scratch, "ten", 10);
    scratch_sql(scratch, "INSERT INTO expiry SELECT 2, boot, due + 999999, NULL, 1 FROM expiry WHERE seq = 1");
    scratch_post_for(scratch, "another", 10);
    scratch_clock_move(10);
    g_assert_cmpuint(expire(scratch), ==, 2);
    scratch_free(scratch);
}

/* A file of the first form is brought up to date with what it holds. */
static void
test_first_form(void)
{
    static const char *const texts[] = { "one", "two" };
    struct scratch *scratch = scratch_new(SANE);
    scratch_post(scratch, texts, 2);
    scratch_age(scratch, 1);
    scratch_reopen(scratch);
    expect_waiting(scratch, 2, 0);
    scratch_post_for(scratch, "three", 1);
    scratch_clock_move(1);
    g_assert_cmpuint(expire(scratch), ==, 1);
    expect_waiting(scratch, 2, 1);
    scratch_free(scratch);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/expiry/time", test_time);
    g_test_add_func("/expiry/told", test_told);
    g_test_add_func("/expiry/wall-jumps", test_wall_jumps);
    g_test_add_func("/expiry/suspend", test_suspend);
    g_test_add_func("/expiry/boot", test_boot);
    g_test_add_func("/expiry/boot-without-clock", test_boot_without_clock);
    g_test_add_func("/expiry/many", test_many);
    g_test_add_func("/expiry/left", test_left);
    g_test_add_func("/expiry/wrong", test_wrong);
    g_test_add_func("/expiry/wrong/next", test_wrong_next);
    g_test_add_func("/expiry/first-form", test_first_form);
    return g_test_run();
}
