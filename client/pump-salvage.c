/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the sender does about a damaged file: it has a fresh one take its place, and carries over what can be read
 * before it sends anything, so that the order stays.
 */
#include <config.h>

#include "client/failure.h"
#include "client/pump-internal.h"

static void
tell_found(struct pump *pump)
{
    g_autofree char *found = queue_take_found(pump->queue);
    if (found)
        pump_log(pump, HUBKEY_LOG_ERROR, "%s; it was set aside, and posting goes on in a fresh file", found);
}

bool
pump_replace_queue(struct pump *pump, const GError *why, GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (!g_error_matches(why, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED))
        return false;
    if (queue_replace(pump->queue, why, &failed)) {
        tell_found(pump);
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

/* A file that was set aside is carried over from its beginning: what this sender knows to be delivered is told to
 * whoever carries it over, himself or one after him. */
static bool
note_delivered(struct pump *pump, GError **error)
{
    struct window *window = &pump->window;
    uint64_t through = window->n_suspects ? MIN(window->after, window->suspects[0].seq - 1) : window->after;
    return through == 0 || queue_delivered(pump->queue, 1, through, error);
}

/* Another file has taken the queue's place, because it was damaged or because somebody removed it: numbers in it may be
 * those of other messages. No request is under way. */
static bool
begin_anew(struct pump *pump, bool salvage, GError **error)
{
    if (!pump_record(pump, error) || (salvage && !note_delivered(pump, error)))
        return false;
    batch_reset(pump->current);
    batch_reset(pump->next);
    window_restart(&pump->window);
    queue_settle(pump->queue);
    if (!salvage)
        pump_log(pump, HUBKEY_LOG_WARNING,
                 "%s is another file than it was; what waits in it is sent from its beginning",
                 queue_path(pump->queue));
    return true;
}

static void
tell_end(struct pump *pump, const struct queue_salvaged *told)
{
    g_autofree char *lost = told->known
                                ? g_strdup_printf("%" G_GUINT64_FORMAT " could not be read any more", told->lost)
                                : g_strdup("how many could not be read is not known, as its counters could not");
    pump_log(pump, HUBKEY_LOG_ERROR,
             "what could be read of the damaged queue was carried over: %" G_GUINT64_FORMAT
             " messages; %s; it is kept as %s.damaged-%u",
             told->carried, lost, queue_path(pump->queue), told->n);
    for (guint i = 0; i < told->runs->len; i++) {
        const struct queue_run *run = &g_array_index(told->runs, struct queue_run, i);
        pump->hooks.gone(run->first, run->last, HUBKEY_GONE_LOST, "they could not be read in the damaged queue",
                         pump->hooks.user);
    }
    pump_show(pump, HUBKEY_STATE_CONNECTING, HUBKEY_REASON_NONE, "");
    pump->hooks.progress(pump->hooks.user);
}

static void
tell_begin(struct pump *pump, unsigned n)
{
    g_autofree char *text = g_strdup_printf("the queue was damaged: what can be read of %s.salvage-%u is carried over "
                                            "before anything is sent; posting goes on",
                                            queue_path(pump->queue), n);
    if (pump->salvage != n)
        pump_log(pump, HUBKEY_LOG_ERROR, "%s", text);
    pump->salvage = n;
    pump_show(pump, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_QUEUE, text);
}

/* Damage that is found now has not spread yet. What else goes wrong will show by itself. */
static void
look_through(struct pump *pump)
{
    g_autoptr(GError) failed = NULL;
    bool due = pump->options.unclean;
    pump->options.unclean = false;
    if (due && !queue_look_through(pump->queue, &failed))
        (void)pump_replace_queue(pump, failed, NULL);
}

int
pump_salvage(struct pump *pump, GError **error)
{
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    struct queue_salvaged told = { .runs = runs };
    struct queue_state state;
    look_through(pump);
    tell_found(pump);
    if (!queue_get_state(pump->queue, &state, error) ||
        (queue_is_other(pump->queue) && !begin_anew(pump, state.salvage, error)))
        return -1;
    if (state.salvage)
        tell_begin(pump, state.salvage);
    int more = queue_salvage(pump->queue, &told, error);
    if (more >= 0 && told.ended) { /* else its commit failed, and it comes to its end again */
        batch_reset(pump->current);
        batch_reset(pump->next);
        tell_end(pump, &told);
    }
    pump->salvage = more > 0 && !told.ended ? pump->salvage : 0;
    return more;
}
