/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/failure.h"
#include "client/queue-internal.h"

bool
queue_read_state(struct queue *queue, struct queue_state *state, GError **error)
{
    uint64_t n[14];
    int found = queue_ask(queue, SQL_GET_STATE, 0, 0, n, G_N_ELEMENTS(n));
    if (found < 0)
        return queue_fail(queue, "reading", error);
    if (found == 0) {
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED, "the counters in %s are gone; check the disk", queue->path);
        return false;
    }
    *state = (struct queue_state){
        .counts = { .last_seq = n[0],
                    .accepted = n[1],
                    .delivered = n[2],
                    .waiting = n[3],
                    .waiting_bytes = n[4],
                    .dead = n[5],
                    .dropped = n[6],
                    .removed = n[7] },
        .claimed = n[8],
        .may_drop = n[9] != 0,
        .bound = n[10] != 0,
        .expired = n[11],
        .lost = n[12],
        .salvage = (unsigned)n[13],
    };
    return true;
}

bool
queue_get_state(struct queue *queue, struct queue_state *state, GError **error)
{
    return queue_follow(queue, error) && queue_read_state(queue, state, error);
}

struct identity *
queue_get_identity(struct queue *queue, GError **error)
{
    if (!queue_follow(queue, error))
        return NULL;
    sqlite3_stmt *statement = queue_ready(queue, SQL_GET_IDENTITY);
    int result = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    struct identity *identity = NULL;
    if (result == SQLITE_ROW) {
        identity = identity_new();
        identity->host = g_strdup((const char *)sqlite3_column_text(statement, 0));
        identity->device = g_strdup((const char *)sqlite3_column_text(statement, 1));
        identity->module = g_strdup((const char *)sqlite3_column_text(statement, 2));
    } else if (result != SQLITE_DONE) {
        queue_fail(queue, "reading", error);
    }
    sqlite3_reset(statement);
    return identity;
}

sqlite3_stmt *
queue_scan_by(struct queue *queue, enum queue_statement which, uint64_t above)
{
    (void)queue_follow(queue, NULL);
    sqlite3_stmt *statement = queue_ready(queue, which);
    if (statement)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)above);
    queue->scanning = which;
    return statement;
}

void
queue_scan(struct queue *queue, uint64_t above)
{
    (void)queue_scan_by(queue, SQL_SCAN, above);
}

void
queue_scan_dead(struct queue *queue, uint64_t above)
{
    (void)queue_scan_by(queue, SQL_SCAN_DEAD, above);
}

static void
take_row(sqlite3_stmt *statement, bool dead, struct queue_row *row)
{
    *row = (struct queue_row){
        .seq = (uint64_t)sqlite3_column_int64(statement, 0),
        .created_ms = sqlite3_column_int64(statement, 1),
        .counted = (uint32_t)sqlite3_column_int64(statement, 2),
        .properties = (const char *)sqlite3_column_text(statement, 3),
        .properties_len = (size_t)sqlite3_column_bytes(statement, 3),
        .body = sqlite3_column_blob(statement, 4),
        .len = (size_t)sqlite3_column_bytes(statement, 4),
    };
    if (dead) {
        row->buried_ms = sqlite3_column_int64(statement, 6);
        row->status = sqlite3_column_int(statement, 7);
        row->reason = (const char *)sqlite3_column_text(statement, 8);
    }
}

/* Rows of an earlier form have no checksum. */
static bool
is_whole(sqlite3_stmt *statement, const struct queue_row *row)
{
    return sqlite3_column_type(statement, 5) == SQLITE_NULL ||
           sqlite3_column_int64(statement, 5) == (sqlite3_int64)queue_row_crc(row);
}

int
queue_scan_next(struct queue *queue, struct queue_row *row, GError **error)
{
    sqlite3_stmt *statement = queue->statements[queue->scanning];
    int result = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    row->seq = 0;
    if (result == SQLITE_DONE)
        return 0;
    if (result != SQLITE_ROW) {
        queue_fail(queue, "reading", error);
        return -1;
    }
    take_row(statement, queue->scanning == SQL_SCAN_DEAD, row);
    if (is_whole(statement, row))
        return 1;
    failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                "message %" G_GUINT64_FORMAT " in %s is not what was stored (its checksum differs); check the disk",
                row->seq, queue->path);
    return -1;
}

void
queue_scan_end(struct queue *queue)
{
    sqlite3_reset(queue->statements[queue->scanning]);
}

int
queue_fate(struct queue *queue, uint64_t seq, GError **error)
{
    struct queue_state state;
    uint64_t how;
    if (!queue_get_state(queue, &state, error))
        return -2;
    if (seq == 0 || seq > state.counts.last_seq)
        return -1;
    int waits = queue_ask(queue, SQL_IS_WAITING, seq, 0, &how, 1);
    int dead = waits == 0 ? queue_ask(queue, SQL_IS_DEAD, seq, 0, &how, 1) : 0;
    int gone = waits == 0 && dead == 0 ? queue_ask(queue, SQL_HOW_GONE, seq, 0, &how, 1) : 0;
    if (waits < 0 || dead < 0 || gone < 0) {
        queue_fail(queue, "reading", error);
        return -2;
    }
    if (waits || (!dead && !gone && seq <= queue_salvage_base(queue)))
        return 0;
    return dead ? HUBKEY_GONE_DEAD : gone ? (int)how : HUBKEY_GONE_DELIVERED;
}

int
queue_waits_up_to(struct queue *queue, uint64_t seq, GError **error)
{
    uint64_t first;
    if (!queue_follow(queue, error))
        return -1;
    if (queue_salvage_base(queue))
        return 1;
    int found = queue_ask(queue, SQL_FIRST_WAITING, 0, 0, &first, 1);
    if (found < 0)
        queue_fail(queue, "reading", error);
    return found == 1 ? first <= seq : found;
}

static bool
sum_rows(struct queue *queue, struct queue_sums *sums, GError **error)
{
    uint64_t waiting[2];
    if (queue_ask(queue, SQL_SUM_RANGE, 0, INT64_MAX, waiting, 2) != 1 ||
        queue_ask(queue, SQL_COUNT_DEAD, INT64_MAX, 0, &sums->dead, 1) != 1 ||
        queue_ask(queue, SQL_NEWEST, 0, 0, &sums->newest, 1) != 1)
        return queue_fail(queue, "reading", error);
    struct queue_sums left;
    if (!queue_left(queue, &left))
        return queue_fail(queue, "reading", error);
    if (queue_salvage_base(queue))
        sums->orphans = 0; /* they come before their messages */
    else if (queue_ask(queue, SQL_COUNT_ORPHANS, 0, 0, &sums->orphans, 1) != 1)
        return queue_fail(queue, "reading", error);
    sums->waiting = waiting[0] + left.waiting;
    sums->waiting_bytes = waiting[1] + left.waiting_bytes;
    sums->dead += left.dead;
    return true;
}

bool
queue_sum(struct queue *queue, struct queue_state *state, struct queue_sums *sums, GError **error)
{
    if (!queue_follow(queue, error))
        return false;
    if (!queue_run(queue, SQL_BEGIN_READ, NULL, 0))
        return queue_fail(queue, "reading", error);
    bool good = queue_get_state(queue, state, error) && sum_rows(queue, sums, error);
    (void)queue_run(queue, SQL_ROLLBACK, NULL, 0); /* nothing was written */
    return good;
}
