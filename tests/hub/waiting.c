/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The HTTP server does not look at a suspended connection, so its end is watched for here: a request whose peer has
 * gone is no longer in flight. A delayed one is accepted all the same, as a real hub would.
 */
#include <config.h>

#include "tests/hub/waiting.h"
#include "tests/hub/connection.h"
#include "tests/hub/exchange.h"
#include "tests/hub/fault.h"
#include "tests/hub/hub.h"
#include "tests/hub/wire.h"

#include <poll.h>

#include <microhttpd.h>

static bool
is_held(const struct exchange *exchange)
{
    return exchange->http && exchange->phase == EXCHANGE_WAITING;
}

void
waiting_watch(const struct hub *hub, GArray *fds)
{
    for (const GList *at = hub->waiting.head; at; at = at->next) {
        const struct exchange *exchange = at->data;
        if (is_held(exchange)) {
            const struct pollfd watch = { .fd = exchange->connection->fd, .events = POLLRDHUP };
            g_array_append_val(fds, watch);
        }
    }
}

int64_t
waiting_next(const struct hub *hub)
{
    int64_t next = INT64_MAX;

    for (const GList *at = hub->waiting.head; at; at = at->next)
        next = MIN(next, ((const struct exchange *)at->data)->due_us);
    return next;
}

static void
release(struct exchange *exchange, enum exchange_phase phase)
{
    exchange->phase = phase;
    MHD_resume_connection(exchange->http);
}

/* True: it waits for nothing more. */
static bool
step(struct exchange *exchange, int64_t now_us, bool end)
{
    const bool stall = exchange->fault.kind == FAULT_STALL;
    const bool due = !end &&
                     (stall ? !fault_is_alive(exchange->hub->faults, exchange->fault.id) : now_us >= exchange->due_us);
    const bool gone = is_held(exchange) && wire_is_gone(exchange->connection->fd);

    if (due && !stall)
        exchange_store(exchange);
    if (gone)
        exchange->in_flight = false;
    if (is_held(exchange) && (due || gone || end))
        release(exchange, due && !stall && !gone ? EXCHANGE_ANSWER : EXCHANGE_CLOSE);
    return due || end || (stall && gone);
}

void
waiting_run(struct hub *hub, int64_t now_us, bool all)
{
    GList *next;

    for (GList *at = hub->waiting.head; at; at = next) {
        struct exchange *exchange = at->data;
        next = at->next;
        if (!step(exchange, now_us, all))
            continue;
        g_queue_delete_link(&hub->waiting, at);
        if (!exchange->http)
            exchange_free(exchange);
    }
}
