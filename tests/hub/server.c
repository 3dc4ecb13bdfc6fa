/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * No listening socket of its own: the hub must be able to refuse connections and take them again on the same port.
 */
#include <config.h>

#include "tests/hub/server.h"
#include "tests/hub/connection.h"
#include "tests/hub/exchange.h"
#include "tests/hub/hub.h"
#include "tests/hub/reply.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#define CONNECTIONS_MAX 4000u
#define CONNECTION_MEMORY ((size_t)128 * 1024)
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static struct connection *
connection_of(struct MHD_Connection *http)
{
    return MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void
on_connection(void *cls, struct MHD_Connection *http, void **context, enum MHD_ConnectionNotificationCode code)
{
    struct hub *hub = cls;

    g_mutex_lock(&hub->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *context = connection_new(hub, MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
    else
        connection_free(*context);
    g_mutex_unlock(&hub->lock);
}

static void *
on_request_line(void *cls, const char *uri, struct MHD_Connection *http)
{
    struct hub *hub = cls;
    struct exchange *exchange;

    g_mutex_lock(&hub->lock);
    exchange = exchange_begin(connection_of(http), http, uri);
    g_mutex_unlock(&hub->lock);
    return exchange;
}

static enum MHD_Result
answer(const struct exchange *exchange)
{
    const struct verdict *v = &exchange->verdict;
    const bool shaped = exchange->fault.kind == FAULT_STATUS;
    g_autofree char *location = v->status < 400 && v->status >= 300
                                    ? g_strdup_printf("https://%s/elsewhere", exchange->hub->host)
                                    : NULL;
    const struct reply reply = {
        .verdict = *v,
        .shape = shaped ? exchange->fault.shape : FAULT_SHAPE_A,
        .retry_after = shaped ? exchange->fault.retry_after : NULL,
        .location = location,
        .date_offset_s = exchange->fault.kind == FAULT_DATE ? exchange->fault.offset_s : 0,
    };
    struct MHD_Response *response = reply_response(&reply);
    const enum MHD_Result result = MHD_queue_response(exchange->http, v->status, response);

    MHD_destroy_response(response);
    return result;
}

/* Called for the header, for each piece of the body, at its end, and again when a suspended connection goes on. */
static enum MHD_Result
on_request(void *cls, struct MHD_Connection *http, const char *url, const char *method, const char *version,
           const char *data, size_t *size, void **context)
{
    struct exchange *exchange = *context;

    if (!exchange->method) {
        exchange->method = g_strdup(method);
        return MHD_YES;
    }
    if (*size) {
        exchange_append(exchange, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (exchange->phase == EXCHANGE_READING)
        exchange_process(exchange);
    if (exchange->phase == EXCHANGE_WAITING)
        return MHD_YES;
    return exchange->phase == EXCHANGE_ANSWER ? answer(exchange) : MHD_NO;
}

static void
on_completed(void *cls, struct MHD_Connection *http, void **context, enum MHD_RequestTerminationCode code)
{
    struct hub *hub = cls;
    struct exchange *exchange = *context;

    if (!exchange)
        return;
    g_mutex_lock(&hub->lock);
    exchange_end(exchange, code == MHD_REQUEST_TERMINATED_COMPLETED_OK && exchange->phase == EXCHANGE_ANSWER);
    g_mutex_unlock(&hub->lock);
    *context = NULL;
}

/* Paths are decoded segment by segment, and sr is compared with what came: nothing may be decoded before. */
static size_t
keep_escapes(void *cls, struct MHD_Connection *http, char *text)
{
    return strlen(text);
}

struct MHD_Daemon *
server_start(struct hub *hub, const char *certificate, const char *key)
{
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                           MHD_ALLOW_SUSPEND_RESUME;

    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, hub, MHD_OPTION_HTTPS_MEM_CERT, certificate, MHD_OPTION_HTTPS_MEM_KEY, key,
        MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, hub,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, hub, MHD_OPTION_NOTIFY_CONNECTION, on_connection, hub,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

void
server_accept(struct MHD_Daemon *daemon, int listen_fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    const int one = 1;
    int fd;

    while ((fd = accept4(listen_fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (MHD_add_connection(daemon, fd, (struct sockaddr *)&address, len) != MHD_YES)
            g_printerr("hubkey-testhub: a connection was turned away, %u is the limit\n", CONNECTIONS_MAX);
        len = sizeof address;
    }
}

void
server_stop(struct MHD_Daemon *daemon)
{
    MHD_stop_daemon(daemon);
}
