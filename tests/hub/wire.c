/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * connect() to AF_UNSPEC dissolves a TCP connection: the kernel sends RST at once, and the descriptor stays open for
 * its owner. The TLS session of a connection is only touched from the thread that serves it.
 */
#include <config.h>

#include "tests/hub/wire.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <glib.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>

#define SERVER_NAME_MAX 256

void
wire_reset(int fd)
{
    const struct sockaddr none = { .sa_family = AF_UNSPEC };

    if (connect(fd, &none, sizeof none) < 0)
        shutdown(fd, SHUT_RDWR);
}

void
wire_close(int fd)
{
    shutdown(fd, SHUT_RDWR);
}

bool
wire_is_gone(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLRDHUP };

    return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}

static gnutls_session_t
session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    return info ? info->tls_session : NULL;
}

void
wire_send(struct MHD_Connection *connection, const char *text)
{
    gnutls_session_t session = session_of(connection);

    if (session && gnutls_record_send(session, text, strlen(text)) < 0)
        g_printerr("hubkey-testhub: a cut reply could not be sent, its reader is gone\n");
}

char *
wire_server_name(struct MHD_Connection *connection)
{
    gnutls_session_t session = session_of(connection);
    char name[SERVER_NAME_MAX];
    size_t len = sizeof name;
    unsigned type = GNUTLS_NAME_DNS;

    if (!session || gnutls_server_name_get(session, name, &len, &type, 0) != GNUTLS_E_SUCCESS ||
        type != GNUTLS_NAME_DNS)
        return NULL;
    return g_strndup(name, len);
}
