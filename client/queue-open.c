/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Connections to a queue's file: opening them, closing them, and changing over to a fresh file when the one at hand was
 * found damaged - by this process, or by another one, which may do so at any moment between two transactions.
 */
#include <config.h>

#include "client/damaged.h"
#include "client/failure.h"
#include "client/place.h"
#include "client/queue-internal.h"
#include "client/queue-schema.h"
#include "client/relic.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_KIB 512 /* of pages a connection keeps in memory */
/* After this many bytes SQLite moves the journal's content into the file and starts it anew. Small, because a commit
 * that overwrites the journal takes half the time of one that makes it longer. */
#define JOURNAL_BYTES (1600 << 10)
#define JOURNAL_KEPT (4 << 20) /* bytes: what one huge transaction made longer is given back by the next that fits */

/* ---- All connections of the process

 * SQLite's notes on which locks a process holds are the process's, and a fork copies them: a child's own connection to
 * the same file would take no lock at all, and its commits would go where another process, which sees nobody, has taken
 * the journal away. So a child closes what it inherited before it opens anything.
 * (https://sqlite.org/howtocorrupt.html, section 2.6) */

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
    queue->boot = 0;
    queue->looked = false;
    queue_salvage_end(queue);
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

/* ---- Connecting */

static bool
set_pragmas(struct queue *queue, const char *more, GError **error)
{
    g_autofree char *pragmas = g_strdup_printf(
        "PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; %s", CACHE_KIB, more);
    return sqlite3_exec(queue->db, pragmas, NULL, NULL, NULL) == SQLITE_OK || queue_fail(queue, "opening", error);
}

static int
note_journal(void *user, sqlite3 *db, const char *name, int pages)
{
    ((struct queue *)user)->journal_pages = pages;
    return SQLITE_OK;
}

void
queue_tidy_later(struct queue *queue)
{
    queue->tidies = true;
    sqlite3_wal_hook(queue->db, note_journal, queue);
}

/* As many pages as JOURNAL_BYTES; a file keeps the size of its pages from when it was made. */
static void
limit_journal(struct queue *queue)
{
    sqlite3_stmt *statement = NULL;
    int size = PAGES_SIZE_USUAL;
    if (sqlite3_prepare_v2(queue->db, "PRAGMA page_size", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        size = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    queue->journal_max = JOURNAL_BYTES / size;
    sqlite3_wal_autocheckpoint(queue->db, queue->journal_max);
}

static bool
fill(void *queue, GError **error)
{
    return queue_seed(queue, error);
}

static bool
set_up(struct queue *queue, GError **error)
{
    bool outdated = false;
    g_autofree char *pragmas = g_strdup_printf("PRAGMA page_size = %d;" /* of a new file */
                                               "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                               "PRAGMA journal_size_limit = %d; "
                                               "PRAGMA secure_delete = OFF;",
                                               PAGES_SIZE_USUAL, JOURNAL_KEPT);
    if (!queue_schema_check(queue->db, queue->path, &outdated, error) || !set_pragmas(queue, pragmas, error))
        return false;
    limit_journal(queue);
    if (queue->tidies)
        queue_tidy_later(queue);
    struct queue_state state;
    return (!outdated || queue_schema_update(queue->db, queue->path, fill, queue, error)) &&
           queue_read_state(queue, &state, error); /* without counters nothing works */
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

static bool
connect_now(struct queue *queue, GError **error)
{
    struct stat st;
    int flags = queue->reads_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    flags |= SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE;
    int result = sqlite3_open_v2(queue->path, &queue->db, flags, NULL);
    if (!queue->db) {
        failure_set(error, HUBKEY_E_NOMEM, "out of memory");
        return false;
    }
    if (result != SQLITE_OK)
        return queue_fail(queue, "opening", error);
    /* queue_schema_check refuses them; these are for what is put into the file later. */
    sqlite3_db_config(queue->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(queue->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    /* Kept at the end: making them anew takes a disk with room, and reading them a directory that can be written. */
    int persist = 1;
    sqlite3_file_control(queue->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &persist);
    sqlite3_busy_timeout(queue->db, QUEUE_BUSY_MS);
    if (lstat(queue->path, &st) == 0) {
        queue->device = st.st_dev;
        queue->inode = st.st_ino;
    }
    return (queue->reads_only ? set_up_reader : set_up)(queue, error);
}

/* ---- Damage */

/* SQLite would throw the journal of an empty file away. A file that was just made has none. */
static bool
is_cut_off(const struct queue *queue, GError **error)
{
    if (place_size(queue->path, "") != 0 || place_size(queue->path, "-wal") <= 0)
        return false;
    failure_set(error, HUBKEY_E_QUEUE_DAMAGED, "%s is empty, but its journal is not", queue->path);
    return true;
}

/* No other file may be moved away only because somebody named it by mistake. What bears the mark of another program is
 * ours only where our rows are in it; what bears none, also where we have left something beside it. */
static bool
is_ours(const struct queue *queue)
{
    uint8_t page[PAGES_SIZE_MAX];
    struct pages *pages = pages_open(queue->path, NULL);
    if (!pages)
        return false;
    bool named = pages_has_header(pages) && pages_read(pages, 1, page);
    bool ours = (named && pages_u32(page + PAGES_AT_APPLICATION) == QUEUE_APPLICATION_ID) || relic_is_ours(pages) ||
                (!named && (pages_has_log(pages) || place_size(queue->path, ".state") > 0));
    pages_close(pages);
    return ours;
}

static bool
set_aside(struct queue *queue, GError *why, GError **error)
{
    g_autoptr(GError) failed = NULL;
    bool done = damaged_set_aside(queue->path, &failed);
    if (!done) {
        g_propagate_prefixed_error(error, g_steal_pointer(&failed), "%s; ", why->message);
        return false;
    }
    g_free(queue->found);
    queue->found = g_strdup(why->message);
    return true;
}

/* Belongs to whom the one belonged whose place it takes. */
static bool
make_file(const struct queue *queue, GError **error)
{
    unsigned n = damaged_newest_pending(queue->path);
    g_autofree char *model = n ? damaged_pending_path(queue->path, n) : g_strconcat(queue->path, PLACE_LOCK, NULL);
    return place_make_file(queue->path, model, error);
}

/* With lock_setup_begin. */
static bool
connect_safely(struct queue *queue, GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (!damaged_settle(queue->path, error) || !make_file(queue, error))
        return false;
    if (!is_cut_off(queue, &failed) && connect_now(queue, &failed))
        return true;
    close_connection(queue);
    if (!g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED) || !is_ours(queue)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    if (set_aside(queue, failed, error) && make_file(queue, error) && connect_now(queue, error))
        return true;
    close_connection(queue);
    return false;
}

void
queue_setup_begin(struct queue *queue)
{
    if (queue->gate)
        guard_lock(queue->gate);
    if (queue->lock)
        lock_setup_begin(queue->lock);
}

void
queue_setup_end(struct queue *queue)
{
    if (queue->lock)
        lock_setup_end(queue->lock);
    if (queue->gate)
        guard_unlock(queue->gate);
}

/* ---- Changing over */

static bool
is_moved(const struct queue *queue)
{
    struct stat st;
    return !queue->db || lstat(queue->path, &st) != 0 || st.st_dev != queue->device || st.st_ino != queue->inode;
}

/* The gate is held. What is in the journal of a file that was set aside stays there: somebody may be reading it. */
static bool
change_over(struct queue *queue, GError **error)
{
    if (queue->db)
        sqlite3_db_config(queue->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    close_connection(queue);
    queue->changes++;
    return connect_safely(queue, error);
}

bool
queue_is_other(const struct queue *queue)
{
    return queue->changes != queue->settled;
}

void
queue_settle(struct queue *queue)
{
    queue->settled = queue->changes;
}

bool
queue_follow(struct queue *queue, GError **error)
{
    if (queue->reads_only || (queue->db && (!sqlite3_get_autocommit(queue->db) || !is_moved(queue))))
        return true;
    queue_setup_begin(queue);
    bool good = !is_moved(queue) || change_over(queue, error);
    queue_setup_end(queue);
    return good;
}

bool
queue_enter(struct queue *queue, GError **error)
{
    for (;;) {
        if (queue->lock)
            lock_write_begin(queue->lock);
        if (!is_moved(queue))
            return true;
        queue_leave(queue);
        if (queue->lock)
            lock_setup_begin(queue->lock);
        bool good = !is_moved(queue) || change_over(queue, error);
        if (queue->lock)
            lock_setup_end(queue->lock);
        if (!good)
            return false;
    }
}

void
queue_leave(struct queue *queue)
{
    if (queue->lock)
        lock_write_end(queue->lock);
}

void
queue_tidy(struct queue *queue)
{
    if (queue->journal_pages < queue->journal_max)
        return;
    queue->journal_pages = 0;
    if (queue->gate)
        guard_lock(queue->gate);
    if (queue_enter(queue, NULL)) {
        (void)sqlite3_wal_checkpoint_v2(queue->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        queue_leave(queue);
    }
    if (queue->gate)
        guard_unlock(queue->gate);
}

bool
queue_replace(struct queue *queue, const GError *why, GError **error)
{
    g_autoptr(GError) copy = g_error_copy(why);
    if (queue->reads_only) {
        g_propagate_error(error, g_steal_pointer(&copy));
        return false;
    }
    queue_setup_begin(queue);
    bool good = is_moved(queue) || set_aside(queue, copy, error);
    good = good && change_over(queue, error);
    queue_setup_end(queue);
    return good;
}

/* ---- Opening and closing */

static struct queue *
queue_new(const char *path, struct lock *lock, struct guard *gate)
{
    struct queue *queue = g_new0(struct queue, 1);
    queue->path = g_strdup(path);
    queue->lock = lock;
    queue->gate = gate;
    enlist(queue);
    return queue;
}

struct queue *
queue_open(const char *path, struct lock *lock, struct guard *gate, GError **error)
{
    struct queue *queue = queue_new(path, lock, gate);
    queue_setup_begin(queue);
    bool good = connect_safely(queue, error);
    queue_setup_end(queue);
    if (!good)
        g_clear_pointer(&queue, queue_close);
    return queue;
}

struct queue *
queue_open_reader(const char *path, GError **error)
{
    struct queue *queue = queue_new(path, NULL, NULL);
    queue->reads_only = true;
    if (!connect_now(queue, error))
        g_clear_pointer(&queue, queue_close);
    return queue;
}

const char *
queue_path(const struct queue *queue)
{
    return queue->path;
}

char *
queue_take_found(struct queue *queue)
{
    return g_steal_pointer(&queue->found);
}

/* The last to leave moves the journal into the file: not when that is about to be read by another way. */
void
queue_close(struct queue *queue)
{
    if (!queue)
        return;
    delist(queue);
    if (queue->gate)
        guard_lock(queue->gate);
    if (queue->lock)
        lock_write_begin(queue->lock);
    if (queue->db && is_moved(queue))
        sqlite3_db_config(queue->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    close_connection(queue);
    queue_leave(queue);
    if (queue->gate)
        guard_unlock(queue->gate);
    g_free(queue->found);
    g_free(queue->path);
    g_free(queue);
}
