/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A port out of the kernel's ephemeral range could be given to an outgoing connection while the hub is down, or even
 * connect a retrying client to itself. shutdown() on a listening socket closes it as listener but keeps it bound.
 */
#include <config.h>

#include "tests/hub/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#define BACKLOG 512
#define TRIES 200
#define PORT_LOWEST 10000u
#define PORT_TOP 32768u

static bool
parse_address(const char *address, struct sockaddr_in *in, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(address, ":", 2);
    guint64 port = 0;

    *in = (struct sockaddr_in){ .sin_family = AF_INET };
    if (g_strv_length(parts) != 2 || inet_pton(AF_INET, parts[0], &in->sin_addr) != 1 ||
        !g_ascii_string_to_unsigned(parts[1], 10, 0, 65535, &port, NULL)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s is no address to listen on: write numbers, such as 127.0.0.1:0", address);
        return false;
    }
    in->sin_port = htons((uint16_t)port);
    return true;
}

static unsigned
ephemeral_start(void)
{
    g_autofree char *text = NULL;
    unsigned low = PORT_TOP;

    if (g_file_get_contents("/proc/sys/net/ipv4/ip_local_port_range", &text, NULL, NULL))
        low = (unsigned)strtoul(text, NULL, 10);
    return low;
}

static int
try_port(struct sockaddr_in *in, unsigned port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1;

    in->sin_port = htons((uint16_t)port);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, (struct sockaddr *)in, sizeof *in) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

static int
try_free_ports(struct sockaddr_in *in, unsigned *port)
{
    const unsigned top = ephemeral_start();
    int fd = -1;

    for (int i = 0; i < TRIES && fd < 0 && top > PORT_LOWEST + 1; i++) {
        *port = (unsigned)g_random_int_range((gint32)PORT_LOWEST, (gint32)top);
        fd = try_port(in, *port);
    }
    return fd;
}

int
listener_open(const char *address, unsigned known, unsigned *port, GError **error)
{
    struct sockaddr_in in;
    int fd;

    if (!parse_address(address, &in, error))
        return -1;
    *port = ntohs(in.sin_port) ? ntohs(in.sin_port) : known;
    fd = *port ? try_port(&in, *port) : try_free_ports(&in, port);
    if (fd < 0)
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno), "cannot listen on port %u of %s: %s",
                    *port, address, g_strerror(errno));
    return fd;
}

void
listener_refuse(int fd)
{
    shutdown(fd, SHUT_RD);
}

bool
listener_resume(int fd)
{
    return listen(fd, BACKLOG) == 0;
}
