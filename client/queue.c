/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/queue.h"
#include "client/failure.h"
#include "client/queue-internal.h"
#include "client/queue-schema.h"

static const char *const sql[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_GET_STATE] =
        "SELECT last_seq, accepted, delivered, waiting, waiting_bytes, dead, dropped, removed, claimed, may_drop,"
        " host IS NOT NULL, expired, lost, (SELECT n FROM salvage) FROM state",
    [SQL_SAVE_STATE] =
        "UPDATE state SET last_seq = ?1, accepted = ?2, delivered = ?3, waiting = ?4, waiting_bytes = ?5,"
        " dead = ?6, dropped = ?7, removed = ?8, claimed = ?9, expired = ?10, lost = ?11",
    [SQL_GET_IDENTITY] = "SELECT host, device, module FROM state WHERE host IS NOT NULL",
    [SQL_SET_IDENTITY] = "UPDATE state SET host = ?1, device = ?2, module = ?3",
    [SQL_SET_OWNER] = "UPDATE owner SET host = ?1, device = ?2, module = ?3",
    [SQL_SET_CLAIM] = "UPDATE state SET claimed = ?1",
    /* A sender that did not have to claim until now may have any of what waits in a request. Its next transaction says
     * what it has. */
    [SQL_SET_MAY_DROP] = "UPDATE state SET may_drop = 1, claimed = last_seq",
    [SQL_INSERT] = "INSERT INTO waiting (seq, created, counted, properties, body, crc)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_SCAN] = "SELECT seq, created, counted, properties, body, crc FROM waiting WHERE seq > ?1 ORDER BY seq",
    /* ?2 to ?4: this boot's number, and now by boot and wall time, as in SQL_REBASE. */
    [SQL_SCAN_IN_TIME] =
        "SELECT seq, created, counted, properties, body, crc FROM waiting WHERE seq > ?1 AND NOT EXISTS"
        " (SELECT 1 FROM expiry WHERE expiry.seq = waiting.seq AND iif(boot = ?2, due <= ?3, wall <= ?4)) ORDER BY seq",
    [SQL_SUM_RANGE] = "SELECT count(*), total(counted) FROM waiting WHERE seq BETWEEN ?1 AND ?2",
    [SQL_DELETE_RANGE] = "DELETE FROM waiting WHERE seq BETWEEN ?1 AND ?2",
    [SQL_OLDEST] = "SELECT seq, counted FROM waiting WHERE seq > ?1 ORDER BY seq",
    [SQL_BURY] = "INSERT INTO dead (seq, created, counted, properties, body, buried, status, reason, crc)"
                 " SELECT seq, created, counted, properties, body, ?2, ?3, ?4, crc FROM waiting WHERE seq = ?1",
    [SQL_SUM_UP_TO] = "SELECT count(*), min(seq), max(seq) FROM waiting WHERE seq <= ?1",
    [SQL_COUNT_DEAD] = "SELECT count(*) FROM dead WHERE seq <= ?1",
    [SQL_DELETE_DEAD] = "DELETE FROM dead WHERE seq <= ?1",
    [SQL_EXTEND_GONE] = "UPDATE gone SET last = ?2 WHERE last = ?1 - 1 AND how = ?3",
    [SQL_ADD_GONE] = "INSERT OR REPLACE INTO gone (first, last, how) VALUES (?1, ?2, ?3)",
    /* Numbers that follow each other have the same difference to their rank. */
    [SQL_ADD_GONE_RUNS] =
        "INSERT OR REPLACE INTO gone (first, last, how) SELECT min(seq), max(seq), ?3 FROM"
        " (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM waiting WHERE seq BETWEEN ?1 AND ?2)"
        " GROUP BY run",
    /* Not what a salvage has to remember, HUBKEY_GONE_DELIVERED. */
    [SQL_TRIM_GONE] = "DELETE FROM gone WHERE how <> 1 AND first <="
                      " (SELECT first FROM gone WHERE how <> 1 ORDER BY first DESC LIMIT 1 OFFSET ?1)",
    [SQL_GONE_DEAD] =
        "INSERT OR REPLACE INTO gone (first, last, how) SELECT seq, seq, ?2 FROM dead WHERE seq <= ?1",
    [SQL_IS_WAITING] = "SELECT 1 FROM waiting WHERE seq = ?1",
    [SQL_IS_DEAD] = "SELECT 1 FROM dead WHERE seq = ?1",
    [SQL_HOW_GONE] = "SELECT how FROM gone WHERE first <= ?1 AND last >= ?1 ORDER BY first DESC LIMIT 1",
    [SQL_FIRST_WAITING] = "SELECT seq FROM waiting ORDER BY seq LIMIT 1",
    [SQL_SCAN_DEAD] = "SELECT seq, created, counted, properties, body, crc, buried, status, reason FROM dead"
                      " WHERE seq > ?1 ORDER BY seq",
    [SQL_DELETE_DEAD_ONE] = "DELETE FROM dead WHERE seq = ?1",
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_NEWEST] = "SELECT max(coalesce((SELECT max(seq) FROM waiting), 0), coalesce((SELECT max(seq) FROM dead), 0))",
    [SQL_FIND_BOOT] = "SELECT n FROM boot WHERE id = ?1",
    [SQL_ADD_BOOT] = "INSERT INTO boot (id) VALUES (?1)",
    [SQL_FORGET_BOOTS] = "DELETE FROM boot WHERE n < ?1",
    [SQL_ADD_EXPIRY] = "INSERT OR REPLACE INTO expiry (seq, boot, due, wall, ttl) VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_FORGET_EXPIRY] = "DELETE FROM expiry WHERE seq BETWEEN ?1 AND ?2",
    [SQL_GET_EXPIRY] = "SELECT due, wall, ttl, EXISTS (SELECT 1 FROM boot WHERE n = expiry.boot AND id = ?2)"
                       " FROM expiry WHERE seq = ?1",
    [SQL_LOOK_EXPIRY] =
        "SELECT (SELECT min(due) FROM expiry WHERE boot = ?1), EXISTS (SELECT 1 FROM expiry WHERE boot < ?1)",
    [SQL_DUE] = "SELECT expiry.seq, counted FROM expiry JOIN waiting USING (seq) WHERE boot = ?1 AND due <= ?2"
                " ORDER BY due LIMIT ?3",
    /* ?2 and ?3: now by boot and wall time, ms; ?4: whether wall time can be right. */
    [SQL_REBASE] =
        "UPDATE expiry SET boot = ?1, due = ?2 + iif(?4 AND wall IS NOT NULL, min(wall - ?3, ttl * 1000), ttl * 1000)"
        " WHERE seq IN (SELECT seq FROM expiry WHERE boot < ?1 LIMIT ?5)",
    [SQL_GET_SALVAGE] = "SELECT n, done, page, base, known, left_waiting, left_bytes, left_dead, carried FROM salvage",
    [SQL_SAVE_SALVAGE] =
        "UPDATE salvage SET n = ?1, done = ?2, page = ?3, base = ?4, known = ?5, left_waiting = ?6, left_bytes = ?7,"
        " left_dead = ?8, carried = ?9",
    [SQL_CARRY] = "INSERT OR IGNORE INTO waiting (seq, created, counted, properties, body, crc)"
                  " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM dead WHERE seq = ?1)",
    [SQL_CARRY_DEAD] =
        "INSERT OR IGNORE INTO dead (seq, created, counted, properties, body, crc, buried, status, reason)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE NOT EXISTS (SELECT 1 FROM waiting WHERE seq = ?1)",
    [SQL_HAS] = "SELECT 1 FROM waiting WHERE seq = ?1 AND crc = ?2 UNION ALL"
                " SELECT 1 FROM dead WHERE seq = ?1 AND crc = ?2",
    [SQL_CARRY_GONE] = "INSERT OR IGNORE INTO gone (first, last, how) VALUES (?1, ?2, ?3)",
    [SQL_CARRY_BOOT] = "INSERT OR IGNORE INTO boot (n, id) VALUES (?1, ?2)",
    [SQL_CARRY_EXPIRY] = "INSERT OR IGNORE INTO expiry (seq, boot, due, wall, ttl)"
                         " SELECT ?1, ?2, ?3, nullif(?4, 0), ?5 WHERE EXISTS (SELECT 1 FROM boot WHERE n = ?2)",
    [SQL_SCAN_NUMBERS] =
        "SELECT seq, seq FROM waiting WHERE seq <= ?1 UNION ALL SELECT seq, seq FROM dead WHERE seq <= ?1"
        " UNION ALL SELECT first, last FROM gone WHERE first <= ?1 ORDER BY 1",
    [SQL_SCAN_GONE] = "SELECT first, last FROM gone WHERE how = ?1",
    [SQL_FORGET_GONE] = "DELETE FROM gone WHERE how = ?1",
    [SQL_FORGET_ORPHANS] = "DELETE FROM expiry WHERE seq <= ?1 AND NOT EXISTS"
                           " (SELECT 1 FROM waiting WHERE waiting.seq = expiry.seq)",
    [SQL_COUNT_ORPHANS] = "SELECT count(*) FROM expiry WHERE NOT EXISTS"
                          " (SELECT 1 FROM waiting WHERE waiting.seq = expiry.seq)",
};

bool
queue_fail(struct queue *queue, const char *doing, GError **error)
{
    if (queue->db)
        queue_schema_fail(queue->db, queue->path, doing, error);
    else
        failure_set(error, HUBKEY_E_QUEUE_OPEN, "%s could not be opened again; check its owner, mode and disk",
                    queue->path);
    return false;
}

/* The prepared statement with its whole numbers bound; NULL where SQLite refuses. Made on first use, kept until close.
 */
sqlite3_stmt *
queue_ready(struct queue *queue, enum queue_statement which)
{
    sqlite3_stmt **statement = &queue->statements[which];
    if (!*statement &&
        sqlite3_prepare_v3(queue->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) != SQLITE_OK)
        return NULL;
    return *statement;
}

/* Runs a statement that yields no row, with n numbers. */
bool
queue_run(struct queue *queue, enum queue_statement which, const uint64_t *numbers, int n)
{
    sqlite3_stmt *statement = queue_ready(queue, which);
    if (!statement)
        return false;
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(statement, i + 1, (sqlite3_int64)numbers[i]);
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    return done;
}

/* Runs a statement with up to two numbers and takes up to n numbers of its first row. 1 a row, 0 none, -1 an error. */
int
queue_ask(struct queue *queue, enum queue_statement which, uint64_t a, uint64_t b, uint64_t *numbers, int n)
{
    sqlite3_stmt *statement = queue_ready(queue, which);
    if (!statement)
        return -1;
    int parameters = sqlite3_bind_parameter_count(statement);
    if (parameters > 0)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)a);
    if (parameters > 1)
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)b);
    int result = sqlite3_step(statement);
    for (int i = 0; i < n; i++)
        numbers[i] = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, i) : 0;
    sqlite3_reset(statement);
    return result == SQLITE_ROW ? 1 : result == SQLITE_DONE ? 0 : -1;
}

/* The error code of SQLite must be read before anything else is done on the connection: rollback comes after. */
bool
queue_give_up(struct queue *queue, const char *doing, GError **error)
{
    queue_fail(queue, doing, error);
    queue_rollback(queue);
    return false;
}

/* ---- Transactions */

static bool
begin(struct queue *queue, int busy_ms, GError **error)
{
    if (!queue_enter(queue, error))
        return false;
    sqlite3_busy_timeout(queue->db, busy_ms);
    if (queue_run(queue, SQL_BEGIN, NULL, 0))
        return true;
    queue_fail(queue, "writing", error);
    queue_leave(queue);
    return false;
}

bool
queue_begin(struct queue *queue, int busy_ms, GError **error)
{
    if (queue->gate)
        guard_lock(queue->gate);
    if (begin(queue, busy_ms, error))
        return true;
    if (queue->gate)
        guard_unlock(queue->gate);
    return false;
}

static void
end(struct queue *queue)
{
    queue_leave(queue);
    if (queue->gate)
        guard_unlock(queue->gate);
}

bool
queue_commit(struct queue *queue, GError **error)
{
    if (!queue_run(queue, SQL_COMMIT, NULL, 0))
        return queue_give_up(queue, "writing", error);
    end(queue);
    return true;
}

void
queue_rollback(struct queue *queue)
{
    queue->boot = 0;
    if (!sqlite3_get_autocommit(queue->db)) /* some errors have rolled back by themselves */
        (void)queue_run(queue, SQL_ROLLBACK, NULL, 0);
    end(queue);
}
