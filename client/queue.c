/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/queue.h"
#include "client/failure.h"
#include "client/queue-schema.h"
#include "common/clock.h"

#include <string.h>

#define BUSY_MS 5000
/* Ranges remembered. The oldest are forgotten; queue_fate then takes their messages for delivered. */
#define GONE_MAX 4096
#define CACHE_KIB 512 /* of pages a connection keeps in memory */
/* After this many pages SQLite moves the journal's content into the file and starts it anew. Small, because a commit
 * that overwrites the journal takes half the time of one that makes it longer. */
#define JOURNAL_PAGES 400

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    GET_STATE,
    SAVE_STATE,
    GET_IDENTITY,
    SET_IDENTITY,
    SET_CLAIM,
    SET_MAY_DROP,
    INSERT,
    SCAN,
    SUM_RANGE,
    DELETE_RANGE,
    OLDEST,
    BURY,
    SUM_ALL,
    DELETE_ALL,
    COUNT_DEAD,
    DELETE_DEAD,
    EXTEND_GONE,
    ADD_GONE,
    ADD_GONE_RUNS,
    TRIM_GONE,
    GONE_ALL,
    IS_WAITING,
    IS_DEAD,
    HOW_GONE,
    FIRST_WAITING,
    VERSION_OF_DATA,
    STATEMENTS
};

static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [GET_STATE] =
        "SELECT last_seq, accepted, delivered, waiting, waiting_bytes, dead, dropped, removed, claimed, may_drop,"
        " host IS NOT NULL FROM state",
    [SAVE_STATE] = "UPDATE state SET last_seq = ?1, accepted = ?2, delivered = ?3, waiting = ?4, waiting_bytes = ?5,"
                   " dead = ?6, dropped = ?7, removed = ?8, claimed = ?9",
    [GET_IDENTITY] = "SELECT host, device, module FROM state WHERE host IS NOT NULL",
    [SET_IDENTITY] = "UPDATE state SET host = ?1, device = ?2, module = ?3",
    [SET_CLAIM] = "UPDATE state SET claimed = ?1",
    [SET_MAY_DROP] = "UPDATE state SET may_drop = 1",
    [INSERT] = "INSERT INTO waiting (seq, created, counted, properties, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    [SCAN] = "SELECT seq, created, counted, properties, body FROM waiting WHERE seq > ?1 ORDER BY seq",
    [SUM_RANGE] = "SELECT count(*), total(counted) FROM waiting WHERE seq BETWEEN ?1 AND ?2",
    [DELETE_RANGE] = "DELETE FROM waiting WHERE seq BETWEEN ?1 AND ?2",
    [OLDEST] = "SELECT seq, counted FROM waiting WHERE seq > ?1 ORDER BY seq",
    [BURY] = "INSERT INTO dead (seq, created, counted, properties, body, buried, status, reason)"
             " SELECT seq, created, counted, properties, body, ?2, ?3, ?4 FROM waiting WHERE seq = ?1",
    [SUM_ALL] = "SELECT waiting, (SELECT min(seq) FROM waiting), (SELECT max(seq) FROM waiting) FROM state",
    [DELETE_ALL] = "DELETE FROM waiting",
    [COUNT_DEAD] = "SELECT count(*) FROM dead",
    [DELETE_DEAD] = "DELETE FROM dead",
    [EXTEND_GONE] = "UPDATE gone SET last = ?2 WHERE last = ?1 - 1 AND how = ?3",
    [ADD_GONE] = "INSERT OR REPLACE INTO gone (first, last, how) VALUES (?1, ?2, ?3)",
    /* Numbers that follow each other have the same difference to their rank. */
    [ADD_GONE_RUNS] =
        "INSERT OR REPLACE INTO gone (first, last, how) SELECT min(seq), max(seq), ?3 FROM"
        " (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM waiting WHERE seq BETWEEN ?1 AND ?2)"
        " GROUP BY run",
    [TRIM_GONE] = "DELETE FROM gone WHERE first <= (SELECT first FROM gone ORDER BY first DESC LIMIT 1 OFFSET ?1)",
    [GONE_ALL] = "INSERT OR REPLACE INTO gone (first, last, how) SELECT seq, seq, ?1 FROM dead",
    [IS_WAITING] = "SELECT 1 FROM waiting WHERE seq = ?1",
    [IS_DEAD] = "SELECT 1 FROM dead WHERE seq = ?1",
    [HOW_GONE] = "SELECT how FROM gone WHERE first <= ?1 AND last >= ?1 ORDER BY first DESC LIMIT 1",
    [FIRST_WAITING] = "SELECT seq FROM waiting ORDER BY seq LIMIT 1",
    [VERSION_OF_DATA] = "PRAGMA data_version",
};

struct queue {
    sqlite3 *db;
    char *path;
    struct guard *gate;
    sqlite3_stmt *statements[STATEMENTS];
};

static bool
fail(struct queue *queue, const char *doing, GError **error)
{
    queue_schema_fail(queue->db, queue->path, doing, error);
    return false;
}

/* The prepared statement with its whole numbers bound; NULL where SQLite refuses. Made on first use, kept until close.
 */
static sqlite3_stmt *
ready(struct queue *queue, enum statement which)
{
    sqlite3_stmt **statement = &queue->statements[which];
    if (!*statement &&
        sqlite3_prepare_v3(queue->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) != SQLITE_OK)
        return NULL;
    return *statement;
}

/* Runs a statement that yields no row, with n numbers. */
static bool
run(struct queue *queue, enum statement which, const uint64_t *numbers, int n)
{
    sqlite3_stmt *statement = ready(queue, which);
    if (!statement)
        return false;
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(statement, i + 1, (sqlite3_int64)numbers[i]);
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    return done;
}

#define RUN(queue, which, ...)                                                                                         \
    run((queue), (which), (const uint64_t[]){ __VA_ARGS__ },                                                           \
        sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* Runs a statement with up to two numbers and takes up to n numbers of its first row. 1 a row, 0 none, -1 an error. */
static int
ask(struct queue *queue, enum statement which, uint64_t a, uint64_t b, uint64_t *numbers, int n)
{
    sqlite3_stmt *statement = ready(queue, which);
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
static bool
give_up(struct queue *queue, const char *doing, GError **error)
{
    fail(queue, doing, error);
    queue_rollback(queue);
    return false;
}

static bool
set_up(struct queue *queue, GError **error)
{
    bool outdated = false;
    g_autofree char *pragmas = g_strdup_printf(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -%d;"
        "PRAGMA wal_autocheckpoint = %d;"
        "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA secure_delete = OFF;",
        CACHE_KIB, JOURNAL_PAGES);
    if (!queue_schema_check(queue->db, queue->path, &outdated, error))
        return false;
    if (sqlite3_exec(queue->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return fail(queue, "opening", error);
    return !outdated || queue_schema_update(queue->db, queue->path, error);
}

struct queue *
queue_open(const char *path, struct guard *gate, GError **error)
{
    struct queue *queue = g_new0(struct queue, 1);
    queue->path = g_strdup(path);
    queue->gate = gate;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(path, &queue->db, flags, NULL) != SQLITE_OK) {
        if (queue->db)
            fail(queue, "opening", error);
        else
            failure_set(error, HUBKEY_E_NOMEM, "out of memory");
        queue_close(queue);
        return NULL;
    }
    sqlite3_busy_timeout(queue->db, BUSY_MS);
    if (!set_up(queue, error)) {
        queue_close(queue);
        return NULL;
    }
    return queue;
}

void
queue_close(struct queue *queue)
{
    if (!queue)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(queue->statements[i]);
    sqlite3_close(queue->db);
    g_free(queue->path);
    g_free(queue);
}

bool
queue_get_state(struct queue *queue, struct queue_state *state, GError **error)
{
    uint64_t n[11];
    if (ask(queue, GET_STATE, 0, 0, n, G_N_ELEMENTS(n)) != 1)
        return fail(queue, "reading", error);
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
    };
    return true;
}

struct identity *
queue_get_identity(struct queue *queue, GError **error)
{
    sqlite3_stmt *statement = ready(queue, GET_IDENTITY);
    int result = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    struct identity *identity = NULL;
    if (result == SQLITE_ROW) {
        identity = identity_new();
        identity->host = g_strdup((const char *)sqlite3_column_text(statement, 0));
        identity->device = g_strdup((const char *)sqlite3_column_text(statement, 1));
        identity->module = g_strdup((const char *)sqlite3_column_text(statement, 2));
    } else if (result != SQLITE_DONE) {
        fail(queue, "reading", error);
    }
    sqlite3_reset(statement);
    return identity;
}

/* ---- Transactions */

bool
queue_begin(struct queue *queue, int busy_ms, GError **error)
{
    if (queue->gate)
        guard_lock(queue->gate);
    sqlite3_busy_timeout(queue->db, MAX(busy_ms, BUSY_MS));
    if (run(queue, BEGIN, NULL, 0))
        return true;
    fail(queue, "writing", error);
    if (queue->gate)
        guard_unlock(queue->gate);
    return false;
}

bool
queue_commit(struct queue *queue, GError **error)
{
    if (!run(queue, COMMIT, NULL, 0))
        return give_up(queue, "writing", error);
    if (queue->gate)
        guard_unlock(queue->gate);
    return true;
}

void
queue_rollback(struct queue *queue)
{
    if (!sqlite3_get_autocommit(queue->db)) /* some errors have rolled back by themselves */
        (void)run(queue, ROLLBACK, NULL, 0);
    if (queue->gate)
        guard_unlock(queue->gate);
}

bool
queue_insert(struct queue *queue, uint64_t seq, const struct message *message, GError **error)
{
    sqlite3_stmt *statement = ready(queue, INSERT);
    if (!statement)
        return fail(queue, "adding messages to", error);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)seq);
    sqlite3_bind_int64(statement, 2, message->created_ms);
    sqlite3_bind_int64(statement, 3, message->counted);
    sqlite3_bind_text(statement, 4, message->properties, (int)message->properties_len, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 5, message->len ? message->body : "", (int)message->len, SQLITE_STATIC);
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done || fail(queue, "adding messages to", error);
}

bool
queue_save_state(struct queue *queue, const struct queue_state *state, GError **error)
{
    const struct hubkey_counts *counts = &state->counts;
    return RUN(queue, SAVE_STATE, counts->last_seq, counts->accepted, counts->delivered, counts->waiting,
               counts->waiting_bytes, counts->dead, counts->dropped, counts->removed, state->claimed) ||
           fail(queue, "writing", error);
}

bool
queue_set_identity(struct queue *queue, const struct identity *identity, GError **error)
{
    sqlite3_stmt *statement = ready(queue, SET_IDENTITY);
    if (!statement)
        return fail(queue, "writing", error);
    sqlite3_bind_text(statement, 1, identity ? identity->host : NULL, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, identity ? identity->device : NULL, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, identity ? identity->module : NULL, -1, SQLITE_STATIC);
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done || fail(queue, "writing", error);
}

/* Remembers how the n messages between first and last are about to leave; joined to its neighbour where it can be, so
 * that dropping a million one by one is one range. */
static bool
note_gone(struct queue *queue, uint64_t first, uint64_t last, uint64_t n, int how)
{
    if (last - first + 1 != n) /* something between them left before, another way */
        return RUN(queue, ADD_GONE_RUNS, first, last, (uint64_t)how) && RUN(queue, TRIM_GONE, GONE_MAX);
    if (!RUN(queue, EXTEND_GONE, first, last, (uint64_t)how))
        return false;
    if (sqlite3_changes(queue->db) > 0)
        return true;
    return RUN(queue, ADD_GONE, first, last, (uint64_t)how) && RUN(queue, TRIM_GONE, GONE_MAX);
}

bool
queue_drop_oldest(struct queue *queue, struct queue_state *state, uint64_t above, uint64_t n, uint64_t bytes,
                  uint64_t *first, uint64_t *last, GError **error)
{
    uint64_t found = 0, found_bytes = 0;
    sqlite3_stmt *statement = ready(queue, OLDEST);
    int result = statement ? SQLITE_ROW : SQLITE_ERROR;
    *first = *last = 0;
    if (statement)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)above);
    while (result == SQLITE_ROW && (found < n || found_bytes < bytes)) {
        result = sqlite3_step(statement);
        if (result == SQLITE_ROW) {
            *last = (uint64_t)sqlite3_column_int64(statement, 0);
            *first = *first ? *first : *last;
            found_bytes += (uint64_t)sqlite3_column_int64(statement, 1);
            found++;
        }
    }
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        fail(queue, "reading", error);
    sqlite3_reset(statement);
    if (found < n || found_bytes < bytes || found == 0)
        return false;
    if (!note_gone(queue, *first, *last, found, HUBKEY_GONE_DROPPED) || !RUN(queue, DELETE_RANGE, *first, *last))
        return fail(queue, "dropping messages of", error);
    state->counts.waiting -= found;
    state->counts.waiting_bytes -= found_bytes;
    state->counts.dropped += found;
    return true;
}

/* ---- Whole operations */

/* Takes a range out of waiting and of the counters of waiting. */
static bool
take_out(struct queue *queue, struct queue_state *state, uint64_t first, uint64_t last, uint64_t *n)
{
    uint64_t sums[2];
    if (ask(queue, SUM_RANGE, first, last, sums, 2) != 1 || !RUN(queue, DELETE_RANGE, first, last))
        return false;
    state->counts.waiting -= sums[0];
    state->counts.waiting_bytes -= sums[1];
    *n = sums[0];
    return true;
}

bool
queue_delivered(struct queue *queue, uint64_t first, uint64_t last, GError **error)
{
    struct queue_state state;
    uint64_t n;
    if (!queue_begin(queue, 0, error))
        return false;
    if (!queue_get_state(queue, &state, error)) {
        queue_rollback(queue);
        return false;
    }
    if (!take_out(queue, &state, first, last, &n))
        return give_up(queue, "taking delivered messages out of", error);
    state.counts.delivered += n;
    state.claimed = 0;
    if (!queue_save_state(queue, &state, error)) {
        queue_rollback(queue);
        return false;
    }
    return queue_commit(queue, error);
}

bool
queue_claim(struct queue *queue, uint64_t first, uint64_t through, uint64_t n, bool *still, GError **error)
{
    uint64_t sums[2];
    if (!queue_begin(queue, 0, error))
        return false;
    if (ask(queue, SUM_RANGE, first, through, sums, 2) != 1 || !RUN(queue, SET_CLAIM, through))
        return give_up(queue, "writing", error);
    *still = sums[0] == n;
    return queue_commit(queue, error);
}

static bool
bury(struct queue *queue, uint64_t seq, int status, const char *reason)
{
    sqlite3_stmt *statement = ready(queue, BURY);
    if (!statement)
        return false;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)seq);
    sqlite3_bind_int64(statement, 2, clock_wall_us() / 1000);
    sqlite3_bind_int(statement, 3, status);
    sqlite3_bind_text(statement, 4, reason, -1, SQLITE_STATIC);
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done;
}

bool
queue_bury(struct queue *queue, uint64_t seq, int status, const char *reason, GError **error)
{
    struct queue_state state;
    uint64_t n;
    if (!queue_begin(queue, 0, error))
        return false;
    if (!queue_get_state(queue, &state, error)) {
        queue_rollback(queue);
        return false;
    }
    if (!bury(queue, seq, status, reason) || !take_out(queue, &state, seq, seq, &n))
        return give_up(queue, "setting a refused message of", error);
    state.counts.dead += n;
    if (!queue_save_state(queue, &state, error)) {
        queue_rollback(queue);
        return false;
    }
    return queue_commit(queue, error);
}

static bool
remove_waiting(struct queue *queue, struct queue_state *state, uint64_t *n)
{
    uint64_t range[3];
    if (ask(queue, SUM_ALL, 0, 0, range, 3) != 1)
        return false;
    if (range[0] == 0)
        return true;
    if (!note_gone(queue, range[1], range[2], range[0], HUBKEY_GONE_REMOVED) || !run(queue, DELETE_ALL, NULL, 0))
        return false;
    *n += range[0];
    state->counts.removed += range[0];
    state->counts.waiting = state->counts.waiting_bytes = 0;
    return true;
}

static bool
remove_dead(struct queue *queue, struct queue_state *state, uint64_t *n)
{
    uint64_t dead;
    if (ask(queue, COUNT_DEAD, 0, 0, &dead, 1) != 1 || !RUN(queue, GONE_ALL, HUBKEY_GONE_REMOVED) ||
        !RUN(queue, TRIM_GONE, GONE_MAX) || !run(queue, DELETE_DEAD, NULL, 0))
        return false;
    *n += dead;
    state->counts.removed += dead;
    state->counts.dead -= dead;
    return true;
}

bool
queue_remove(struct queue *queue, uint32_t which, uint64_t *n, GError **error)
{
    struct queue_state state;
    *n = 0;
    if (!queue_begin(queue, 0, error))
        return false;
    if (!queue_get_state(queue, &state, error)) {
        queue_rollback(queue);
        return false;
    }
    if (((which & HUBKEY_DROP_WAITING) && !remove_waiting(queue, &state, n)) ||
        ((which & HUBKEY_DROP_DEAD) && !remove_dead(queue, &state, n)))
        return give_up(queue, "removing messages of", error);
    if (((which & HUBKEY_DROP_WAITING) && !queue_set_identity(queue, NULL, error)) ||
        !queue_save_state(queue, &state, error)) {
        queue_rollback(queue);
        return false;
    }
    return queue_commit(queue, error);
}

bool
queue_record_identity(struct queue *queue, const struct identity *identity, bool force, GError **error)
{
    struct queue_state state;
    if (!queue_begin(queue, 0, error))
        return false;
    bool good = queue_get_state(queue, &state, error) &&
                ((!force && (state.bound || state.counts.accepted == 0)) || queue_set_identity(queue, identity, error));
    if (!good) {
        queue_rollback(queue);
        return false;
    }
    return queue_commit(queue, error);
}

bool
queue_allow_drops(struct queue *queue, GError **error)
{
    struct queue_state state;
    if (!queue_get_state(queue, &state, error))
        return false;
    if (state.may_drop)
        return true;
    if (!queue_begin(queue, 0, error))
        return false;
    if (!run(queue, SET_MAY_DROP, NULL, 0))
        return give_up(queue, "writing", error);
    return queue_commit(queue, error);
}

/* ---- Reading */

void
queue_scan(struct queue *queue, uint64_t above)
{
    sqlite3_stmt *statement = ready(queue, SCAN);
    if (statement)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)above);
}

int
queue_scan_next(struct queue *queue, struct queue_row *row, GError **error)
{
    sqlite3_stmt *statement = queue->statements[SCAN];
    int result = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    if (result == SQLITE_DONE)
        return 0;
    if (result != SQLITE_ROW) {
        fail(queue, "reading", error);
        return -1;
    }
    *row = (struct queue_row){
        .seq = (uint64_t)sqlite3_column_int64(statement, 0),
        .created_ms = sqlite3_column_int64(statement, 1),
        .counted = (uint32_t)sqlite3_column_int64(statement, 2),
        .properties = (const char *)sqlite3_column_text(statement, 3),
        .properties_len = (size_t)sqlite3_column_bytes(statement, 3),
        .body = sqlite3_column_blob(statement, 4),
        .len = (size_t)sqlite3_column_bytes(statement, 4),
    };
    return 1;
}

void
queue_scan_end(struct queue *queue)
{
    sqlite3_reset(queue->statements[SCAN]);
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
    int waits = ask(queue, IS_WAITING, seq, 0, &how, 1);
    int dead = waits == 0 ? ask(queue, IS_DEAD, seq, 0, &how, 1) : 0;
    int gone = waits == 0 && dead == 0 ? ask(queue, HOW_GONE, seq, 0, &how, 1) : 0;
    if (waits < 0 || dead < 0 || gone < 0) {
        fail(queue, "reading", error);
        return -2;
    }
    if (waits)
        return 0;
    return dead ? HUBKEY_GONE_DEAD : gone ? (int)how : HUBKEY_GONE_DELIVERED;
}

int
queue_waits_up_to(struct queue *queue, uint64_t seq, GError **error)
{
    uint64_t first;
    int found = ask(queue, FIRST_WAITING, 0, 0, &first, 1);
    if (found < 0)
        fail(queue, "reading", error);
    return found == 1 ? first <= seq : found;
}

uint64_t
queue_version(struct queue *queue)
{
    uint64_t version = 0;
    (void)ask(queue, VERSION_OF_DATA, 0, 0, &version, 1);
    return version;
}
