/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/pump.h"
#include "client/failure.h"
#include "client/pump-internal.h"
#include "common/clock.h"
#include "common/text.h"

#include <stdarg.h>
#include <string.h>

#define LOCK_POLL_US 1000000 /* another process holds the lock: how often to look */
#define IDLE_POLL_US 1000000 /* another process may have posted */
#define HURRY_GAP_US 5000000 /* pump_hurry ends a pause at most so often */
#define RECENT_BOOT_US (INT64_C(600) * 1000000)
#define STEPS_MAX 64         /* of one pump_step, so that stopping is never far */

/* ---- Telling */

void
pump_log(struct pump *pump, int32_t level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    pump->hooks.log(level, text, pump->hooks.user);
}

void
pump_show(struct pump *pump, int32_t state, int32_t reason, const char *text)
{
    struct pump_status *status = &pump->status;
    char cut[sizeof status->text];
    text_copy(cut, sizeof cut, text);
    g_mutex_lock(&pump->mutex);
    bool changed = status->state != state || status->reason != reason;
    bool worded = strcmp(status->text, cut) != 0;
    if (changed)
        status->since_ms = clock_wall_us() / 1000;
    status->state = state;
    status->reason = reason;
    memcpy(status->text, cut, sizeof cut);
    g_mutex_unlock(&pump->mutex);
    if (!changed && !worded)
        return;
    if (changed)
        pump_log(pump, state == HUBKEY_STATE_REJECTED ? HUBKEY_LOG_ERROR : HUBKEY_LOG_INFO, "%s%s%s%s%s",
                 hubkey_state_name(state), reason ? ", " : "", hubkey_reason_name(reason), text[0] ? ": " : "", text);
    pump->hooks.state(state, reason, text, pump->hooks.user);
    pump->hooks.progress(pump->hooks.user);
}

/* ---- Pausing */

/* Nothing is in a request during a pause, so drop-oldest may take anything but what was delivered and is still there;
 * what is claimed may also have been so by who first asked for drop-oldest. */
static void
end_claim(struct pump *pump)
{
    struct queue_state state;
    bool still;
    if (pump->unrecorded->len == 0 && queue_get_state(pump->queue, &state, NULL) && state.claimed)
        (void)queue_claim(pump->queue, 0, 0, 0, &still, NULL);
}

/* Before the state is shown: who is told of it can read when it ends. */
void
pump_pause(struct pump *pump, enum retry_family family, int64_t delay_ms)
{
    pump->pause = family;
    pump->pause_is_ordered = false;
    pump->not_before_us = clock_boot_us() + delay_ms * 1000;
    batch_reset(pump->current);
    batch_reset(pump->next);
    end_claim(pump);
    g_mutex_lock(&pump->mutex);
    pump->status.next_attempt_ms = clock_wall_us() / 1000 + delay_ms;
    g_mutex_unlock(&pump->mutex);
}

void
pump_reject(struct pump *pump, int32_t reason, const char *text)
{
    pump_pause(pump, RETRY_PROBE, retry_delay_ms(&pump->backoff, RETRY_PROBE, 0));
    window_probe(&pump->window);
    pump_show(pump, HUBKEY_STATE_REJECTED, reason, text);
}

void
pump_queue_trouble(struct pump *pump, const GError *error)
{
    g_autoptr(GError) failed = NULL;
    if (pump_replace_queue(pump, error, &failed))
        return;
    pump_pause(pump, RETRY_HUBKEYD, retry_delay_ms(&pump->backoff, RETRY_HUBKEYD, 0));
    pump_show(pump, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_QUEUE, failed ? failed->message : error->message);
}

/* The time is up: what a probe tries, it tries with a fresh token, so that its 401 is final. */
static void
end_pause(struct pump *pump)
{
    if (pump->pause == RETRY_PROBE) {
        token_drop(&pump->token);
        pump->auth = AUTH_FRESH;
    }
    pump->not_before_us = 0;
    pump->pause = RETRY_FAMILIES;
    g_mutex_lock(&pump->mutex);
    pump->status.next_attempt_ms = 0;
    g_mutex_unlock(&pump->mutex);
}

static void
heed_hurry(struct pump *pump, int64_t now_us)
{
    g_mutex_lock(&pump->mutex);
    bool hurry = pump->hurry;
    pump->hurry = false;
    g_mutex_unlock(&pump->mutex);
    bool ours = pump->pause == RETRY_NETWORK || pump->pause == RETRY_SERVER || pump->pause == RETRY_HUBKEYD ||
                pump->pause == RETRY_START;
    if (!hurry || !ours || pump->pause_is_ordered || now_us - pump->last_hurry_us < HURRY_GAP_US)
        return;
    pump->last_hurry_us = now_us;
    pump->not_before_us = MIN(pump->not_before_us, now_us);
}

/* ---- Loading */

static bool
fill(struct pump *pump, struct batch *batch, uint64_t above, size_t limit, uint64_t last, GError **error)
{
    struct queue_row row;
    int found = 1;
    if (batch->sealed || batch->n >= limit)
        return true;
    batch->max = pump->batch_max;
    (pump->holds_back ? queue_scan_in_time : queue_scan)(pump->queue, batch->n ? batch->last : above);
    while (batch->n < limit && (found = queue_scan_next(pump->queue, &row, error)) == 1 && row.seq <= last) {
        if (pump->holds_back && batch->n && row.seq != batch->last + 1)
            break; /* what is held back is not delivered with what is around it */
        struct batch_item item = { .seq = row.seq,
                                   .created_ms = row.created_ms,
                                   .counted = row.counted,
                                   .properties = row.properties,
                                   .properties_len = row.properties_len,
                                   .body = row.body,
                                   .len = row.len };
        if (!batch_add(batch, &item))
            break;
    }
    queue_scan_end(pump->queue);
    return found >= 0;
}

/* The next request's messages into current. */
static bool
load(struct pump *pump, bool *limited, GError **error)
{
    uint64_t last;
    size_t limit = window_limit(&pump->window, &last);
    guint n = pump->unrecorded->len;
    *limited = limit != SIZE_MAX;
    if (n > 0 && pump->window.after < g_array_index(pump->unrecorded, struct batch_run, n - 1).last &&
        !pump_record(pump, error))
        return false; /* what was delivered would be sent again */
    if (pump->current->n == 0 && !*limited) {
        struct batch *empty = pump->current;
        pump->current = pump->next;
        pump->next = empty;
    }
    return fill(pump, pump->current, pump->window.after, limit, last, error);
}

/* While a request is under way. What comes in later is added when it is over. */
static void
prepare_next(struct pump *pump)
{
    uint64_t last;
    if (!pump->holds_back && pump->next->n == 0 && window_limit(&pump->window, &last) == SIZE_MAX)
        (void)fill(pump, pump->next, pump->current->last, SIZE_MAX, UINT64_MAX, NULL);
}

/* ---- The pace of a replay: a bucket that holds the requests of one second. */

static int64_t
pace_us(struct pump *pump, int64_t now_us)
{
    if (pump->options.max_requests_per_minute == UINT32_MAX)
        return 0;
    double per_us = pump->options.max_requests_per_minute / 60e6,
           room = MAX(pump->options.max_requests_per_minute / 60.0, 1);
    pump->credit = MIN(pump->credit + (double)(now_us - pump->credit_us) * per_us, room);
    pump->credit_us = now_us;
    if (pump->credit >= 1) {
        pump->credit -= 1;
        return 0;
    }
    return now_us + (int64_t)((1 - pump->credit) / per_us) + 1;
}

/* ---- Sending */

static void
send_current(struct pump *pump)
{
    struct batch *batch = pump->current;
    g_autoptr(GPtrArray) headers = batch_headers(batch);
    if (!headers) { /* damaged on disk: no hub will ever take it */
        g_autoptr(GError) error = NULL;
        if (queue_bury(pump->queue, batch->first, 0, "its stored properties are damaged", &error))
            pump->hooks.gone(batch->first, batch->first, HUBKEY_GONE_DEAD, "its stored properties are damaged",
                             pump->hooks.user);
        else
            pump_queue_trouble(pump, error);
        batch_reset(batch);
        return;
    }
    struct http_request request = {
        .url = pump->url, .connect_to = pump->gateway, .headers = headers, .token = pump->token.text
    };
    request.body = batch_body(batch, &request.len);
    request.alone = batch->n == 1;
    g_mutex_lock(&pump->mutex);
    pump->status.in_flight = batch->n;
    pump->status.requests++;
    pump->status.batches += batch->n > 1;
    g_mutex_unlock(&pump->mutex);
    pump->last_try_us = clock_boot_us();
    pump->phase = PUMP_SENDING;
    pump->ops.send(&request, pump->ops.context);
    prepare_next(pump);
    queue_tidy(pump->queue);
}

/* Nothing waits but what was refused with nothing after it to compare with. */
static int64_t
await_comparison(struct pump *pump, int64_t now_us)
{
    struct window_suspect *last = &pump->window.suspects[pump->window.n_suspects - 1];
    if (now_us >= pump->compare_until_us) {
        window_probe(&pump->window);
        return 0;
    }
    g_autofree char *text = g_strdup_printf("message %" G_GUINT64_FORMAT
                                            " was refused (%s); the next message will tell whether it "
                                            "is the message's fault",
                                            last->seq, last->text);
    pump_show(pump, HUBKEY_STATE_REJECTED, HUBKEY_REASON_MESSAGES, text);
    return now_us + IDLE_POLL_US;
}

/* Everything that must hold right before messages leave. False: not now. */
static bool
clear_to_send(struct pump *pump)
{
    g_autoptr(GError) error = NULL;
    struct queue_state state;
    bool still = true;
    if (!pump->owner_checked && !pump_check_owner(pump))
        return false;
    if (!queue_get_state(pump->queue, &state, &error) ||
        (state.may_drop &&
         !queue_claim(pump->queue, pump->current->first, pump->current->last, pump->current->n, &still, &error))) {
        pump_queue_trouble(pump, error);
        return false;
    }
    if (!still) {
        batch_reset(pump->current);
        batch_reset(pump->next);
    }
    return still;
}

/* What the hub accepted and the disk refused leaves the queue as soon as it can, whatever else goes on: a process that
 * is killed meanwhile would send it again. */
static void
record_late(struct pump *pump, int64_t now_us)
{
    if (pump->unrecorded->len == 0 || now_us < pump->record_again_us)
        return;
    pump->record_again_us = now_us + RECORD_GAP_US;
    if (!pump_record(pump, NULL))
        return;
    pump_log(pump, HUBKEY_LOG_INFO, "the delivered messages have left the queue");
    pump->hooks.progress(pump->hooks.user);
}

/* Nothing is there to be sent. */
static int64_t
idle(struct pump *pump, int64_t now_us)
{
    if (pump->window.faulty_last) { /* what was left to be searched was dropped meanwhile; others may wait behind it */
        window_searched(&pump->window);
        return 0;
    }
    return pump->window.n_suspects ? await_comparison(pump, now_us) : now_us + IDLE_POLL_US;
}

/* After a power cut a whole fleet comes back at the same moment, and each of it has a backlog: they take turns. */
static bool
spread_start(struct pump *pump, int64_t now_us)
{
    bool spread = pump->has_backlog && now_us < RECENT_BOOT_US;
    pump->has_backlog = false;
    if (!spread)
        return false;
    pump_pause(pump, RETRY_START, retry_delay_ms(&pump->backoff, RETRY_START, 0));
    pump_show(pump, HUBKEY_STATE_CONNECTING, HUBKEY_REASON_NONE,
              "the machine has just started: a moment of waiting, as others start as well");
    return true;
}

/* False while another process sends from the queue. */
static bool
hold_queue(struct pump *pump)
{
    if (lock_try(pump->lock)) {
        if (pump->status.reason == HUBKEY_REASON_HELD)
            pump_show(pump, HUBKEY_STATE_CONNECTING, HUBKEY_REASON_NONE, "");
        return true;
    }
    struct lock_holder holder;
    lock_ask(pump->lock, &holder);
    g_autofree char *text =
        holder.pid < 0 ? g_strdup("another process sends from this queue")
                       : g_strdup_printf("process %d (%s) sends from this queue", (int)holder.pid, holder.program);
    if (holder.pid != 0)
        pump_show(pump, HUBKEY_STATE_STOPPED, HUBKEY_REASON_HELD, text);
    return false;
}

static void
tell_expired(struct pump *pump, const GArray *expired)
{
    if (expired->len == 0)
        return;
    batch_reset(pump->current);
    batch_reset(pump->next);
    pump_log(pump, HUBKEY_LOG_WARNING,
             "messages were dropped because their time was over, the first of them %" G_GUINT64_FORMAT,
             g_array_index(expired, struct queue_run, 0).first);
    for (guint i = 0; i < expired->len; i++) {
        struct queue_run *run = &g_array_index(expired, struct queue_run, i);
        pump->hooks.gone(run->first, run->last, HUBKEY_GONE_EXPIRED, "their time was over", pump->hooks.user);
    }
    pump->hooks.progress(pump->hooks.user);
}

/* What was made ready may hold what has come to its time since, or pass over what was dropped since. */
static void
hold_back(struct pump *pump, bool holds_back)
{
    if (pump->holds_back || holds_back) {
        batch_reset(pump->current);
        batch_reset(pump->next);
    }
    pump->holds_back = holds_back;
}

/* Nothing is in a request now, so whatever has come to its time may go. It stays, but is not sent, while the disk does
 * not let it go, or not what was delivered. *next_us: when to look again, 0 at once. */
static bool
drop_expired(struct pump *pump, int64_t now_us, int64_t *next_us, GError **error)
{
    g_autoptr(GArray) expired = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autoptr(GError) failed = NULL;
    bool waits = pump->unrecorded->len > 0 || now_us < pump->expire_again_us;
    if (!waits && queue_expire(pump->queue, expired, next_us, &failed)) {
        hold_back(pump, false);
        tell_expired(pump, expired);
        return true;
    }
    if (g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    if (failed)
        pump->expire_again_us = now_us + RECORD_GAP_US;
    if (failed && !pump->holds_back)
        pump_log(pump, HUBKEY_LOG_WARNING, "messages whose time is over stay in the queue for now: %s",
                 failed->message);
    hold_back(pump, true);
    *next_us = MAX(pump->expire_again_us, pump->unrecorded->len ? pump->record_again_us : 0);
    return true;
}

/* Begins what is to be done next. Returns 0 when something was begun or has changed, else when to come back. */
static int64_t
begin(struct pump *pump, int64_t now_us)
{
    g_autoptr(GError) error = NULL;
    int64_t expiry_us = INT64_MAX;
    bool limited;
    if (!hold_queue(pump))
        return now_us + LOCK_POLL_US;
    int damaged = pump_salvage(pump, &error);
    if (damaged > 0)
        return 0;
    bool good = damaged == 0 && drop_expired(pump, now_us, &expiry_us, &error);
    if (expiry_us == 0)
        return 0;
    if (now_us < pump->not_before_us) {
        end_claim(pump);
        return MIN(pump->not_before_us, expiry_us);
    }
    if (pump->not_before_us)
        end_pause(pump);
    if (spread_start(pump, now_us))
        return 0;
    if (!pump->identity) {
        pump_ask(pump);
        return 0;
    }
    if (!good || !load(pump, &limited, &error)) {
        pump_queue_trouble(pump, error);
        return 0;
    }
    if (pump->current->n == 0) {
        int64_t idle_us = idle(pump, now_us);
        return MIN(idle_us, expiry_us);
    }
    if (token_due(&pump->token)) {
        pump_ask(pump);
        return 0;
    }
    int64_t pace = pump->current->n > 1 || limited ? pace_us(pump, now_us) : 0;
    if (pace)
        return pace;
    if (clear_to_send(pump))
        send_current(pump);
    return 0;
}

int64_t
pump_step(struct pump *pump)
{
    for (int i = 0; i < STEPS_MAX; i++) {
        struct bus_answer answer = { 0 };
        g_autoptr(GError) error = NULL;
        struct reply reply;
        pump_heed_news(pump);
        heed_hurry(pump, clock_boot_us());
        if (pump->phase == PUMP_ASKING && pump->ops.take_answer(&answer, &error, pump->ops.context)) {
            pump_on_answer(pump, &answer, error);
            bus_answer_clear(&answer);
        }
        if (pump->phase == PUMP_SENDING && pump->ops.take_reply(&reply, pump->ops.context))
            pump_on_reply(pump, &reply);
        if (pump->phase != PUMP_IDLE)
            return INT64_MAX;
        record_late(pump, clock_boot_us());
        int64_t again_us = begin(pump, clock_boot_us());
        if (again_us)
            return pump->unrecorded->len ? MIN(again_us, pump->record_again_us) : again_us;
    }
    return 1;
}

bool
pump_is_hungry(const struct pump *pump)
{
    return pump->phase == PUMP_IDLE && pump->not_before_us == 0 && lock_is_held(pump->lock);
}

void
pump_hurry(struct pump *pump)
{
    g_mutex_lock(&pump->mutex);
    pump->hurry = true;
    g_mutex_unlock(&pump->mutex);
}

void
pump_get_status(struct pump *pump, struct pump_status *status)
{
    g_mutex_lock(&pump->mutex);
    *status = pump->status;
    g_mutex_unlock(&pump->mutex);
}

void
pump_stop(struct pump *pump)
{
    (void)pump_record(pump, NULL);
    pump->phase = PUMP_IDLE;
    end_claim(pump);
    pump_show(pump, HUBKEY_STATE_STOPPED, HUBKEY_REASON_NONE, "the client is being closed");
}

struct pump *
pump_new(struct queue *queue, struct lock *lock, const struct pump_options *options, const struct pump_ops *ops,
         const struct pump_hooks *hooks)
{
    struct pump *pump = g_new0(struct pump, 1);
    pump->queue = queue;
    pump->lock = lock;
    pump->options = *options;
    pump->ops = *ops;
    pump->hooks = *hooks;
    pump->current = batch_new();
    pump->next = batch_new();
    pump->batch_max = BATCH_MAX;
    pump->backoff.random = ops->random;
    pump->pause = RETRY_FAMILIES;
    pump->unrecorded = g_array_new(FALSE, FALSE, sizeof(struct batch_run));
    pump->last_hurry_us = -HURRY_GAP_US;
    pump->credit_us = clock_boot_us();
    pump->credit = MAX(options->max_requests_per_minute / 60.0, 1);
    pump->status.state = HUBKEY_STATE_CONNECTING;
    pump->status.since_ms = clock_wall_us() / 1000;
    struct queue_state state;
    pump->has_backlog = queue_get_state(queue, &state, NULL) && state.counts.waiting > 0;
    g_mutex_init(&pump->mutex);
    return pump;
}

void
pump_free(struct pump *pump)
{
    if (!pump)
        return;
    token_drop(&pump->token);
    pump_forget_refused(pump);
    identity_free(pump->identity);
    g_free(pump->url);
    g_free(pump->gateway);
    batch_free(pump->current);
    batch_free(pump->next);
    g_array_unref(pump->unrecorded);
    g_mutex_clear(&pump->mutex);
    g_free(pump);
}
