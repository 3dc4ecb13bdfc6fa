/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/failure.h"
#include "client/queue-internal.h"
#include "common/clock.h"

/* Ranges remembered. The oldest are forgotten; queue_fate then takes their messages for delivered. */
#define GONE_MAX 4096

/* ---- Inside a transaction */

static sqlite3_stmt *
bind_row(struct queue *queue, enum queue_statement which, const struct queue_row *row)
{
    sqlite3_stmt *statement = queue_ready(queue, which);
    if (!statement)
        return NULL;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)row->seq);
    sqlite3_bind_int64(statement, 2, row->created_ms);
    sqlite3_bind_int64(statement, 3, row->counted);
    sqlite3_bind_text(statement, 4, row->properties, (int)row->properties_len, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 5, row->len ? row->body : "", (int)row->len, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 6, queue_row_crc(row));
    return statement;
}

static bool
run_bound(sqlite3_stmt *statement)
{
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done;
}

bool
queue_insert(struct queue *queue, uint64_t seq, const struct message *message, GError **error)
{
    const struct queue_row row = { .seq = seq,
                                   .created_ms = message->created_ms,
                                   .counted = message->counted,
                                   .properties = message->properties,
                                   .properties_len = message->properties_len,
                                   .body = message->body,
                                   .len = message->len };
    sqlite3_stmt *statement = bind_row(queue, SQL_INSERT, &row);
    bool done = statement && run_bound(statement) &&
                (message->ttl_s == 0 || queue_add_expiry(queue, seq, message->ttl_s));
    return done || queue_fail(queue, "adding messages to", error);
}

int
queue_carry(struct queue *queue, enum queue_statement which, const struct queue_row *row, const void *reason,
            size_t reason_len)
{
    sqlite3_stmt *statement = bind_row(queue, which, row);
    if (!statement)
        return -1;
    if (which == SQL_CARRY_DEAD) {
        sqlite3_bind_int64(statement, 7, row->buried_ms);
        sqlite3_bind_int(statement, 8, row->status);
        sqlite3_bind_text(statement, 9, reason, (int)reason_len, SQLITE_STATIC);
    }
    return run_bound(statement) ? sqlite3_changes(queue->db) : -1;
}

int
queue_has(struct queue *queue, const struct queue_row *row)
{
    uint64_t one;
    return queue_ask(queue, SQL_HAS, row->seq, queue_row_crc(row), &one, 1);
}

bool
queue_carry_boot(struct queue *queue, uint64_t n, const void *id, size_t id_len)
{
    sqlite3_stmt *statement = queue_ready(queue, SQL_CARRY_BOOT);
    if (!statement)
        return false;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)n);
    sqlite3_bind_text(statement, 2, id, (int)id_len, SQLITE_STATIC);
    return run_bound(statement);
}

bool
queue_save_state(struct queue *queue, const struct queue_state *state, GError **error)
{
    const struct hubkey_counts *counts = &state->counts;
    return QUEUE_RUN(queue, SQL_SAVE_STATE, counts->last_seq, counts->accepted, counts->delivered, counts->waiting,
                     counts->waiting_bytes, counts->dead, counts->dropped, counts->removed, state->claimed,
                     state->expired, state->lost) ||
           queue_fail(queue, "writing", error);
}

static bool
set_identity(struct queue *queue, enum queue_statement which, const struct identity *identity)
{
    sqlite3_stmt *statement = queue_ready(queue, which);
    if (!statement)
        return false;
    sqlite3_bind_text(statement, 1, identity ? identity->host : NULL, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, identity ? identity->device : NULL, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, identity ? identity->module : NULL, -1, SQLITE_STATIC);
    return run_bound(statement);
}

bool
queue_set_identity(struct queue *queue, const struct identity *identity, GError **error)
{
    return (set_identity(queue, SQL_SET_IDENTITY, identity) && set_identity(queue, SQL_SET_OWNER, identity)) ||
           queue_fail(queue, "writing", error);
}

/* Remembers how the n messages between first and last are about to leave; joined to its neighbour where it can be, so
 * that dropping a million one by one is one range. */
static bool
note_gone(struct queue *queue, uint64_t first, uint64_t last, uint64_t n, int how)
{
    if (last - first + 1 != n) /* something between them left before, another way */
        return QUEUE_RUN(queue, SQL_ADD_GONE_RUNS, first, last, (uint64_t)how) &&
               QUEUE_RUN(queue, SQL_TRIM_GONE, GONE_MAX);
    if (!QUEUE_RUN(queue, SQL_EXTEND_GONE, first, last, (uint64_t)how))
        return false;
    if (sqlite3_changes(queue->db) > 0)
        return true;
    return QUEUE_RUN(queue, SQL_ADD_GONE, first, last, (uint64_t)how) && QUEUE_RUN(queue, SQL_TRIM_GONE, GONE_MAX);
}

bool
queue_take_runs(struct queue *queue, struct queue_state *state, const GArray *runs, uint64_t bytes, int how)
{
    for (guint i = 0; i < runs->len; i++) {
        const struct queue_run *run = &g_array_index(runs, struct queue_run, i);
        uint64_t n = run->last - run->first + 1;
        if (!note_gone(queue, run->first, run->last, n, how) ||
            !QUEUE_RUN(queue, SQL_DELETE_RANGE, run->first, run->last) ||
            !QUEUE_RUN(queue, SQL_FORGET_EXPIRY, run->first, run->last))
            return false;
        state->counts.waiting -= n;
    }
    state->counts.waiting_bytes -= bytes;
    return true;
}

void
queue_append_to_runs(GArray *runs, uint64_t seq)
{
    struct queue_run *last = runs->len ? &g_array_index(runs, struct queue_run, runs->len - 1) : NULL;
    if (last && last->last + 1 == seq)
        last->last = seq;
    else
        g_array_append_val(runs, ((struct queue_run){ seq, seq }));
}

bool
queue_drop_oldest(struct queue *queue, struct queue_state *state, uint64_t above, uint64_t n, uint64_t bytes,
                  GArray *dropped, GError **error)
{
    uint64_t found = 0, found_bytes = 0;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    sqlite3_stmt *statement = queue_ready(queue, SQL_OLDEST);
    int result = statement ? SQLITE_ROW : SQLITE_ERROR;
    if (statement)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)above);
    while (result == SQLITE_ROW && (found < n || found_bytes < bytes)) {
        result = sqlite3_step(statement);
        if (result == SQLITE_ROW) {
            queue_append_to_runs(runs, (uint64_t)sqlite3_column_int64(statement, 0));
            found_bytes += (uint64_t)sqlite3_column_int64(statement, 1);
            found++;
        }
    }
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        queue_fail(queue, "reading", error);
    sqlite3_reset(statement);
    if (found < n || found_bytes < bytes || found == 0)
        return false;
    if (!queue_take_runs(queue, state, runs, found_bytes, HUBKEY_GONE_DROPPED))
        return queue_fail(queue, "dropping messages of", error);
    g_array_append_vals(dropped, runs->data, runs->len);
    state->counts.dropped += found;
    return true;
}

/* ---- Whole operations */

bool
queue_change_begin(struct queue *queue, struct queue_state *state, GError **error)
{
    if (!queue_begin(queue, QUEUE_BUSY_MS, error))
        return false;
    if (queue_get_state(queue, state, error))
        return true;
    queue_rollback(queue);
    return false;
}

bool
queue_change_end(struct queue *queue, const struct queue_state *state, bool good, GError **error)
{
    if (good && queue_save_state(queue, state, error))
        return queue_commit(queue, error);
    queue_rollback(queue);
    return false;
}

/* Takes a range out of waiting and of the counters of waiting. */
static bool
take_out(struct queue *queue, struct queue_state *state, uint64_t first, uint64_t last, uint64_t *n)
{
    uint64_t sums[2];
    if (queue_ask(queue, SQL_SUM_RANGE, first, last, sums, 2) != 1 ||
        !QUEUE_RUN(queue, SQL_DELETE_RANGE, first, last) || !QUEUE_RUN(queue, SQL_FORGET_EXPIRY, first, last))
        return false;
    state->counts.waiting -= sums[0];
    state->counts.waiting_bytes -= sums[1];
    *n = sums[0];
    return true;
}

/* What is still in a damaged file must not be carried over any more. */
static bool
note_delivered(struct queue *queue, uint64_t first, uint64_t last)
{
    return QUEUE_RUN(queue, SQL_EXTEND_GONE, first, last, HUBKEY_GONE_DELIVERED) &&
           (sqlite3_changes(queue->db) > 0 || QUEUE_RUN(queue, SQL_ADD_GONE, first, last, HUBKEY_GONE_DELIVERED));
}

bool
queue_delivered(struct queue *queue, uint64_t first, uint64_t last, GError **error)
{
    struct queue_state state;
    uint64_t n;
    if (!queue_change_begin(queue, &state, error))
        return false;
    if (queue_is_other(queue)) /* above that number everything is new in this file */
        last = MIN(last, queue_salvage_base(queue));
    if (first > last) {
        queue_rollback(queue);
        return true;
    }
    if (!take_out(queue, &state, first, last, &n) || (state.salvage && !note_delivered(queue, first, last)))
        return queue_give_up(queue, "taking delivered messages out of", error);
    state.counts.delivered += n;
    state.claimed = 0;
    return queue_change_end(queue, &state, true, error);
}

bool
queue_claim(struct queue *queue, uint64_t first, uint64_t through, uint64_t n, bool *still, GError **error)
{
    uint64_t sums[2];
    if (!queue_begin(queue, QUEUE_BUSY_MS, error))
        return false;
    if (queue_ask(queue, SQL_SUM_RANGE, first, through, sums, 2) != 1 || !QUEUE_RUN(queue, SQL_SET_CLAIM, through))
        return queue_give_up(queue, "writing", error);
    *still = sums[0] == n;
    return queue_commit(queue, error);
}

static bool
bury(struct queue *queue, uint64_t seq, int status, const char *reason)
{
    sqlite3_stmt *statement = queue_ready(queue, SQL_BURY);
    if (!statement)
        return false;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)seq);
    sqlite3_bind_int64(statement, 2, clock_wall_us() / 1000);
    sqlite3_bind_int(statement, 3, status);
    sqlite3_bind_text(statement, 4, reason, -1, SQLITE_STATIC);
    return run_bound(statement);
}

bool
queue_bury(struct queue *queue, uint64_t seq, int status, const char *reason, GError **error)
{
    struct queue_state state;
    uint64_t n;
    if (!queue_change_begin(queue, &state, error))
        return false;
    if (queue_is_other(queue) && seq > queue_salvage_base(queue)) { /* another message has that number here */
        queue_rollback(queue);
        return true;
    }
    if (!bury(queue, seq, status, reason) || !take_out(queue, &state, seq, seq, &n))
        return queue_give_up(queue, "setting a refused message of", error);
    state.counts.dead += n;
    return queue_change_end(queue, &state, true, error);
}

static bool
remove_waiting(struct queue *queue, struct queue_state *state, uint64_t through, uint64_t *n)
{
    uint64_t range[3], removed;
    if (queue_ask(queue, SQL_SUM_UP_TO, through, 0, range, 3) != 1)
        return false;
    if (range[0] == 0)
        return true;
    if (!note_gone(queue, range[1], range[2], range[0], HUBKEY_GONE_REMOVED) ||
        !take_out(queue, state, range[1], range[2], &removed))
        return false;
    *n += removed;
    state->counts.removed += removed;
    return true;
}

static bool
remove_dead(struct queue *queue, struct queue_state *state, uint64_t through, uint64_t *n)
{
    uint64_t dead;
    if (queue_ask(queue, SQL_COUNT_DEAD, through, 0, &dead, 1) != 1 ||
        !QUEUE_RUN(queue, SQL_GONE_DEAD, through, HUBKEY_GONE_REMOVED) || !QUEUE_RUN(queue, SQL_TRIM_GONE, GONE_MAX) ||
        !QUEUE_RUN(queue, SQL_DELETE_DEAD, through))
        return false;
    *n += dead;
    state->counts.removed += dead;
    state->counts.dead -= dead;
    return true;
}

bool
queue_remove(struct queue *queue, uint32_t which, uint64_t through, uint64_t *n, GError **error)
{
    struct queue_state state;
    *n = 0;
    through = MIN(through, INT64_MAX);
    if (!queue_change_begin(queue, &state, error))
        return false;
    if (((which & HUBKEY_DROP_WAITING) && !remove_waiting(queue, &state, through, n)) ||
        ((which & HUBKEY_DROP_DEAD) && !remove_dead(queue, &state, through, n)))
        return queue_give_up(queue, "removing messages of", error);
    if ((which & HUBKEY_DROP_WAITING) && through >= state.counts.last_seq) /* whatever the counters were before */
        state.counts.waiting = state.counts.waiting_bytes = 0;
    bool emptied = (which & HUBKEY_DROP_WAITING) && state.counts.waiting == 0;
    bool good = !emptied || queue_set_identity(queue, NULL, error);
    return queue_change_end(queue, &state, good, error);
}

bool
queue_record_identity(struct queue *queue, const struct identity *identity, bool force, GError **error)
{
    struct queue_state state;
    if (!queue_change_begin(queue, &state, error))
        return false;
    if ((!force && (state.bound || state.counts.accepted == 0)) || queue_set_identity(queue, identity, error))
        return queue_commit(queue, error);
    queue_rollback(queue);
    return false;
}

bool
queue_allow_drops(struct queue *queue, GError **error)
{
    struct queue_state state;
    if (!queue_get_state(queue, &state, error))
        return false;
    if (state.may_drop)
        return true;
    if (!queue_begin(queue, QUEUE_BUSY_MS, error))
        return false;
    if (!queue_run(queue, SQL_SET_MAY_DROP, NULL, 0))
        return queue_give_up(queue, "writing", error);
    return queue_commit(queue, error);
}

/* Takes the error. -1: it is none that the walk can go on behind. */
static int
leave_out(struct queue_requeue *walk, uint64_t seq, GError *failed, GError **error)
{
    if (seq == 0 || !g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED)) {
        g_propagate_error(error, failed);
        return -1;
    }
    walk->left_out++;
    if (walk->damage)
        g_error_free(failed);
    else
        walk->damage = failed;
    return 2;
}

/* Its old number has gone for good. */
static bool
end_dead(struct queue *queue, struct queue_state *state, const struct queue_row *row, GError **error)
{
    if (!QUEUE_RUN(queue, SQL_DELETE_DEAD_ONE, row->seq) ||
        !note_gone(queue, row->seq, row->seq, 1, HUBKEY_GONE_REMOVED))
        return queue_fail(queue, "moving messages of", error);
    state->counts.last_seq++;
    state->counts.dead--;
    state->counts.waiting++;
    state->counts.waiting_bytes += row->counted;
    return true;
}

/* One dead message behind those that wait: 1, 2 when it was left out, 0 when there is none, -1 an error. */
static int
requeue_next(struct queue *queue, struct queue_state *state, struct queue_requeue *walk, GError **error)
{
    struct queue_row row;
    GError *failed = NULL;
    queue_scan_dead(queue, walk->next - 1);
    int found = queue_scan_next(queue, &row, &failed);
    if (row.seq > walk->last) {
        g_clear_error(&failed);
        found = 0;
    }
    if (found < 0)
        found = leave_out(walk, row.seq, failed, error);
    if (found == 1) {
        const struct message message = { row.body,           row.len,     (char *)row.properties,
                                         row.properties_len, row.counted, row.created_ms };
        found = queue_insert(queue, state->counts.last_seq + 1, &message, error) ? 1 : -1;
    }
    queue_scan_end(queue);
    if (found > 0)
        walk->next = row.seq + 1;
    return found == 1 && !end_dead(queue, state, &row, error) ? -1 : found;
}

bool
queue_requeue(struct queue *queue, struct queue_requeue *walk, uint64_t max, uint64_t *n, GError **error)
{
    struct queue_state state;
    int found = 1;
    *n = 0;
    if (!queue_change_begin(queue, &state, error))
        return false;
    while (*n < max && (found = requeue_next(queue, &state, walk, error)) > 0)
        *n += found == 1;
    bool good = queue_change_end(queue, &state, found >= 0, error);
    if (!good)
        *n = 0;
    return good;
}
