/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The public client: opening, the thread that sends, posting, waiting, callbacks, closing. Three connections to one
 * queue: posts write through one (commit.c), the sending thread has its own, waiting and stats read through a third.
 */
#include <config.h>

#include "client/client-internal.h"
#include "client/failure.h"
#include "client/message.h"
#include "client/sized.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#define STATS_MIN 416               /* the first published form */
#define WAIT_MAX_MS (60 * 1000)     /* the sending thread looks around at least so often */
#define OTHERS_POLL_US (100 * 1000) /* another process sends: how often waiting threads look */
#define OWN_POLL_US (1000 * 1000)

/* ---- The sending thread */

/* now_us: on the clock of until_us. */
static int
wait_ms(int64_t until_us, int64_t now_us)
{
    if (until_us == INT64_MAX)
        return WAIT_MAX_MS;
    return (int)CLAMP((until_us - now_us + 999) / 1000, 0, WAIT_MAX_MS);
}

/* The holder's word counts. Returns when it has to be said again at the latest, on the boot clock. */
static int64_t
tell_outside(struct hubkey_client *client)
{
    struct pump_status status;
    if (!lock_is_held(client->lock))
        return INT64_MAX;
    pump_get_status(client->pump, &status);
    return state_file_tell(client->state_file, &status);
}

void *
client_thread(void *data)
{
    struct hubkey_client *client = data;
    while (!g_atomic_int_get(&client->stopping)) {
        bool writable;
        int64_t bus_us;
        guard_lock(&client->sending);
        g_atomic_int_set(&client->hungry, 1); /* before looking, so that no post is missed */
        int64_t until_us = pump_step(client->pump);
        until_us = MIN(until_us, tell_outside(client));
        g_atomic_int_set(&client->hungry, pump_is_hungry(client->pump));
        int fd = bus_fd(client->bus, &writable, &bus_us);
        guard_unlock(&client->sending);
        int ms = MIN(wait_ms(until_us, clock_boot_us()), wait_ms(bus_us, clock_monotonic_us()));
        http_wait(client->http, fd, writable, ms);
        guard_lock(&client->sending);
        http_work(client->http);
        bus_process(client->bus);
        guard_unlock(&client->sending);
    }
    http_drop(client->http);
    pump_stop(client->pump);
    (void)tell_outside(client);
    return NULL;
}

/* ---- Using a client */

/* 0, or why nothing can be done with it. */
static int
check_client(const struct hubkey_client *client, struct hubkey_error *error)
{
    if (!client)
        return failure_now(error, HUBKEY_E_INVALID, "client is NULL");
    if (client->pid != getpid())
        return failure_now(error, HUBKEY_E_FORKED, "the client belongs to process %d; open a new one after fork",
                           (int)client->pid);
    if (g_atomic_int_get(&client->closing))
        return failure_now(error, HUBKEY_E_CLOSED, "the client is being closed");
    return 0;
}

static bool
is_in_callback(struct hubkey_client *client)
{
    g_mutex_lock(&client->mutex);
    bool inside = client->dispatching && pthread_equal(client->dispatcher, pthread_self());
    g_mutex_unlock(&client->mutex);
    return inside;
}

static int64_t
deadline_of(int32_t timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : clock_monotonic_us() + (int64_t)timeout_ms * 1000;
}

int
hubkey_client_post_many(hubkey_client *client, const struct hubkey_message *const *messages, size_t n,
                        int32_t timeout_ms, uint64_t *first_seq, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    uint64_t seq = 0;
    int result = check_client(client, error);
    if (result)
        return result;
    struct message *prepared = message_prepare_all(messages, n, client->max_age_s, &problem);
    if (prepared && commit_post(client->commit, prepared, n, deadline_of(timeout_ms), &seq, &problem) && first_seq)
        *first_seq = seq;
    message_free_all(prepared, n);
    return failure_export(problem, 0, error);
}

int
hubkey_client_post(hubkey_client *client, const struct hubkey_message *message, int32_t timeout_ms, uint64_t *seq,
                   struct hubkey_error *error)
{
    return hubkey_client_post_many(client, &message, 1, timeout_ms, seq, error);
}

/* ---- Waiting. Who waits reads the turn, looks, and sleeps until the turn is another. */

static uint64_t
read_turn(struct hubkey_client *client)
{
    g_mutex_lock(&client->mutex);
    uint64_t turn = client->turn;
    g_mutex_unlock(&client->mutex);
    return turn;
}

/* False when the deadline has passed. */
static bool
await_turn(struct hubkey_client *client, uint64_t turn, int64_t deadline_us)
{
    int64_t now = clock_monotonic_us();
    bool ours = client->has_thread && lock_is_held(client->lock);
    int64_t until = MIN(deadline_us, now + (ours ? OWN_POLL_US : OTHERS_POLL_US));
    if (now >= deadline_us)
        return false;
    g_mutex_lock(&client->mutex);
    while (client->turn == turn && g_cond_wait_until(&client->progress, &client->mutex, until))
        continue;
    g_mutex_unlock(&client->mutex);
    return true;
}

void
client_tell_damage(struct hubkey_client *client, const char *text)
{
    events_log(client->events, HUBKEY_LOG_ERROR,
               "%s; it was set aside, posting goes on in a fresh file, and what can be read of the old one is sent "
               "first",
               text);
    if (client->has_thread)
        http_wake(client->http);
}

/* What failed can be tried once more: the file was damaged, and a fresh one has taken its place. Else false, and the
 * error goes on. */
static bool
is_replaced(struct hubkey_client *client, GError *failed, GError **error)
{
    if (!failed)
        return false;
    if (!g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED) ||
        !queue_replace(client->reader, failed, NULL)) {
        g_propagate_error(error, failed);
        return false;
    }
    g_error_free(failed);
    g_autofree char *found = queue_take_found(client->reader);
    if (found)
        client_tell_damage(client, found);
    return true;
}

static int
fate_of(struct hubkey_client *client, uint64_t seq, GError **error)
{
    GError *failed = NULL;
    guard_lock(&client->reading);
    int fate = queue_fate(client->reader, seq, &failed);
    if (is_replaced(client, failed, error))
        fate = queue_fate(client->reader, seq, error);
    guard_unlock(&client->reading);
    return fate;
}

int
hubkey_client_wait_seq(hubkey_client *client, uint64_t seq, int32_t timeout_ms)
{
    g_autoptr(GError) error = NULL;
    int64_t deadline_us = deadline_of(timeout_ms);
    int result = check_client(client, NULL);
    if (result)
        return result;
    if (is_in_callback(client))
        return HUBKEY_E_RECURSION;
    for (;;) {
        uint64_t turn = read_turn(client);
        int fate = fate_of(client, seq, &error);
        if (fate == -2)
            return failure_number(error);
        if (fate != 0)
            return fate == -1 ? HUBKEY_E_INVALID : fate == HUBKEY_GONE_DELIVERED ? 0 : HUBKEY_E_GONE;
        if (g_atomic_int_get(&client->closing))
            return HUBKEY_E_CLOSED;
        if (!await_turn(client, turn, deadline_us))
            return HUBKEY_E_TIMEOUT;
    }
}

int
hubkey_client_fate(hubkey_client *client, uint64_t seq)
{
    g_autoptr(GError) error = NULL;
    int result = check_client(client, NULL);
    if (result)
        return result;
    int fate = fate_of(client, seq, &error);
    return fate == -2 ? failure_number(error) : fate == -1 ? HUBKEY_E_INVALID : fate;
}

/* 1: messages up to seq still wait. */
static int
waits_up_to(struct hubkey_client *client, uint64_t seq, GError **error)
{
    GError *failed = NULL;
    guard_lock(&client->reading);
    int waits = queue_waits_up_to(client->reader, seq, &failed);
    if (is_replaced(client, failed, error))
        waits = queue_waits_up_to(client->reader, seq, error);
    guard_unlock(&client->reading);
    return waits;
}

static bool
read_state(struct hubkey_client *client, struct queue_state *state, GError **error)
{
    GError *failed = NULL;
    guard_lock(&client->reading);
    bool good = queue_get_state(client->reader, state, &failed);
    if (is_replaced(client, failed, error))
        good = queue_get_state(client->reader, state, error);
    guard_unlock(&client->reading);
    return good;
}

static bool
read_counts(struct hubkey_client *client, struct hubkey_counts *counts, GError **error)
{
    struct queue_state state;
    bool good = read_state(client, &state, error);
    if (good)
        *counts = state.counts;
    return good;
}

static void
wake(struct hubkey_client *client)
{
    if (client->has_thread)
        http_wake(client->http);
}

static int
timed_out(struct hubkey_client *client, struct hubkey_error *error)
{
    struct pump_status status = { 0 };
    if (client->has_thread)
        pump_get_status(client->pump, &status);
    int result = failure_now(error, HUBKEY_E_TIMEOUT, "messages still wait in the queue%s%s%s%s",
                             status.state ? "; sender: " : "", status.state ? hubkey_state_name(status.state) : "",
                             status.text[0] ? ": " : "", status.text);
    if (error)
        error->http_status = status.http_status;
    return result;
}

static void
hurry(struct hubkey_client *client)
{
    if (client->has_thread)
        pump_hurry(client->pump);
    wake(client);
}

/* flush, also for close. Who waits long hurries more than once: pauses grow, and the pump sees to it that the hub is
 * not pestered. */
int
client_drain(struct hubkey_client *client, int32_t timeout_ms, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct hubkey_counts counts;
    int64_t deadline_us = deadline_of(timeout_ms);
    if (!read_counts(client, &counts, &problem))
        return failure_export(problem, 0, error);
    int64_t hurry_us = 0;
    for (;;) {
        uint64_t turn = read_turn(client);
        int64_t now_us = clock_monotonic_us();
        if (now_us >= hurry_us) {
            hurry(client);
            hurry_us = now_us + OWN_POLL_US;
        }
        int waits = waits_up_to(client, counts.last_seq, &problem);
        if (waits <= 0)
            return failure_export(problem, 0, error);
        if (!await_turn(client, turn, deadline_us))
            return timed_out(client, error);
    }
}

int
hubkey_client_flush(hubkey_client *client, int32_t timeout_ms, struct hubkey_error *error)
{
    int result = check_client(client, error);
    if (result)
        return result;
    if (is_in_callback(client))
        return failure_now(error, HUBKEY_E_RECURSION, "flush cannot wait inside a callback");
    return client_drain(client, timeout_ms, error);
}

int
hubkey_client_stats(hubkey_client *client, struct hubkey_stats *out)
{
    g_autoptr(GError) error = NULL;
    struct hubkey_stats stats = { 0 };
    struct pump_status status = { .state = HUBKEY_STATE_STOPPED };
    struct queue_state state;
    int result = check_client(client, NULL);
    if (result)
        return result;
    if (!read_state(client, &state, &error))
        return failure_number(error);
    stats.counts = state.counts;
    stats.expired = state.expired;
    stats.lost = state.lost;
    if (client->pump)
        pump_get_status(client->pump, &status);
    stats.state = status.state;
    stats.reason = status.reason;
    stats.http_status = status.http_status;
    stats.in_flight = status.in_flight;
    stats.requests = status.requests;
    stats.requests_failed = status.requests_failed;
    stats.batches = status.batches;
    stats.token_fetches = status.token_fetches;
    stats.duplicates_possible = status.duplicates_possible;
    stats.events_lost = events_lost(client->events);
    stats.next_attempt_ms = status.next_attempt_ms;
    stats.last_delivery_ms = status.last_delivery_ms;
    stats.clock_skew_s = status.clock_skew_s;
    memcpy(stats.text, status.text, sizeof stats.text);
    (void)sized_write("stats", out, &stats, sizeof stats, STATS_MIN, &error);
    return failure_number(error);
}

/* ---- Callbacks */

/* Looks again after telling: a change in between may have been told before. */
static void
tell_state(struct hubkey_client *client)
{
    struct pump_status told, now = { .state = HUBKEY_STATE_STOPPED };
    if (client->pump)
        pump_get_status(client->pump, &now);
    do {
        told = now;
        events_state(client->events, told.state, told.reason, told.text);
        if (client->pump)
            pump_get_status(client->pump, &now);
    } while (told.state != now.state || told.reason != now.reason || strcmp(told.text, now.text) != 0);
}

/* What was found before there was anybody to tell. */
static void
tell_found(struct hubkey_client *client)
{
    g_mutex_lock(&client->mutex);
    g_autofree char *found = g_steal_pointer(&client->found);
    g_mutex_unlock(&client->mutex);
    if (found)
        client_tell_damage(client, found);
}

int
hubkey_client_set_callbacks(hubkey_client *client, hubkey_state_fn state, hubkey_gone_fn gone, hubkey_log_fn log,
                            void *user)
{
    int result = check_client(client, NULL);
    if (result)
        return result;
    events_set_callbacks(client->events, state, gone, log, user);
    if (log)
        tell_found(client);
    tell_state(client);
    return 0;
}

int
hubkey_client_fd(hubkey_client *client)
{
    int result = check_client(client, NULL);
    return result ? result : events_fd(client->events);
}

static void
mark_dispatching(struct hubkey_client *client, bool on)
{
    g_mutex_lock(&client->mutex);
    client->dispatching = on;
    client->dispatcher = pthread_self();
    g_mutex_unlock(&client->mutex);
}

int
hubkey_client_dispatch(hubkey_client *client)
{
    int ran = 0, result = check_client(client, NULL);
    if (result)
        return result;
    if (is_in_callback(client))
        return HUBKEY_E_RECURSION;
    g_mutex_lock(&client->dispatch_mutex);
    mark_dispatching(client, true);
    /* A callback may make new events: not more than were there can be run here. */
    while (ran < EVENTS_MAX && !g_atomic_int_get(&client->closing) && events_run_one(client->events))
        ran++;
    mark_dispatching(client, false);
    g_mutex_unlock(&client->dispatch_mutex);
    if (!g_atomic_int_get(&client->closing))
        return ran;
    client_free(client); /* a callback closed it */
    return HUBKEY_E_CLOSED;
}

int
hubkey_client_wait(hubkey_client *client, int32_t timeout_ms)
{
    int64_t deadline_us = deadline_of(timeout_ms);
    int result = check_client(client, NULL);
    if (result)
        return result;
    if (is_in_callback(client))
        return HUBKEY_E_RECURSION;
    struct pollfd waiting = { .fd = events_fd(client->events), .events = POLLIN };
    int ready;
    do
        ready = poll(&waiting, 1, deadline_us == INT64_MAX ? -1 : wait_ms(deadline_us, clock_monotonic_us()));
    while (ready == 0 && clock_monotonic_us() < deadline_us);
    return ready > 0 ? hubkey_client_dispatch(client) : 0;
}

/* ---- Closing */

int
hubkey_client_close(hubkey_client *client, int32_t timeout_ms)
{
    struct hubkey_counts counts = { 0 };
    if (!client)
        return 0;
    int result = check_client(client, NULL);
    if (result)
        return result;
    bool inside = is_in_callback(client);
    if (!inside && client->has_thread)
        (void)client_drain(client, timeout_ms, NULL);
    g_atomic_int_set(&client->closing, 1);
    client_stop(client);
    bool left = !read_counts(client, &counts, NULL) || counts.waiting > 0;
    if (!inside)
        client_free(client);
    return left ? HUBKEY_E_TIMEOUT : 0;
}
