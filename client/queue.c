/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/queue.h"
#include "client/failure.h"
#include "client/queue-internal.h"
#include "client/queue-schema.h"

#include <string.h>
#include <unistd.h>

#define CACHE_KIB 512 /* of pages a connection keeps in memory */
/* After this many pages SQLite moves the journal's content into the file and starts it anew. Small, because a commit
 * that overwrites the journal takes half the time of one that makes it longer. */
#define JOURNAL_PAGES 400
#define JOURNAL_KEPT (4 << 20) /* bytes: what one huge transaction made longer is given back by the next that fits */

static const char *const sql[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_GET_STATE] =
        "SELECT last_seq, accepted, delivered, waiting, waiting_bytes, dead, dropped, removed, claimed, may_drop,"
        " host IS NOT NULL, expired FROM state",
    [SQL_SAVE_STATE] =
        "UPDATE state SET last_seq = ?1, accepted = ?2, delivered = ?3, waiting = ?4, waiting_bytes = ?5,"
        " dead = ?6, dropped = ?7, removed = ?8, claimed = ?9, expired = ?10",
    [SQL_GET_IDENTITY] = "SELECT host, device, module FROM state WHERE host IS NOT NULL",
    [SQL_SET_IDENTITY] = "UPDATE state SET host = ?1, device = ?2, module = ?3",
    [SQL_SET_CLAIM] = "UPDATE state SET claimed = ?1",
    /* A sender that did not have to claim until now may have any of what waits in a request. Its next transaction says
     * what it has. */
    [SQL_SET_MAY_DROP] = "UPDATE state SET may_drop = 1, claimed = last_seq",
    [SQL_INSERT] = "INSERT INTO waiting (seq, created, counted, properties, body, crc)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_SCAN] = "SELECT seq, created, counted, properties, body, crc FROM waiting WHERE seq > ?1 ORDER BY seq",
    [SQL_SUM_RANGE] = "SELECT count(*), total(counted) FROM waiting WHERE seq BETWEEN ?1 AND ?2",
    [SQL_DELETE_RANGE] = "DELETE FROM waiting WHERE seq BETWEEN ?1 AND ?2",
    [SQL_OLDEST] = "SELECT seq, counted FROM waiting WHERE seq > ?1 ORDER BY seq",
    [SQL_BURY] = "INSERT INTO dead (seq, created, counted, properties, body, buried, status, reason, crc)"
                 " SELECT seq, created, counted, properties, body, ?2, ?3, ?4, crc FROM waiting WHERE seq = ?1",
    [SQL_SUM_ALL] = "SELECT waiting, (SELECT min(seq) FROM waiting), (SELECT max(seq) FROM waiting) FROM state",
    [SQL_DELETE_ALL] = "DELETE FROM waiting",
    [SQL_COUNT_DEAD] = "SELECT count(*) FROM dead",
    [SQL_DELETE_DEAD] = "DELETE FROM dead",
    [SQL_EXTEND_GONE] = "UPDATE gone SET last = ?2 WHERE last = ?1 - 1 AND how = ?3",
    [SQL_ADD_GONE] = "INSERT OR REPLACE INTO gone (first, last, how) VALUES (?1, ?2, ?3)",
    /* Numbers that follow each other have the same difference to their rank. */
    [SQL_ADD_GONE_RUNS] =
        "INSERT OR REPLACE INTO gone (first, last, how) SELECT min(seq), max(seq), ?3 FROM"
        " (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM waiting WHERE seq BETWEEN ?1 AND ?2)"
        " GROUP BY run",
    [SQL_TRIM_GONE] = "DELETE FROM gone WHERE first <= (SELECT first FROM gone ORDER BY first DESC LIMIT 1 OFFSET ?1)",
    [SQL_GONE_ALL] = "INSERT OR REPLACE INTO gone (first, last, how) SELECT seq, seq, ?1 FROM dead",
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
    [SQL_ADD_EXPIRY] = "INSERT INTO expiry (seq, boot, due, wall, ttl) VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_FORGET_EXPIRY] = "DELETE FROM expiry WHERE seq BETWEEN ?1 AND ?2",
    [SQL_LOOK_EXPIRY] =
        "SELECT (SELECT min(due) FROM expiry WHERE boot = ?1), EXISTS (SELECT 1 FROM expiry WHERE boot < ?1)",
    [SQL_DUE] = "SELECT expiry.seq, counted FROM expiry JOIN waiting USING (seq) WHERE boot = ?1 AND due <= ?2"
                " ORDER BY due LIMIT ?3",
    /* ?2 and ?3: now by boot and wall time, ms; ?4: whether wall time can be right. */
    [SQL_REBASE] =
        "UPDATE expiry SET boot = ?1, due = ?2 + iif(?4 AND wall IS NOT NULL, min(wall - ?3, ttl * 1000), ttl * 1000)"
        " WHERE seq IN (SELECT seq FROM expiry WHERE boot < ?1 LIMIT ?5)",
};

bool
queue_fail(struct queue *queue, const char *doing, GError **error)
{
    queue_schema_fail(queue->db, queue->path, doing, error);
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

/* ---- Opening

 * SQLite's notes on which locks a process holds are the process's, and a fork copies them: a child's own connection to
 * the same file would take no lock at all, and its commits would go where another process, which sees nobody, has taken
 * the journal away. So a child closes what it inherited before it opens anything.
 (https://sqlite.org/howtocorrupt.html,
 * section 2.6) */

static struct queue *all;
static struct guard all_guard;

static void
init_all(void)
{
    guard_init(&all_guard);
}

static void
close_connection(struct queue *queue)
{
    for (int i = 0; i < SQL_STATEMENTS; i++)
        sqlite3_finalize(queue->statements[i]);
    memset(queue->statements, 0, sizeof queue->statements);
    sqlite3_close(queue->db);
    queue->db = NULL;
}

static void
enlist(struct queue *queue)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_all);
    queue->pid = getpid();
    guard_lock(&all_guard);
    for (struct queue *other = all; other; other = other->next)
        if (other->pid != queue->pid && other->db)
            close_connection(other);
    queue->next = all;
    all = queue;
    guard_unlock(&all_guard);
}

static void
delist(struct queue *queue)
{
    guard_lock(&all_guard);
    struct queue **at = &all;
    while (*at != queue)
        at = &(*at)->next;
    *at = queue->next;
    guard_unlock(&all_guard);
}

static bool
set_pragmas(struct queue *queue, const char *more, GError **error)
{
    g_autofree char *pragmas = g_strdup_printf(
        "PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; %s", CACHE_KIB, more);
    return sqlite3_exec(queue->db, pragmas, NULL, NULL, NULL) == SQLITE_OK || queue_fail(queue, "opening", error);
}

static bool
set_up(struct queue *queue, GError **error)
{
    bool outdated = false;
    g_autofree char *pragmas = g_strdup_printf("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                               "PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = %d;"
                                               "PRAGMA secure_delete = OFF;",
                                               JOURNAL_PAGES, JOURNAL_KEPT);
    return queue_schema_check(queue->db, queue->path, &outdated, error) && set_pragmas(queue, pragmas, error) &&
           (!outdated || queue_schema_update(queue->db, queue->path, error));
}

/* For looking only: nothing is brought up to date, least of all under a program that is older than this one. */
static bool
set_up_reader(struct queue *queue, GError **error)
{
    bool outdated = false;
    if (!queue_schema_check(queue->db, queue->path, &outdated, error) || !set_pragmas(queue, "", error))
        return false;
    if (outdated)
        failure_set(error, HUBKEY_E_QUEUE_OLDER,
                    "%s has an older form than this libhubkey reads, or was never used; it is brought up to date by "
                    "whoever opens it to post or to send, as hubkeyctl queue flush SLOT --queue %s does",
                    queue->path, queue->path);
    return !outdated;
}

static struct queue *
open_connection(const char *path, struct guard *gate, int flags, bool (*prepare)(struct queue *, GError **),
                GError **error)
{
    struct queue *queue = g_new0(struct queue, 1);
    queue->path = g_strdup(path);
    queue->gate = gate;
    enlist(queue);
    flags |= SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(path, &queue->db, flags, NULL) != SQLITE_OK) {
        if (queue->db)
            queue_fail(queue, "opening", error);
        else
            failure_set(error, HUBKEY_E_NOMEM, "out of memory");
        queue_close(queue);
        return NULL;
    }
    /* Kept at the end: making them anew takes a disk with room, and reading them a directory that can be written. */
    int persist = 1;
    sqlite3_file_control(queue->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &persist);
    sqlite3_busy_timeout(queue->db, QUEUE_BUSY_MS);
    if (!prepare(queue, error)) {
        queue_close(queue);
        return NULL;
    }
    return queue;
}

struct queue *
queue_open(const char *path, struct guard *gate, GError **error)
{
    return open_connection(path, gate, SQLITE_OPEN_READWRITE, set_up, error);
}

struct queue *
queue_open_reader(const char *path, GError **error)
{
    return open_connection(path, NULL, SQLITE_OPEN_READONLY, set_up_reader, error);
}

void
queue_close(struct queue *queue)
{
    if (!queue)
        return;
    delist(queue);
    close_connection(queue);
    g_free(queue->path);
    g_free(queue);
}

/* ---- Transactions */

bool
queue_begin(struct queue *queue, int busy_ms, GError **error)
{
    if (queue->gate)
        guard_lock(queue->gate);
    sqlite3_busy_timeout(queue->db, busy_ms);
    if (queue_run(queue, SQL_BEGIN, NULL, 0))
        return true;
    queue_fail(queue, "writing", error);
    if (queue->gate)
        guard_unlock(queue->gate);
    return false;
}

bool
queue_commit(struct queue *queue, GError **error)
{
    if (!queue_run(queue, SQL_COMMIT, NULL, 0))
        return queue_give_up(queue, "writing", error);
    if (queue->gate)
        guard_unlock(queue->gate);
    return true;
}

void
queue_rollback(struct queue *queue)
{
    queue->boot = 0;
    if (!sqlite3_get_autocommit(queue->db)) /* some errors have rolled back by themselves */
        (void)queue_run(queue, SQL_ROLLBACK, NULL, 0);
    if (queue->gate)
        guard_unlock(queue->gate);
}
