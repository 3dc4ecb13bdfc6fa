/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/queue-schema.h"
#include "client/failure.h"

#include <stdint.h>

void
queue_schema_fail(sqlite3 *db, const char *path, const char *doing, GError **error)
{
    int code = sqlite3_errcode(db);
    int problem = sqlite3_system_errno(db); /* too many open files, say; 0 where it was not the system */
    const char *text = sqlite3_errmsg(db);
    /* Our statements suit our tables: where they do not, it is not the tables we made. */
    if ((code & 0xff) == SQLITE_ERROR && g_str_has_prefix(text, "no such "))
        code = SQLITE_CORRUPT;
    switch (code & 0xff) {
    case SQLITE_FULL:
        failure_set(error, HUBKEY_E_FULL, "the disk is full: %s %s failed; free some space", doing, path);
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        failure_set(error, HUBKEY_E_QUEUE_LOCKED, "other processes kept %s locked for too long: %s failed; try again",
                    path, doing);
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT: /* a number that was given twice */
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                    "%s is damaged or not a queue (%s): %s failed; whoever opens it to post or to send saves what can "
                    "be read of it, as hubkeyctl queue flush SLOT --queue %s does",
                    path, text, doing, path);
        break;
    case SQLITE_NOMEM:
        failure_set(error, HUBKEY_E_NOMEM, "out of memory while %s %s", doing, path);
        break;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
        failure_set(error, HUBKEY_E_QUEUE_OPEN, "%s %s is not possible (%s%s%s); check its owner, mode and disk", doing,
                    path, text, problem ? ": " : "", problem ? g_strerror(problem) : "");
        break;
    default:
        failure_set(error, HUBKEY_E_QUEUE_IO, "%s %s failed (%s); check the disk", doing, path, text);
    }
}

static int
read_number(sqlite3 *db, const char *pragma, int64_t *value)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(db, pragma, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
        *value = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    }
    sqlite3_finalize(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

/* waiting: messages still to be sent, in the order of seq. dead: refused by the hub for good. gone: ranges of numbers
 * that left undelivered and are no more in the file. state: one row, changed in the transaction of every change of the
 * others, so that accepted = delivered + waiting + dead + dropped + removed at any moment, and nothing is ever counted.
 * claimed: messages up to here may be in a request now; may_drop: somebody posts with drop-oldest. */
static const char *
step_1(void)
{
    return "CREATE TABLE waiting (seq INTEGER PRIMARY KEY, created INTEGER NOT NULL, counted INTEGER NOT NULL,"
           "                      properties TEXT NOT NULL, body BLOB NOT NULL);"
           "CREATE TABLE dead (seq INTEGER PRIMARY KEY, created INTEGER NOT NULL, counted INTEGER NOT NULL,"
           "                   properties TEXT NOT NULL, body BLOB NOT NULL, buried INTEGER NOT NULL,"
           "                   status INTEGER NOT NULL, reason TEXT NOT NULL);"
           "CREATE TABLE gone (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, how INTEGER NOT NULL);"
           "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), last_seq INTEGER NOT NULL DEFAULT 0,"
           "                    accepted INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,"
           "                    waiting INTEGER NOT NULL DEFAULT 0, waiting_bytes INTEGER NOT NULL DEFAULT 0,"
           "                    dead INTEGER NOT NULL DEFAULT 0, dropped INTEGER NOT NULL DEFAULT 0,"
           "                    removed INTEGER NOT NULL DEFAULT 0, claimed INTEGER NOT NULL DEFAULT 0,"
           "                    may_drop INTEGER NOT NULL DEFAULT 0,"
           "                    host TEXT, device TEXT, module TEXT);"
           "INSERT INTO state (one) VALUES (1);";
}

/* expiry: when messages that have an end are not worth sending any more: due on CLOCK_BOOTTIME of the boot (ms), wall
 * by wall time (ms; NULL where the clock could not be right when the message was posted), ttl seconds in all. boot:
 * boots of this machine in their order. expired: how many of the dropped ones had come to their end. */
static const char *
step_2(void)
{
    return "CREATE TABLE boot (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);"
           "CREATE TABLE expiry (seq INTEGER PRIMARY KEY, boot INTEGER NOT NULL, due INTEGER NOT NULL, wall INTEGER,"
           "                     ttl INTEGER NOT NULL);"
           "CREATE INDEX expiry_due ON expiry (boot, due);"
           "ALTER TABLE state ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;";
}

/* crc: row_crc of a message; NULL in rows that an earlier libhubkey wrote. */
static const char *
step_3(void)
{
    return "ALTER TABLE waiting ADD COLUMN crc INTEGER;"
           "ALTER TABLE dead ADD COLUMN crc INTEGER;";
}

/* lost: how many of the dropped ones a damaged file took with it. salvage: one row, of the carrying over from such a
 * file into this one, queue-salvage.c. */
static const char *
step_4(void)
{
    return "ALTER TABLE state ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;"
           "CREATE TABLE salvage (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL DEFAULT 0,"
           "                      done INTEGER NOT NULL DEFAULT 0, page INTEGER NOT NULL DEFAULT 0,"
           "                      base INTEGER NOT NULL DEFAULT 0, known INTEGER NOT NULL DEFAULT 0,"
           "                      left_waiting INTEGER NOT NULL DEFAULT 0, left_bytes INTEGER NOT NULL DEFAULT 0,"
           "                      left_dead INTEGER NOT NULL DEFAULT 0, carried INTEGER NOT NULL DEFAULT 0);"
           "INSERT INTO salvage (one) VALUES (1);";
}

/* owner: host, device and module once more, on a page of their own: whose the messages are must not be lost with the
 * counters. */
static const char *
step_5(void)
{
    return "CREATE TABLE owner (one INTEGER PRIMARY KEY CHECK (one = 1), host TEXT, device TEXT, module TEXT);"
           "INSERT INTO owner SELECT one, host, device, module FROM state;";
}

static const char *(*const steps[])(void) = { step_1, step_2, step_3, step_4, step_5 };

int
queue_schema_newest(void)
{
    return G_N_ELEMENTS(steps);
}

/* A file as it says it is. */
struct form {
    int64_t version, application;
    int64_t objects, foreign; /* foreign: neither tables with rows of their own nor indices */
};

/* As of one moment: another process may be setting the file up right now. */
static bool
read_form(sqlite3 *db, struct form *form)
{
    bool good = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
                read_number(db, "SELECT count(*) FROM sqlite_master", &form->objects) == SQLITE_OK &&
                read_number(db,
                            "SELECT count(*) FROM sqlite_master"
                            " WHERE type NOT IN ('table', 'index') OR coalesce(rootpage, 0) = 0",
                            &form->foreign) == SQLITE_OK &&
                read_number(db, "PRAGMA user_version", &form->version) == SQLITE_OK &&
                read_number(db, "PRAGMA application_id", &form->application) == SQLITE_OK;
    return good && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

bool
queue_schema_check(sqlite3 *db, const char *path, bool *outdated, GError **error)
{
    struct form form = { 0 };
    if (!read_form(db, &form)) {
        queue_schema_fail(db, path, "reading", error);
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    if (form.objects > 0 && form.application != QUEUE_APPLICATION_ID) {
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                    "%s is a database of another program, not a queue; name another file", path);
        return false;
    }
    if (form.version > queue_schema_newest()) {
        failure_set(error, HUBKEY_E_QUEUE_NEWER,
                    "%s was written by a newer libhubkey (its form is %d, this one knows %d); install that one", path,
                    (int)form.version, queue_schema_newest());
        return false;
    }
    if (form.foreign > 0) { /* what they do is done by whoever reads or writes, root perhaps */
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                    "%s has views or triggers, which no queue has: somebody has put them there; whoever opens it to "
                    "post or to send saves its messages without them, as hubkeyctl queue flush SLOT --queue %s does",
                    path, path);
        return false;
    }
    *outdated = form.version < queue_schema_newest();
    return true;
}

static bool
run_step(sqlite3 *db, int number)
{
    g_autofree char *sql = g_strdup_printf("%s PRAGMA application_id = %d; PRAGMA user_version = %d;",
                                           steps[number - 1](), QUEUE_APPLICATION_ID, number);
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

bool
queue_schema_update(sqlite3 *db, const char *path, queue_schema_fill_fn fill, void *user, GError **error)
{
    int64_t version = 0;
    g_autoptr(GError) failed = NULL;
    /* The version counts only once the lock is held: whoever waited for it may find that all is done. */
    bool good = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
                read_number(db, "PRAGMA user_version", &version) == SQLITE_OK;
    for (int number = (int)version + 1; good && number <= queue_schema_newest(); number++)
        good = run_step(db, number);
    good = good && (version > 0 || fill(user, &failed)) && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (good)
        return true;
    if (failed)
        g_propagate_error(error, g_steal_pointer(&failed));
    else
        queue_schema_fail(db, path, "setting up", error);
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}
