/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Messages of a queue without a client: looking at them, putting dead ones back, taking in those of another queue.
 */
#include <config.h>

#include "client/commit.h"
#include "client/failure.h"
#include "client/opened.h"
#include "client/stored.h"
#include "common/clock.h"

#include <string.h>

/* What is read at a time. The reader's transaction ends before anybody is called, so that a slow one does not keep the
 * journal from being emptied. */
#define PAGE_ROWS 500
#define PAGE_BYTES (1 << 20)

#define REQUEUE_ROWS 500 /* moved in one transaction */
#define IMPORT_FREE_BYTES (UINT64_C(64) << 20)
#define IMPORT_WAIT_US (30 * G_USEC_PER_SEC) /* for the writes of other processes */

/* ---- Looking */

static void
free_row(gpointer data)
{
    struct queue_row *row = data;
    g_free((char *)row->properties);
    g_free((void *)row->body);
    g_free((char *)row->reason);
    g_free(row);
}

static struct queue_row *
copy_row(const struct queue_row *from)
{
    struct queue_row *row = g_new(struct queue_row, 1);
    *row = *from;
    row->properties = g_strndup(from->properties, from->properties_len);
    row->body = g_memdup2(from->body, from->len);
    row->reason = g_strdup(from->reason);
    return row;
}

/* A walk over a queue. */
struct walk {
    struct queue *queue;
    uint32_t which;
    uint64_t above;   /* the last number looked at */
    unsigned pending; /* FILE.salvage-N, which has others */
    uint64_t damaged; /* messages left out, because they are not what was stored */
    GError *damage;   /* of the first */
    hubkey_row_fn fn;
    void *user;
};

/* Takes the error. False: it is none that the walk can go on behind. */
static bool
leave_out(struct walk *walk, uint64_t seq, GError *failed, GError **error)
{
    if (seq == 0 || !g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED)) {
        g_propagate_error(error, failed);
        return false;
    }
    walk->above = seq;
    walk->damaged++;
    if (walk->damage)
        g_error_free(failed);
    else
        walk->damage = failed;
    return true;
}

/* The next rows; NULL with error. */
static GPtrArray *
read_page(struct walk *walk, uint64_t limit, GError **error)
{
    GPtrArray *page = g_ptr_array_new_with_free_func(free_row);
    struct queue_row row;
    size_t bytes = 0;
    bool good = true;
    (walk->which == HUBKEY_ROWS_DEAD ? queue_scan_dead : queue_scan)(walk->queue, walk->above);
    while (good && page->len < MIN(limit, PAGE_ROWS) && bytes < PAGE_BYTES) {
        GError *failed = NULL;
        int found = queue_scan_next(walk->queue, &row, &failed);
        if (found == 0)
            break;
        if (found < 0) {
            good = leave_out(walk, row.seq, failed, error);
            continue;
        }
        walk->above = row.seq;
        row.expires_ms = 0;
        good = walk->which == HUBKEY_ROWS_DEAD || queue_expires(walk->queue, row.seq, &row.expires_ms, error);
        g_ptr_array_add(page, copy_row(&row));
        bytes += row.len + row.properties_len;
    }
    queue_scan_end(walk->queue);
    if (good)
        return page;
    g_ptr_array_unref(page);
    return NULL;
}

/* Whole seconds, so that nothing ends too early. */
static uint64_t
seconds_left(int64_t expires_ms)
{
    int64_t left_ms = expires_ms - clock_wall_us() / 1000;
    return expires_ms ? (uint64_t)CLAMP(left_ms / 1000 + (left_ms % 1000 > 0), 1, (int64_t)HUBKEY_TTL_MAX_S) : 0;
}

/* Calls fn; whether it wants more. */
static bool
show_row(struct walk *walk, const struct queue_row *row)
{
    struct stored stored;
    GError *failed = NULL;
    bool more = true;
    if (stored_read(&stored, row, &failed)) {
        struct hubkey_queue_row shown = {
            .size = sizeof shown,
            .status = row->status,
            .seq = row->seq,
            .buried_ms = row->buried_ms,
            .counted = row->counted,
            .message = &stored.message,
            .reason = row->reason ? row->reason : "",
            .expires_ms = row->expires_ms,
        };
        stored.message.ttl_s = seconds_left(row->expires_ms);
        more = walk->fn(&shown, walk->user) == 0;
    } else {
        (void)leave_out(walk, row->seq, failed, NULL);
    }
    stored_clear(&stored);
    return more;
}

static bool
show_all(struct walk *walk, uint64_t limit, GError **error)
{
    bool more = true;
    while (more && limit > 0) {
        g_autoptr(GPtrArray) page = read_page(walk, limit, error);
        if (!page)
            return false;
        uint64_t last = walk->above;
        limit -= MIN(limit, page->len);
        more = page->len > 0;
        for (guint i = 0; i < page->len && more; i++)
            more = show_row(walk, page->pdata[i]);
        walk->above = last;
    }
    if (walk->pending) /* the others come to light when these are there */
        queue_salvage_fail(walk->queue, walk->pending, error);
    else if (walk->damaged)
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                    "%" G_GUINT64_FORMAT " damaged messages were left out; the first: %s", walk->damaged,
                    walk->damage->message);
    return !walk->pending && !walk->damaged;
}

int
hubkey_queue_each(const char *path, uint32_t which, uint64_t after, uint64_t limit, hubkey_row_fn fn, void *user,
                  struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct opened opened;
    if (which != HUBKEY_ROWS_WAITING && which != HUBKEY_ROWS_DEAD)
        return failure_now(error, HUBKEY_E_INVALID, "which must be HUBKEY_ROWS_WAITING or HUBKEY_ROWS_DEAD");
    if (!fn || after > INT64_MAX)
        return failure_now(error, HUBKEY_E_INVALID, "%s", fn ? "after is no message's number" : "fn is NULL");
    if (opened_open(&opened, path, 0, &problem)) {
        struct walk walk = { .queue = opened.queue, .which = which, .above = after, .fn = fn, .user = user };
        /* Asked first: what is carried over meanwhile may be behind the walk already. */
        (void)(queue_salvage_pending(walk.queue, &walk.pending, &problem) &&
               show_all(&walk, limit ? limit : UINT64_MAX, &problem));
        g_clear_error(&walk.damage);
    }
    opened_close(&opened);
    return failure_export(problem, 0, error);
}

/* ---- Changing */

static bool
requeue(struct queue *queue, struct queue_requeue *walk, uint64_t *moved, GError **error)
{
    uint64_t part = 1;
    while (part > 0) {
        if (!queue_requeue(queue, walk, REQUEUE_ROWS, &part, error))
            return false;
        *moved += part;
    }
    if (walk->left_out > 0)
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                    "%" G_GUINT64_FORMAT " damaged messages were left out; the first: %s", walk->left_out,
                    walk->damage->message);
    return walk->left_out == 0;
}

int
hubkey_queue_requeue(const char *path, uint64_t first, uint64_t last, uint64_t *n, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct opened opened;
    struct queue_requeue walk = { .next = first, .last = MIN(last, INT64_MAX) };
    uint64_t moved = 0;
    if (first < 1 || first > last)
        return failure_now(error, HUBKEY_E_INVALID, "first must be from 1 to last");
    if (opened_open(&opened, path, OPENED_HOLD, &problem))
        (void)requeue(opened.queue, &walk, &moved, &problem);
    opened_close(&opened);
    g_clear_error(&walk.damage);
    if (n)
        *n = moved;
    return failure_export(problem, 0, error);
}

static bool
import(const char *path, const struct message *messages, size_t n, uint64_t *first_seq, GError **error)
{
    const struct commit_limits limits = { UINT64_MAX, UINT64_MAX, IMPORT_FREE_BYTES, HUBKEY_POLICY_REFUSE };
    const struct commit_hooks hooks = { 0 };
    struct opened opened;
    bool good = opened_open(&opened, path, OPENED_HOLD | OPENED_MAKE, error);
    if (good) {
        struct commit *commit = commit_new(opened.queue, opened.path, opened.lock, &limits, &hooks);
        good = commit_post(commit, messages, n, clock_monotonic_us() + IMPORT_WAIT_US, first_seq, error);
        commit_free(commit);
    }
    opened_close(&opened);
    return good;
}

int
hubkey_queue_import(const char *path, const struct hubkey_message *const *messages, size_t n, uint64_t *first_seq,
                    struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    uint64_t first = 0;
    struct message *prepared = message_prepare_all(messages, n, 0, &problem);
    if (prepared && import(path, prepared, n, &first, &problem) && first_seq)
        *first_seq = first;
    message_free_all(prepared, n);
    return failure_export(problem, 0, error);
}
