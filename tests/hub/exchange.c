/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The faults in the order of a request's life: what it is judged as, whether its messages are accepted, what becomes of
 * the answer. A fault never makes a bad request good.
 */
#include <config.h>

#include "tests/hub/exchange.h"
#include "tests/hub/connection.h"
#include "tests/hub/device.h"
#include "tests/hub/events.h"
#include "tests/hub/headers.h"
#include "tests/hub/hub.h"
#include "tests/hub/judge.h"
#include "tests/hub/ledger.h"
#include "tests/hub/reply.h"
#include "tests/hub/wire.h"

#include <microhttpd.h>

#define SETTLE_US (G_USEC_PER_SEC / 2)

/* How many requests of this device are in flight; those whose peer has gone since are not. */
static uint32_t
count_in_flight(const struct exchange *exchange)
{
    GHashTableIter iter;
    gpointer key;
    uint32_t n = 0;

    g_hash_table_iter_init(&iter, exchange->hub->exchanges);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const struct exchange *other = key;
        if (other->in_flight && other->http && g_strcmp0(other->target.device, exchange->target.device) == 0 &&
            (other == exchange || !wire_is_gone(other->connection->fd)))
            n++;
    }
    return n;
}

struct exchange *
exchange_begin(struct connection *connection, struct MHD_Connection *http, const char *uri)
{
    struct hub *hub = connection->hub;
    struct exchange *exchange = g_new0(struct exchange, 1);
    struct request *request = &exchange->request;

    exchange->hub = hub;
    exchange->connection = connection;
    exchange->http = http;
    exchange->body = g_byte_array_new();
    items_init(&exchange->items);
    target_parse(uri, &exchange->target);
    request->start_us = g_get_monotonic_time();
    request->connection = connection->number;
    request->device = g_strdup(exchange->target.device);
    request->module = g_strdup(exchange->target.module);
    request->path = g_strdup(exchange->target.raw);
    request->api_version = g_strdup(exchange->target.api_version);
    ledger_begin(hub->ledger, request, &exchange->items);
    g_hash_table_add(hub->exchanges, exchange);
    connection_carries(connection);
    exchange->in_flight = request->device && device_find(hub->devices, request->device, request->module);
    if (exchange->in_flight)
        ledger_in_flight(hub->ledger, request->device, count_in_flight(exchange));
    return exchange;
}

void
exchange_append(struct exchange *exchange, const char *data, size_t len)
{
    exchange->request.bytes += (uint32_t)len;
    if (exchange->body->len + len > EVENTS_SIZE_MAX)
        exchange->oversized = true;
    else
        g_byte_array_append(exchange->body, (const guint8 *)data, (guint)len);
}

static bool
parse_events(struct exchange *exchange, const GArray *headers)
{
    struct verdict *v = &exchange->verdict;
    bool ok;

    if (exchange->oversized)
        return verdict_refuse(v, "MessageTooLarge", "the body is larger than %d bytes", EVENTS_SIZE_MAX);
    ok = events_is_batch(headers) ? events_batch(exchange->body, &exchange->items, v)
                                  : events_single(headers, exchange->body, &exchange->items, v);
    if (!ok)
        items_reset(&exchange->items);
    exchange->request.items = exchange->items.count;
    return ok;
}

static bool
judge(struct exchange *exchange, const GArray *headers)
{
    const struct hub *hub = exchange->hub;
    const int64_t offset = exchange->fault.kind == FAULT_DATE ? exchange->fault.offset_s : 0;
    const struct judge judge = { hub->host, hub->port, hub->devices, g_get_real_time() / G_USEC_PER_SEC + offset };
    g_autofree char *server_name = wire_server_name(exchange->http);

    return judge_head(&judge, &exchange->target, exchange->method, server_name, headers, &exchange->request,
                      &exchange->verdict);
}

void
exchange_store(struct exchange *exchange)
{
    struct ledger *ledger = exchange->hub->ledger;
    struct request *request = &exchange->request;

    request->status = exchange->phase == EXCHANGE_CLOSE ? 0 : exchange->verdict.status;
    if (request->number == 0)
        verdict_refuse(&exchange->verdict, "IotHubQuotaExceeded",
                       "the test hub remembers no more requests: start a new one");
    else if (exchange->good && ledger_store(ledger, request, &exchange->items, true))
        exchange->stored = true;
    else if (exchange->good)
        verdict_refuse(&exchange->verdict, "IotHubQuotaExceeded", "no room for more messages: DELETE /messages");
    if (!exchange->stored && request->number) {
        request->status = request->status ? exchange->verdict.status : 0;
        exchange->stored = ledger_store(ledger, request, &exchange->items, false);
    }
}

/* What the fault decides before anything is accepted. */
static void
act_before(struct exchange *exchange)
{
    const struct fault_effect *fault = &exchange->fault;

    if (fault->kind == FAULT_STATUS) {
        const bool accepts = fault->status < 300 && fault->shape == FAULT_SHAPE_EMPTY;
        if (accepts && !exchange->good)
            return; /* what is wrong with it stays wrong */
        exchange->good = accepts;
        exchange->verdict.status = fault->status;
        exchange->verdict.code = fault->error_code;
        if (!fault->error_code && fault->shape <= FAULT_SHAPE_NUMBER)
            exchange->verdict.code = verdict_default_code(fault->status);
        g_strlcpy(exchange->verdict.reason, "as the test asked", sizeof exchange->verdict.reason);
    } else if (fault->kind == FAULT_STALL || fault->kind == FAULT_RESET_BEFORE) {
        exchange->good = false;
        exchange->phase = EXCHANGE_CLOSE;
    } else if (fault->kind == FAULT_LATE_ACCEPT) {
        exchange->phase = EXCHANGE_CLOSE;
    }
}

static void
wait_until(struct exchange *exchange, int64_t due_us)
{
    exchange->due_us = due_us;
    g_queue_push_tail(&exchange->hub->waiting, exchange);
    hub_wake(exchange->hub);
}

static void
suspend(struct exchange *exchange, int64_t due_us)
{
    exchange->phase = EXCHANGE_WAITING;
    MHD_suspend_connection(exchange->http);
    wait_until(exchange, due_us);
}

static void
cut_reply(struct exchange *exchange)
{
    const struct reply reply = { .verdict = exchange->verdict };
    g_autofree char *text = reply_cut_text(&reply);

    wire_send(exchange->http, text);
    wire_close(exchange->connection->fd);
    exchange->phase = EXCHANGE_CLOSE;
}

/* Stores, and does to the connection what the fault says. */
static void
act(struct exchange *exchange)
{
    const int64_t later_us = g_get_monotonic_time() + exchange->fault.ms * 1000;
    const enum fault_kind kind = exchange->fault.kind;
    const int fd = exchange->connection->fd;

    if (kind == FAULT_DELAY) {
        suspend(exchange, later_us);
    } else if (kind == FAULT_LATE_ACCEPT) {
        wire_close(fd);
        wait_until(exchange, later_us);
    } else {
        exchange_store(exchange);
        if (kind == FAULT_STALL) {
            suspend(exchange, INT64_MAX);
        } else if (kind == FAULT_RESET_BEFORE || kind == FAULT_RESET_AFTER) {
            wire_reset(fd);
            exchange->phase = EXCHANGE_CLOSE;
        } else if (kind == FAULT_TRUNCATE) {
            cut_reply(exchange);
        }
    }
}

void
exchange_process(struct exchange *exchange)
{
    struct hub *hub = exchange->hub;
    g_autoptr(GArray) headers = headers_collect(exchange->http);
    const char *type;

    headers_find(headers, "Content-Type", &type);
    exchange->request.content_type = g_strdup(type);
    exchange->verdict = VERDICT_ACCEPTED;
    g_mutex_lock(&hub->lock);
    if (exchange->target.device)
        exchange->fault = fault_match(hub->faults, exchange->target.device, events_is_batch(headers),
                                      g_get_monotonic_time());
    exchange->request.fault = g_strdup(exchange->fault.name);
    exchange->phase = EXCHANGE_ANSWER;
    exchange->good = judge(exchange, headers);
    g_mutex_unlock(&hub->lock);
    exchange->good = exchange->good && parse_events(exchange, headers);
    g_mutex_lock(&hub->lock);
    if (exchange->good)
        ledger_arrived(hub->ledger, &exchange->request, &exchange->items);
    act_before(exchange);
    act(exchange);
    g_mutex_unlock(&hub->lock);
}

static bool
is_answering(const struct hub *hub, uint64_t last)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, hub->exchanges);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const struct exchange *exchange = key;
        if (exchange->http && exchange->phase == EXCHANGE_ANSWER && exchange->request.number <= last)
            return true;
    }
    return false;
}

void
exchange_settle(struct hub *hub)
{
    const int64_t until = g_get_monotonic_time() + SETTLE_US;
    const uint64_t last = history_counts(ledger_history(hub->ledger))->requests;

    while (is_answering(hub, last) && g_cond_wait_until(&hub->ended, &hub->lock, until))
        continue;
}

void
exchange_end(struct exchange *exchange, bool reply_sent)
{
    struct hub *hub = exchange->hub;
    struct request *request = &exchange->request;

    request->end_us = g_get_monotonic_time();
    request->reply_sent = reply_sent;
    exchange->in_flight = false;
    if (exchange->stored)
        ledger_finish(hub->ledger, request->number, request->end_us, reply_sent);
    if (reply_sent && request->accepted)
        exchange->connection->answered = request->number;
    if (reply_sent && exchange->fault.kind == FAULT_CLOSE_BETWEEN)
        wire_close(exchange->connection->fd);
    exchange->http = NULL;
    exchange->connection = NULL;
    g_cond_broadcast(&hub->ended);
    if (!g_queue_find(&hub->waiting, exchange)) {
        if (!exchange->stored) {
            exchange->good = false;
            exchange->phase = EXCHANGE_CLOSE;
            exchange_store(exchange);
        }
        exchange_free(exchange);
    }
}

void
exchange_free(struct exchange *exchange)
{
    g_hash_table_remove(exchange->hub->exchanges, exchange);
    target_clear(&exchange->target);
    request_clear(&exchange->request);
    items_clear(&exchange->items);
    g_byte_array_unref(exchange->body);
    g_free(exchange->method);
    g_free(exchange);
}
