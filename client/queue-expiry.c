/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Messages that are not worth sending after a time. Within a boot of the machine that is counted by CLOCK_BOOTTIME,
 * which nobody sets and suspend does not stop. From one boot to the next there is wall time only.
 */
#include <config.h>

#include "client/boot-id.h"
#include "client/queue-internal.h"
#include "common/clock.h"

#define CHUNK 1000      /* rows in one transaction */
#define AGAIN_US 1000000 /* what is due cannot be dropped: when to look again */

static int64_t
boot_ms(void)
{
    return clock_boot_us() / 1000;
}

/* A clock before the day of this release was never set. */
static bool
clock_is_sane(void)
{
    return clock_wall_s() >= RELEASE_TIME;
}

/* ---- This boot's number in the file */

static bool
with_boot_id(struct queue *queue, enum queue_statement which, int expected)
{
    sqlite3_stmt *statement = queue_ready(queue, which);
    if (!statement)
        return false;
    sqlite3_bind_text(statement, 1, boot_id(), -1, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        queue->boot = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return result == expected || (which == SQL_FIND_BOOT && result == SQLITE_DONE);
}

/* queue->boot; inside a transaction, where the file may not know this boot yet. */
static bool
number_boot(struct queue *queue)
{
    if (queue->boot)
        return true;
    if (!with_boot_id(queue, SQL_FIND_BOOT, SQLITE_ROW))
        return false;
    if (!queue->boot && with_boot_id(queue, SQL_ADD_BOOT, SQLITE_DONE))
        queue->boot = (uint64_t)sqlite3_last_insert_rowid(queue->db);
    return queue->boot != 0;
}

bool
queue_add_expiry(struct queue *queue, uint64_t seq, uint64_t ttl_s)
{
    sqlite3_stmt *statement = number_boot(queue) ? queue_ready(queue, SQL_ADD_EXPIRY) : NULL;
    int64_t life_ms = (int64_t)ttl_s * 1000;
    if (!statement)
        return false;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)seq);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)queue->boot);
    sqlite3_bind_int64(statement, 3, boot_ms() + life_ms);
    if (clock_is_sane())
        sqlite3_bind_int64(statement, 4, clock_wall_us() / 1000 + life_ms);
    sqlite3_bind_int64(statement, 5, (sqlite3_int64)ttl_s);
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done;
}

/* ---- What is due */

static int
compare_numbers(gconstpointer a, gconstpointer b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The numbers of those above, in no order, and their bytes. */
static bool
find_due(struct queue *queue, uint64_t above, GArray *numbers, uint64_t *bytes, bool *more)
{
    sqlite3_stmt *statement = queue_ready(queue, SQL_DUE);
    int result = SQLITE_ERROR, found = 0;
    if (!statement)
        return false;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)queue->boot);
    sqlite3_bind_int64(statement, 2, boot_ms());
    sqlite3_bind_int64(statement, 3, CHUNK);
    for (; (result = sqlite3_step(statement)) == SQLITE_ROW; found++) {
        uint64_t seq = (uint64_t)sqlite3_column_int64(statement, 0);
        if (seq <= above)
            continue;
        g_array_append_val(numbers, seq);
        *bytes += (uint64_t)sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    *more = found == CHUNK && numbers->len > 0;
    return result == SQLITE_DONE;
}

static void
make_runs(const GArray *numbers, GArray *runs)
{
    for (guint i = 0; i < numbers->len; i++)
        queue_append_to_runs(runs, g_array_index(numbers, uint64_t, i));
}

bool
queue_drop_expired(struct queue *queue, struct queue_state *state, uint64_t above, GArray *expired, bool *more,
                   GError **error)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    uint64_t bytes = 0;
    if (!number_boot(queue) || !find_due(queue, above, numbers, &bytes, more))
        return queue_fail(queue, "looking for what has expired in", error);
    g_array_sort(numbers, compare_numbers);
    make_runs(numbers, runs);
    if (!queue_take_runs(queue, state, runs, bytes, HUBKEY_GONE_EXPIRED))
        return queue_fail(queue, "dropping what has expired from", error);
    state->counts.dropped += numbers->len;
    state->expired += numbers->len;
    g_array_append_vals(expired, runs->data, runs->len);
    return true;
}

void
queue_scan_in_time(struct queue *queue, uint64_t above)
{
    sqlite3_stmt *statement = queue_scan_by(queue, SQL_SCAN_IN_TIME, above);
    if (!statement)
        return;
    if (!queue->boot)
        (void)with_boot_id(queue, SQL_FIND_BOOT, SQLITE_ROW);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)queue->boot);
    sqlite3_bind_int64(statement, 3, boot_ms());
    sqlite3_bind_int64(statement, 4, clock_is_sane() ? clock_wall_us() / 1000 : INT64_MIN);
}

/* Gives what was posted before this boot its end in it. */
static bool
rebase(struct queue *queue)
{
    int64_t now_ms = clock_wall_us() / 1000;
    return QUEUE_RUN(queue, SQL_REBASE, queue->boot, (uint64_t)boot_ms(), (uint64_t)now_ms, clock_is_sane(), CHUNK) &&
           (sqlite3_changes(queue->db) == CHUNK || QUEUE_RUN(queue, SQL_FORGET_BOOTS, queue->boot));
}

/* Whatever says that it is due and has no message would say so for ever. While a damaged file is carried over, the
 * message may be still to come. */
static bool
forget_orphans(struct queue *queue, bool *more, GError **error)
{
    if (!QUEUE_RUN(queue, SQL_FORGET_ORPHANS, INT64_MAX))
        return queue_fail(queue, "dropping what has expired from", error);
    *more = sqlite3_changes(queue->db) > 0;
    return true;
}

/* *more: something was dropped, or forgotten. */
static bool
drop_now(struct queue *queue, GArray *expired, bool *more, GError **error)
{
    struct queue_state state;
    guint before = expired->len;
    if (!queue_get_state(queue, &state, error) || !queue_drop_expired(queue, &state, 0, expired, more, error))
        return false;
    *more = expired->len > before;
    return (*more || state.salvage || forget_orphans(queue, more, error)) && queue_save_state(queue, &state, error);
}

/* One transaction: of taking over where there is something to, else of dropping. */
static bool
change(struct queue *queue, bool old, GArray *expired, bool *more, GError **error)
{
    *more = true;
    if (!queue_begin(queue, QUEUE_BUSY_MS, error))
        return false;
    if (old && (!number_boot(queue) || !rebase(queue)))
        return queue_give_up(queue, "reading the ends of messages in", error);
    if (!old && !drop_now(queue, expired, more, error)) {
        queue_rollback(queue);
        return false;
    }
    return queue_commit(queue, error);
}

bool
queue_expire(struct queue *queue, GArray *expired, int64_t *next_us, GError **error)
{
    uint64_t look[2];
    bool more;
    *next_us = INT64_MAX;
    if (!queue_follow(queue, error))
        return false;
    if (!queue->boot && !with_boot_id(queue, SQL_FIND_BOOT, SQLITE_ROW))
        return queue_fail(queue, "reading", error);
    uint64_t boot = queue->boot ? queue->boot : INT64_MAX; /* all that is there is of earlier ones */
    if (queue_ask(queue, SQL_LOOK_EXPIRY, boot, 0, look, 2) != 1)
        return queue_fail(queue, "reading", error);
    bool due = look[0] != 0 && (int64_t)look[0] <= boot_ms(), old = look[1] != 0;
    if (!old && !due) {
        *next_us = look[0] ? (int64_t)look[0] * 1000 : INT64_MAX;
        return true;
    }
    if (!change(queue, old, expired, &more, error))
        return false;
    *next_us = more ? 0 : clock_boot_us() + AGAIN_US;
    return true;
}

/* As rebase will have it, where the message is of an earlier boot. */
bool
queue_expires(struct queue *queue, uint64_t seq, int64_t *expires_ms, GError **error)
{
    sqlite3_stmt *statement = queue_ready(queue, SQL_GET_EXPIRY);
    int64_t now_ms = clock_wall_us() / 1000;
    *expires_ms = 0;
    if (!statement)
        return queue_fail(queue, "reading", error);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)seq);
    sqlite3_bind_text(statement, 2, boot_id(), -1, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        bool this_boot = sqlite3_column_int(statement, 3), by_wall = sqlite3_column_type(statement, 1) != SQLITE_NULL;
        int64_t left_ms = sqlite3_column_int64(statement, 2) * 1000;
        if (this_boot)
            left_ms = sqlite3_column_int64(statement, 0) - boot_ms();
        else if (by_wall && clock_is_sane())
            left_ms = MIN(left_ms, sqlite3_column_int64(statement, 1) - now_ms);
        *expires_ms = MAX(now_ms + left_ms, 1);
    } else if (result != SQLITE_DONE) {
        queue_fail(queue, "reading", error);
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE;
}
