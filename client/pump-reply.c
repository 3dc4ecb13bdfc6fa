/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/pump-internal.h"
#include "common/clock.h"

#include <string.h>

#define SKEW_S 60      /* clocks that differ by less are not at fault */
#define SKEW_LIFE_S 30 /* a token must live at least so long by the hub's clock to be worth a try */

#define BATCH_LEAST 512 /* bytes of a batch: two messages hardly ever fit */

/* ---- How much at once. A link that is slow, or breaks often, never carries a full batch within the time that a
 * request has; the same again would be in vain for ever, and might arrive each time without our knowing. */

static void
shrink(struct pump *pump)
{
    size_t len;
    if (pump->current->n < 2) /* which tells nothing of batches */
        return;
    (void)batch_body(pump->current, &len);
    pump->batch_max = MAX(MIN(pump->batch_max, len) / 2, BATCH_LEAST);
}

/* By an eighth: of a link that carries no more than it does, one batch in seven is tried in vain. */
static void
grow(struct pump *pump)
{
    if (pump->current->full)
        pump->batch_max = MIN(pump->batch_max + pump->batch_max / 8, BATCH_MAX);
}

/* ---- Accepted */

bool
pump_record(struct pump *pump, GError **error)
{
    while (pump->unrecorded->len > 0) {
        struct batch_run *run = &g_array_index(pump->unrecorded, struct batch_run, 0);
        g_autoptr(GError) failed = NULL;
        if (!queue_delivered(pump->queue, run->first, run->last, &failed) &&
            (!pump_replace_queue(pump, failed, NULL) ||
             !queue_delivered(pump->queue, run->first, run->last, NULL))) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return false;
        }
        g_array_remove_index(pump->unrecorded, 0);
    }
    return true;
}

/* One entry a request, joined to what the disk refused before where nothing can wait in between. */
static void
note_delivered(struct pump *pump, uint64_t first, uint64_t last)
{
    struct batch_run *previous = pump->unrecorded->len
                                     ? &g_array_index(pump->unrecorded, struct batch_run, pump->unrecorded->len - 1)
                                     : NULL;
    if (previous && previous->last + 1 == first)
        previous->last = last;
    else
        g_array_append_val(pump->unrecorded, ((struct batch_run){ .first = first, .last = last }));
}

static void
bury(struct pump *pump, uint64_t seq, int status, const char *text)
{
    g_autoptr(GError) error = NULL;
    if (!queue_bury(pump->queue, seq, status, text, &error)) {
        pump->window.after = MIN(pump->window.after, seq - 1); /* it will be refused again */
        pump_queue_trouble(pump, error);
        return;
    }
    int fate = queue_fate(pump->queue, seq, NULL);
    if (fate == 0) /* it is in a damaged file still, from which it will be carried over */
        pump->window.after = MIN(pump->window.after, seq - 1);
    if (fate != HUBKEY_GONE_DEAD)
        return; /* or it was dropped meanwhile, and that has been told */
    pump_log(pump, HUBKEY_LOG_ERROR, "message %" G_GUINT64_FORMAT " is a dead letter: %s", seq, text);
    pump->hooks.gone(seq, seq, HUBKEY_GONE_DEAD, text, pump->hooks.user);
}

static void
on_delivered(struct pump *pump, const struct reply *reply)
{
    g_autoptr(GError) error = NULL;
    struct batch *batch = pump->current;
    note_delivered(pump, batch->first, batch->last);
    window_accepted(&pump->window, batch->last, batch->n);
    if (!pump_record(pump, &error)) {
        pump->record_again_us = clock_boot_us() + RECORD_GAP_US;
        pump_log(pump, HUBKEY_LOG_WARNING, "delivered messages stay in the queue for now: %s", error->message);
    }
    pump_show(pump, HUBKEY_STATE_ONLINE, HUBKEY_REASON_NONE, "");
    for (guint i = 0; i < batch->runs->len; i++) {
        struct batch_run *run = &g_array_index(batch->runs, struct batch_run, i);
        pump->hooks.gone(run->first, run->last, HUBKEY_GONE_DELIVERED, "", pump->hooks.user);
    }
    grow(pump);
    batch_reset(batch);
    retry_success(&pump->backoff);
    pump->reported = 0;
    if (reply->date_s >= 0 && reply->date_s - clock_wall_s() <= SKEW_S)
        pump->extra_ttl_s = 0;
    g_mutex_lock(&pump->mutex);
    pump->status.last_delivery_ms = clock_wall_us() / 1000;
    g_mutex_unlock(&pump->mutex);
    for (unsigned i = 0; i < pump->window.n_suspects; i++) {
        struct window_suspect *suspect = &pump->window.suspects[i];
        bury(pump, suspect->seq, suspect->status, suspect->text);
    }
    pump->window.n_suspects = 0;
    pump->hooks.progress(pump->hooks.user);
}

/* ---- A message at fault */

static void
on_split(struct pump *pump, const struct reply *reply, const struct retry_verdict *verdict)
{
    struct batch *batch = pump->current;
    uint64_t seq = batch->first;
    if (batch->n > 1) {
        pump_log(pump, HUBKEY_LOG_INFO, "%zu messages were refused together (%s): searching the one at fault", batch->n,
                 verdict->text);
        window_split(&pump->window, batch->last, batch->n);
        batch_reset(batch);
        batch_reset(pump->next);
        return;
    }
    batch_reset(batch);
    batch_reset(pump->next);
    switch (window_refused(&pump->window, seq, reply->status, verdict->text)) {
    case WINDOW_BURY:
        bury(pump, seq, reply->status, verdict->text);
        pump->hooks.progress(pump->hooks.user);
        break;
    case WINDOW_SKIP:
        pump_log(pump, HUBKEY_LOG_WARNING, "message %" G_GUINT64_FORMAT " was refused (%s): trying another one", seq,
                 verdict->text);
        pump->compare_until_us = clock_boot_us() + retry_delay_ms(&pump->backoff, RETRY_PROBE, 0) * 1000;
        break;
    case WINDOW_STOP:
        pump_reject(pump, HUBKEY_REASON_MESSAGES, verdict->text);
        break;
    }
}

/* ---- 401 */

void
pump_forget_refused(struct pump *pump)
{
    if (pump->refused)
        explicit_bzero(pump->refused, strlen(pump->refused));
    g_clear_pointer(&pump->refused, g_free);
}

/* A fresh token was refused: this is not about tokens. */
static void
on_token_trouble(struct pump *pump, const struct reply *reply, int64_t skew_s, const char *text)
{
    if (skew_s > SKEW_S + pump->extra_ttl_s) {
        g_autofree char *clock = g_strdup_printf("this machine's clock is %" G_GINT64_FORMAT
                                                 " s behind the hub's, more than the "
                                                 "slot's MaxTtl can bridge; set the clock",
                                                 skew_s);
        pump_reject(pump, HUBKEY_REASON_CLOCK, clock);
        return;
    }
    uint64_t generation = pump->token.generation;
    int32_t reason = retry_auth_reason(reply);
    g_autofree char *more = g_strdup_printf("%s; a fresh token did not help: %s", text,
                                            reason == HUBKEY_REASON_HOST
                                                ? "is the hub's name right?"
                                                : "was the key changed at the hub, or the device disabled?");
    if (pump->reported != generation)
        pump->ops.report_rejected(generation, reply->tracking, pump->ops.context);
    pump_reject(pump, reason, more);
    pump->reported = generation;
}

static void
on_unauthorized(struct pump *pump, const struct reply *reply, const char *text)
{
    int64_t skew_s = reply->date_s >= 0 ? reply->date_s - clock_wall_s() : 0;
    int64_t base = pump->options.token_ttl_s ? pump->options.token_ttl_s : pump->default_ttl_s;
    if (pump->auth == AUTH_UNTRIED) {
        pump_log(pump, HUBKEY_LOG_INFO, "%s: asking for a fresh token", text);
        pump_forget_refused(pump);
        pump->refused = g_strdup(pump->token.text ? pump->token.text : "");
        pump->other_tries = 0;
        pump->auth = AUTH_FRESH;
        token_drop(&pump->token);
        pump_ask(pump);
    } else if (pump->auth == AUTH_FRESH && skew_s > SKEW_S + pump->extra_ttl_s &&
               MIN(base + skew_s, (int64_t)pump->max_ttl_s) >= skew_s + SKEW_LIFE_S) {
        pump_log(pump, HUBKEY_LOG_WARNING,
                 "this machine's clock is %" G_GINT64_FORMAT " s behind the hub's: asking for tokens that live longer",
                 skew_s);
        pump->extra_ttl_s = skew_s;
        pump->auth = AUTH_LONGER;
        token_drop(&pump->token);
        pump_ask(pump);
    } else {
        on_token_trouble(pump, reply, skew_s, text);
    }
}

/* ---- Anything */

/* The hub's, where it told the time: it is the hub that begins a new day. */
static int64_t
now_ms(const struct reply *reply)
{
    return reply->date_s >= 0 ? reply->date_s * 1000 : clock_wall_us() / 1000;
}

static void
on_later(struct pump *pump, const struct reply *reply, const struct retry_verdict *verdict)
{
    int64_t after_s = reply_retry_after(reply, clock_wall_s());
    if (reply->failure == REPLY_TIMEOUT || reply->failure == REPLY_BROKEN || reply->status == 408)
        shrink(pump);
    int64_t delay_ms = verdict->family == RETRY_QUOTA ? retry_quota_delay_ms(&pump->backoff, now_ms(reply))
                                                      : retry_delay_ms(&pump->backoff, verdict->family, after_s);
    pump_pause(pump, verdict->family, delay_ms);
    pump->pause_is_ordered = after_s > 0 || verdict->family == RETRY_QUOTA || verdict->family == RETRY_THROTTLE;
    pump_show(pump, verdict->state, verdict->reason, verdict->text);
}

static void
count(struct pump *pump, const struct reply *reply, const struct retry_verdict *verdict)
{
    uint64_t n = pump->current->n;
    g_mutex_lock(&pump->mutex);
    struct pump_status *status = &pump->status;
    status->in_flight = 0;
    if (reply->status)
        status->http_status = reply->status;
    if (reply->date_s >= 0)
        status->clock_skew_s = reply->date_s - clock_wall_s();
    if (verdict->action != RETRY_DELIVERED)
        status->requests_failed++;
    if (reply->sends > 1)
        status->duplicates_possible += n * (reply->sends - 1);
    if (verdict->maybe_delivered)
        status->duplicates_possible += n;
    g_mutex_unlock(&pump->mutex);
}

void
pump_on_reply(struct pump *pump, const struct reply *reply)
{
    struct retry_verdict verdict;
    retry_judge(reply, &verdict);
    count(pump, reply, &verdict);
    pump->phase = PUMP_IDLE;
    if (verdict.action != RETRY_AUTH)
        pump->auth = AUTH_UNTRIED;
    switch (verdict.action) {
    case RETRY_DELIVERED:
        on_delivered(pump, reply);
        break;
    case RETRY_SPLIT:
        on_split(pump, reply, &verdict);
        break;
    case RETRY_AUTH:
        on_unauthorized(pump, reply, verdict.text);
        break;
    case RETRY_REJECTED:
        pump_reject(pump, verdict.reason, verdict.text);
        break;
    case RETRY_LATER:
        on_later(pump, reply, &verdict);
        break;
    }
}
