/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Out of a damaged file into the fresh one that has taken its place. The fresh file begins with the old one's counters,
 * so that what is still to be carried over counts as waiting (or dead) from the first moment on: left_* say how many
 * such there are. Pages are carried over some at a time, together with the number of the next page, so that whoever is
 * killed in between has done each page once or not at all. What is left of left_* in the end was lost.
 */
#include <config.h>

#include "client/damaged.h"
#include "client/failure.h"
#include "client/queue-internal.h"
#include "client/relic.h"

#include <errno.h>
#include <string.h>

/* Of one transaction: posts go on in between. */
#define STEP_PAGES 256
#define STEP_BYTES (1 << 20)
/* Numbers that are passed over where the old file does not tell the last one it gave. */
#define UNKNOWN_GAP 1000000
#define DRAIN_US (10 * G_USEC_PER_SEC)
#define GAPS_MAX 4096 /* as many as are remembered of what is gone */
#define EARLY_PAGES 64 /* small tables that were made early */

/* The row of table salvage. */
struct salvage {
    uint64_t n, done; /* the file at hand, 0: none; the last one that was finished */
    uint64_t page;    /* to be read next */
    uint64_t base;    /* the highest number that the old file gave */
    uint64_t known;   /* its counters were read */
    uint64_t left_waiting, left_bytes, left_dead;
    uint64_t carried;
};

/* A transaction under way. */
struct step {
    struct queue *queue;
    struct salvage salvage;
    struct queue_state state;
    GArray *delivered; /* struct queue_run: what the hub took while it was still in the old file */
    size_t bytes;
};

static bool
read_salvage(struct queue *queue, struct salvage *salvage)
{
    uint64_t n[9];
    if (queue_ask(queue, SQL_GET_SALVAGE, 0, 0, n, G_N_ELEMENTS(n)) != 1)
        return false;
    *salvage = (struct salvage){ n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8] };
    return true;
}

static bool
save_salvage(struct queue *queue, const struct salvage *salvage)
{
    return QUEUE_RUN(queue, SQL_SAVE_SALVAGE, salvage->n, salvage->done, salvage->page, salvage->base, salvage->known,
                     salvage->left_waiting, salvage->left_bytes, salvage->left_dead, salvage->carried);
}

bool
queue_left(struct queue *queue, struct queue_sums *left)
{
    struct salvage salvage;
    if (!read_salvage(queue, &salvage))
        return false;
    *left = (struct queue_sums){ .waiting = salvage.left_waiting,
                                 .waiting_bytes = salvage.left_bytes,
                                 .dead = salvage.left_dead };
    return true;
}

uint64_t
queue_salvage_base(struct queue *queue)
{
    struct salvage salvage;
    return read_salvage(queue, &salvage) && salvage.n ? salvage.base : 0;
}

bool
queue_salvage_pending(struct queue *queue, unsigned *n, GError **error)
{
    struct salvage salvage;
    if (!read_salvage(queue, &salvage))
        return queue_fail(queue, "reading", error);
    *n = salvage.n ? (unsigned)salvage.n : damaged_pending(queue->path, (unsigned)salvage.done);
    return true;
}

void
queue_salvage_fail(const struct queue *queue, unsigned n, GError **error)
{
    failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                "what can be read of the damaged %s.salvage-%u is not in the queue yet; whoever sends carries it over "
                "first, as hubkeyctl queue flush SLOT --queue %s does",
                queue->path, n, queue->path);
}

/* ---- The beginning: in the transaction that makes the fresh file's tables */

/* What the rest needs: boots, for ends of messages, and what the hub took of a file whose carrying over was under way
 * in this one. */
static bool
carry_early(struct queue *queue, const struct pages *pages)
{
    struct cells *cells = cells_new(pages);
    struct cells_row row;
    struct relic relic;
    bool good = true;
    for (uint32_t page = 1; good && page <= MIN(pages_count(pages), EARLY_PAGES); page++)
        if (cells_begin(cells, page))
            while (good && cells_next(cells, &row)) {
                const uint64_t *n = relic.numbers;
                if (!relic_read(&row, &relic))
                    continue;
                if (relic.kind == RELIC_BOOT)
                    good = queue_carry_boot(queue, n[0], relic.text, relic.text_len);
                else if (relic.kind == RELIC_GONE && n[2] == HUBKEY_GONE_DELIVERED)
                    good = QUEUE_RUN(queue, SQL_CARRY_GONE, n[0], n[1], n[2]);
            }
    cells_free(cells);
    return good;
}

static void
take_known(struct salvage *salvage, const struct queue_state *state)
{
    salvage->known = true;
    salvage->base = state->counts.last_seq;
    salvage->left_waiting = state->counts.waiting;
    salvage->left_bytes = state->counts.waiting_bytes;
    salvage->left_dead = state->counts.dead;
}

static void
take_unknown(struct salvage *salvage, struct queue_state *state, const struct pages *pages)
{
    *state = (struct queue_state){ 0 };
    salvage->base = (pages ? relic_find_newest(pages) : 0) + UNKNOWN_GAP;
    state->counts.last_seq = salvage->base;
}

static bool
seed(struct queue *queue, unsigned first, const struct pages *pages, GError **error)
{
    struct salvage salvage = { .n = first, .page = 1 };
    struct queue_state state;
    g_autoptr(identity_auto) owner = NULL;
    if (pages && relic_find_state(pages, &state, &owner))
        take_known(&salvage, &state);
    else
        take_unknown(&salvage, &state, pages);
    if (!owner && !salvage.known && pages)
        owner = relic_find_owner(pages);
    bool may_drop = state.may_drop;
    return queue_save_state(queue, &state, error) && (!owner || queue_set_identity(queue, owner, error)) &&
           (((!may_drop || queue_run(queue, SQL_SET_MAY_DROP, NULL, 0)) && (!pages || carry_early(queue, pages)) &&
             save_salvage(queue, &salvage)) ||
            queue_fail(queue, "setting up", error));
}

bool
queue_seed(struct queue *queue, GError **error)
{
    unsigned first = damaged_pending(queue->path, 0);
    if (!first)
        return true;
    if (queue->lock && !lock_write_drain(queue->lock, DRAIN_US)) {
        failure_set(error, HUBKEY_E_QUEUE_LOCKED,
                    "another process did not end writing to the damaged %s: end it, or have it go on", queue->path);
        return false;
    }
    /* The newest knows best where things stood. */
    g_autofree char *aside = damaged_pending_path(queue->path, damaged_newest_pending(queue->path));
    struct pages *pages = pages_open(aside, NULL);
    bool good = seed(queue, first, pages, error);
    pages_close(pages);
    return good;
}

/* ---- One row */

static bool
was_delivered(const struct step *step, uint64_t seq)
{
    for (guint i = 0; i < step->delivered->len; i++) {
        const struct queue_run *run = &g_array_index(step->delivered, struct queue_run, i);
        if (run->first <= seq && seq <= run->last)
            return true;
    }
    return false;
}

/* A message that should have been there, or of which the counters did not know. */
static void
count(struct step *step, uint64_t *left, uint64_t *counter)
{
    step->salvage.carried++;
    if (*left > 0) {
        (*left)--;
        return;
    }
    (*counter)++;
    step->state.counts.accepted++;
}

static void
count_waiting(struct step *step, uint32_t counted)
{
    uint64_t known = MIN(step->salvage.left_bytes, counted);
    count(step, &step->salvage.left_waiting, &step->state.counts.waiting);
    step->salvage.left_bytes -= known;
    step->state.counts.waiting_bytes += counted - known;
}

static void
count_delivered(struct step *step, uint32_t counted)
{
    count_waiting(step, counted);
    step->state.counts.waiting--;
    step->state.counts.waiting_bytes -= counted;
    step->state.counts.delivered++;
}

/* 1: it is there now; 0: it was, from another page that had it; -1: an error. Numbers above the base are the fresh
 * file's to give, and it may have given others, too, where the counters of the old one were wrong. */
static int
add(struct step *step, enum queue_statement which, struct relic *relic)
{
    struct queue *queue = step->queue;
    struct queue_row *row = &relic->row;
    int there = row->seq > step->salvage.base ? 0 : queue_carry(queue, which, row, relic->text, relic->text_len);
    if (there > 0)
        return 1;
    if (there == 0 && row->seq <= step->salvage.base)
        there = queue_has(queue, row);
    if (there != 0)
        return there > 0 ? 0 : -1;
    row->seq = ++step->state.counts.last_seq;
    return queue_carry(queue, which, row, relic->text, relic->text_len);
}

static bool
carry_waiting(struct step *step, struct relic *relic)
{
    if (was_delivered(step, relic->row.seq)) {
        count_delivered(step, relic->row.counted);
        return true;
    }
    int added = add(step, SQL_CARRY, relic);
    if (added > 0)
        count_waiting(step, relic->row.counted);
    return added >= 0;
}

static bool
carry_dead(struct step *step, struct relic *relic)
{
    int added = add(step, SQL_CARRY_DEAD, relic);
    if (added > 0)
        count(step, &step->salvage.left_dead, &step->state.counts.dead);
    return added >= 0;
}

static bool
carry(struct step *step, struct relic *relic)
{
    struct queue *queue = step->queue;
    const uint64_t *n = relic->numbers;
    uint64_t base = step->salvage.base;
    switch (relic->kind) {
    case RELIC_WAITING:
        step->bytes += relic->row.len;
        return carry_waiting(step, relic);
    case RELIC_DEAD:
        step->bytes += relic->row.len;
        return carry_dead(step, relic);
    case RELIC_GONE: /* that the hub took it is only remembered while a file is salvaged */
        return n[1] > base || n[2] == HUBKEY_GONE_DELIVERED || QUEUE_RUN(queue, SQL_CARRY_GONE, n[0], n[1], n[2]);
    case RELIC_EXPIRY:
        return n[0] > base || QUEUE_RUN(queue, SQL_CARRY_EXPIRY, n[0], n[1], n[2], n[3], n[4]);
    default:
        return true;
    }
}

/* ---- The end */

/* Numbers up to base that are neither waiting nor dead nor known to be gone: delivered, or lost. *total: how many. */
static bool
find_gaps(struct step *step, GArray *gaps, uint64_t *total)
{
    uint64_t before = 0;
    sqlite3_stmt *statement = queue_ready(step->queue, SQL_SCAN_NUMBERS);
    int result = SQLITE_ERROR;
    if (!statement)
        return false;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)step->salvage.base);
    do {
        result = sqlite3_step(statement);
        uint64_t first = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : step->salvage.base + 1;
        uint64_t last = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 1) : 0;
        if (first > before + 1) {
            g_array_append_val(gaps, ((struct queue_run){ before + 1, first - 1 }));
            *total += first - 1 - before;
        }
        if (gaps->len > 2 * GAPS_MAX)
            g_array_remove_range(gaps, 0, GAPS_MAX);
        before = MAX(before, last);
    } while (result == SQLITE_ROW);
    sqlite3_reset(statement);
    return result == SQLITE_DONE;
}

static bool
note_lost(struct step *step, struct queue_run run)
{
    return QUEUE_RUN(step->queue, SQL_ADD_GONE, run.first, run.last, HUBKEY_GONE_LOST);
}

/* The counters say how many. What is delivered has the lowest numbers, because messages leave in order: so it is the
 * highest that were lost. */
static bool
note_counted(struct step *step, const GArray *gaps, uint64_t lost, GArray *runs)
{
    for (guint i = gaps->len; i > 0 && lost > 0; i--) {
        struct queue_run run = g_array_index(gaps, struct queue_run, i - 1);
        if (run.last - run.first >= lost)
            run.first = run.last - lost + 1;
        lost -= run.last - run.first + 1;
        if (!note_lost(step, run))
            return false;
        g_array_prepend_val(runs, run);
    }
    return true;
}

/* Nothing says how many. What is above a message that waits cannot be delivered, by the same order. Where none waits,
 * only what the sender knows of is; the others must not pass for it. Numbers behind the last one that was found may
 * never have been given: they are not counted. */
static bool
note_uncounted(struct step *step, const GArray *gaps, uint64_t *lost, GArray *runs)
{
    uint64_t above = 0;
    int waits = queue_ask(step->queue, SQL_FIRST_WAITING, 0, 0, &above, 1);
    bool proven = waits == 1 && above <= step->salvage.base;
    if (!proven)
        above = 0;
    for (guint i = 0; !proven && i < step->delivered->len; i++)
        above = MAX(above, g_array_index(step->delivered, struct queue_run, i).last);
    for (guint i = 0; waits >= 0 && i < gaps->len; i++) {
        struct queue_run run = g_array_index(gaps, struct queue_run, i);
        if (run.first <= above)
            continue;
        if (!note_lost(step, run))
            return false;
        if (!proven || run.last == step->salvage.base)
            continue;
        *lost += run.last - run.first + 1;
        g_array_append_val(runs, run);
    }
    return waits >= 0;
}

/* What of left_* has not come: lost, or, where there are not as many numbers of which nothing is known, delivered while
 * it was still in a page that cannot be read. */
static bool
settle_left(struct step *step, GArray *runs, uint64_t *lost)
{
    struct salvage *salvage = &step->salvage;
    struct hubkey_counts *counts = &step->state.counts;
    g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    uint64_t left = salvage->left_waiting + salvage->left_dead, total = 0;
    counts->waiting -= salvage->left_waiting;
    counts->waiting_bytes -= salvage->left_bytes;
    counts->dead -= salvage->left_dead;
    *lost = 0;
    if (salvage->known && left == 0)
        return true;
    if (!find_gaps(step, gaps, &total))
        return false;
    *lost = MIN(left, total);
    counts->delivered += left - *lost;
    if (salvage->known)
        return note_counted(step, gaps, *lost, runs);
    uint64_t more = 0;
    bool good = note_uncounted(step, gaps, &more, runs);
    counts->accepted += more;
    *lost += more;
    return good;
}

/* The last file is through. */
static bool
finish(struct step *step, struct queue_salvaged *told)
{
    struct salvage *salvage = &step->salvage;
    uint64_t lost;
    if (!settle_left(step, told->runs, &lost))
        return false;
    step->state.counts.dropped += lost;
    step->state.lost += lost;
    told->ended = true;
    told->carried = salvage->carried;
    told->lost = lost;
    told->known = salvage->known;
    bool good = QUEUE_RUN(step->queue, SQL_FORGET_ORPHANS, salvage->base) &&
                QUEUE_RUN(step->queue, SQL_FORGET_GONE, HUBKEY_GONE_DELIVERED) &&
                QUEUE_RUN(step->queue, SQL_TRIM_GONE, GAPS_MAX);
    *salvage = (struct salvage){ .done = salvage->done };
    return good;
}

static bool
end_file(struct step *step, struct queue_salvaged *told)
{
    struct salvage *salvage = &step->salvage;
    unsigned next = damaged_pending(step->queue->path, (unsigned)salvage->n);
    salvage->done = salvage->n;
    salvage->n = next;
    salvage->page = 1;
    return next != 0 || finish(step, told);
}

/* ---- Steps */

static bool
read_delivered(struct step *step)
{
    sqlite3_stmt *statement = queue_ready(step->queue, SQL_SCAN_GONE);
    int result = SQLITE_ERROR;
    if (!statement)
        return false;
    sqlite3_bind_int(statement, 1, HUBKEY_GONE_DELIVERED);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct queue_run run = { (uint64_t)sqlite3_column_int64(statement, 0),
                                 (uint64_t)sqlite3_column_int64(statement, 1) };
        g_array_append_val(step->delivered, run);
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE;
}

static bool
carry_pages(struct step *step, const struct pages *pages)
{
    struct cells *cells = cells_new(pages);
    struct cells_row row;
    struct relic relic;
    bool good = true;
    uint64_t *page = &step->salvage.page, end = *page + STEP_PAGES;
    for (; good && *page < end && *page <= pages_count(pages) && step->bytes < STEP_BYTES; (*page)++)
        if (cells_begin(cells, (uint32_t)*page))
            while (good && cells_next(cells, &row))
                good = !relic_read(&row, &relic) || carry(step, &relic);
    cells_free(cells);
    return good;
}

/* pages NULL: the file is no more there. */
static bool
work(struct step *step, const struct pages *pages, struct queue_salvaged *told)
{
    bool good = read_salvage(step->queue, &step->salvage) && read_delivered(step) &&
                (!pages || carry_pages(step, pages));
    if (good && (!pages || step->salvage.page > pages_count(pages)))
        good = end_file(step, told);
    return good && save_salvage(step->queue, &step->salvage);
}

static bool
run_step(struct queue *queue, const struct pages *pages, struct queue_salvaged *told, GError **error)
{
    struct step step = { .queue = queue };
    if (!queue_change_begin(queue, &step.state, error))
        return false;
    step.delivered = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    bool good = work(&step, pages, told) || queue_fail(queue, "carrying messages over to", error);
    g_array_unref(step.delivered);
    return queue_change_end(queue, &step.state, good, error);
}

/* Files that were carried over get their last names, which are for people only: another time will do. */
static unsigned
rename_done(struct queue *queue, uint64_t done)
{
    unsigned next;
    queue_setup_begin(queue);
    for (unsigned n = damaged_pending(queue->path, 0); n && n <= done; n = damaged_pending(queue->path, n))
        (void)damaged_done(queue->path, n, NULL);
    next = damaged_pending(queue->path, (unsigned)done);
    queue_setup_end(queue);
    return next;
}

/* A file that the fresh one knows nothing of: that one was not made by us, or was damaged as well. */
static bool
take_up(struct queue *queue, unsigned n, struct salvage *salvage, GError **error)
{
    struct queue_state state;
    if (!queue_change_begin(queue, &state, error))
        return false;
    salvage->n = n;
    salvage->page = 1;
    salvage->base = state.counts.last_seq;
    return save_salvage(queue, salvage) ? queue_commit(queue, error) : queue_give_up(queue, "writing", error);
}

static bool
look_around(struct queue *queue, struct salvage *salvage, GError **error)
{
    if (queue->looked)
        return true;
    unsigned next = rename_done(queue, salvage->done);
    queue->looked = salvage->n || !next || take_up(queue, next, salvage, error);
    return queue->looked;
}

void
queue_salvage_end(struct queue *queue)
{
    pages_close(queue->damaged);
    queue->damaged = NULL;
}

/* A file that is no more there has nothing to be carried over. */
static bool
open_damaged(struct queue *queue, unsigned n, GError **error)
{
    g_autofree char *aside = damaged_pending_path(queue->path, n);
    g_autoptr(GError) failed = NULL;
    if (!queue->damaged)
        queue->damaged = pages_open(aside, &failed);
    if (queue->damaged || errno == ENOENT)
        return true;
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

int
queue_salvage(struct queue *queue, struct queue_salvaged *told, GError **error)
{
    struct salvage salvage;
    if (!queue_follow(queue, error))
        return -1;
    if (!read_salvage(queue, &salvage)) {
        queue_fail(queue, "reading", error);
        return -1;
    }
    if (!look_around(queue, &salvage, error))
        return -1;
    told->n = (unsigned)salvage.n;
    if (salvage.n == 0)
        return 0;
    if (!open_damaged(queue, told->n, error) || !run_step(queue, queue->damaged, told, error))
        return -1;
    queue->looked = read_salvage(queue, &salvage) && salvage.n == told->n;
    if (!queue->looked)
        queue_salvage_end(queue);
    return 1;
}
