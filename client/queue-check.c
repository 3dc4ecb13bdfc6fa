/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Whether a queue is whole: SQLite's own look at its pages, the counters against the rows, and every row.
 */
#include <config.h>

#include "client/failure.h"
#include "client/opened.h"
#include "client/queue-internal.h"
#include "client/stored.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define FAULTS_MAX 20        /* of SQLite's, told one by one */
#define LOOK_MAX (16 << 20) /* bytes: what is looked through while messages wait for it */

struct check {
    struct queue *queue;
    hubkey_log_fn log;
    void *user;
    int found;
};

static void
find(struct check *check, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
find(struct check *check, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    check->found++;
    if (check->log)
        check->log(HUBKEY_LOG_ERROR, text, check->user);
}

/* What damage keeps from being read is what is looked for; anything else keeps the answer from being known. */
static bool
find_damage(struct check *check, GError *problem, GError **error)
{
    if (!problem)
        return true;
    if (!g_error_matches(problem, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED)) {
        g_propagate_error(error, problem);
        return false;
    }
    find(check, "%s", problem->message);
    g_error_free(problem);
    return true;
}

static bool
check_pages(struct check *check, GError **error)
{
    GError *problem = NULL;
    sqlite3_stmt *statement = NULL;
    g_autofree char *sql = g_strdup_printf("PRAGMA quick_check(%d)", FAULTS_MAX);
    int result = sqlite3_prepare_v2(check->queue->db, sql, -1, &statement, NULL);
    while (result == SQLITE_OK || result == SQLITE_ROW) {
        result = sqlite3_step(statement);
        const char *text = result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
        if (text && strcmp(text, "ok") != 0)
            find(check, "the file is damaged: %s", text);
    }
    if (result != SQLITE_DONE)
        queue_fail(check->queue, "checking", &problem);
    sqlite3_finalize(statement);
    return find_damage(check, problem, error);
}

/* ---- Before it is used */

static void
keep_first(int32_t level, const char *text, void *user)
{
    char **first = user;
    if (!*first)
        *first = g_strdup(text);
}

bool
queue_look_through(struct queue *queue, GError **error)
{
    struct stat st;
    g_autofree char *first = NULL;
    struct check check = { .queue = queue, .log = keep_first, .user = &first };
    if (stat(queue->path, &st) != 0 || st.st_size > LOOK_MAX)
        return true;
    if (!check_pages(&check, error))
        return false;
    if (check.found > 0)
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED, "%s was not closed properly, and %s", queue->path, first);
    return check.found == 0;
}

/* ---- When somebody asks */

static void
compare(struct check *check, const char *what, uint64_t counted, uint64_t there)
{
    if (counted != there)
        find(check, "the counter of %s is %" PRIu64 ", but there are %" PRIu64, what, counted, there);
}

static void
compare_all(struct check *check, const struct hubkey_counts *counts, const struct queue_sums *sums)
{
    uint64_t left = counts->delivered + counts->waiting + counts->dead + counts->dropped + counts->removed;
    compare(check, "waiting messages", counts->waiting, sums->waiting);
    compare(check, "waiting bytes", counts->waiting_bytes, sums->waiting_bytes);
    compare(check, "dead messages", counts->dead, sums->dead);
    if (counts->accepted != left)
        find(check,
             "%" PRIu64 " messages were accepted, but delivered, waiting, dead, dropped and removed ones are %" PRIu64,
             counts->accepted, left);
    if (sums->orphans > 0)
        find(check, "%" PRIu64 " of the ends of messages are of none that waits", sums->orphans);
    if (sums->newest > counts->last_seq)
        find(check, "message %" PRIu64 " is there, but the last number given was %" PRIu64, sums->newest,
             counts->last_seq);
}

/* Both sides as they are at one moment, whoever writes meanwhile. */
static bool
check_counters(struct check *check, GError **error)
{
    struct queue_state state;
    struct queue_sums sums;
    GError *problem = NULL;
    if (queue_sum(check->queue, &state, &sums, &problem))
        compare_all(check, &state.counts, &sums);
    return find_damage(check, problem, error);
}

/* Messages in a file that was set aside are none that anybody could read here. */
static bool
check_salvage(struct check *check, GError **error)
{
    GError *problem = NULL;
    unsigned n = 0;
    if (queue_salvage_pending(check->queue, &n, &problem) && n)
        queue_salvage_fail(check->queue, n, &problem);
    return find_damage(check, problem, error);
}

/* One message; its number in *above. False: there are no more, or they cannot be read. */
static bool
check_row(struct check *check, uint64_t *above, GError **error)
{
    struct queue_row row;
    struct stored stored;
    GError *problem = NULL;
    int found = queue_scan_next(check->queue, &row, &problem);
    if (found == 1) {
        if (!stored_read(&stored, &row, &problem))
            find(check, "%s", problem->message);
        stored_clear(&stored);
        g_clear_error(&problem);
    } else if (!find_damage(check, problem, error)) {
        return false;
    }
    *above = row.seq;
    return row.seq != 0;
}

/* Only the number of the last row is kept from one page of rows to the next. */
static bool
check_rows(struct check *check, void (*scan)(struct queue *, uint64_t), GError **error)
{
    enum { PAGE = 500 };
    uint64_t above = 0;
    bool more = true;
    g_autoptr(GError) problem = NULL;
    while (more) {
        scan(check->queue, above);
        for (int i = 0; i < PAGE && more; i++)
            more = check_row(check, &above, &problem);
        queue_scan_end(check->queue);
    }
    if (!problem)
        return true;
    g_propagate_error(error, g_steal_pointer(&problem));
    return false;
}

int
hubkey_queue_check(const char *path, hubkey_log_fn log, void *user, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct opened opened;
    struct check check = { .log = log, .user = user };
    if (opened_open(&opened, path, 0, &problem)) {
        check.queue = opened.queue;
        (void)(check_pages(&check, &problem) && check_salvage(&check, &problem) && check_counters(&check, &problem) &&
               check_rows(&check, queue_scan, &problem) && check_rows(&check, queue_scan_dead, &problem));
    }
    opened_close(&opened);
    int result = failure_export(problem, 0, error);
    return result ? result : check.found;
}
