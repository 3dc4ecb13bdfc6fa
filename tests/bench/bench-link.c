/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A long way on one machine: hands every byte that comes in on a port of loopback on to another port, and back, each
 * ONE_WAY_US later. Nothing is lost, and nothing but the time is limited.
 *
 *     bench-link PORT     prints the port to connect to; ends with its standard input
 */
#include <config.h>

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <glib-unix.h>

#include "tests/bench/timing.h"

#define ONE_WAY_US 10000
#define PIECE_BYTES 65536
#define UNDER_WAY_MAX (8 * 1024 * 1024) /* bytes of one direction: far more than what anybody sends in one way's time */

struct piece {
    int64_t due_ns;
    size_t len, sent;
    char bytes[];
};

/* One direction of a connection. */
struct way {
    int from, to;
    GQueue pieces;
    size_t under_way;
    bool ended; /* nothing more comes in */
    bool done;  /* and everything was handed on */
};

struct connection {
    struct way ways[2];
};

static int
listen_at(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, len) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &len) != 0)
        err(1, "a port to listen at");
    return fd;
}

static void
set_up(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
}

static void
accept_one(int listener, unsigned port, GPtrArray *connections)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int near = accept4(listener, NULL, NULL, SOCK_CLOEXEC), far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (near < 0 || far < 0 || connect(far, (struct sockaddr *)&address, sizeof address) != 0)
        err(1, "a connection to port %u", port);
    set_up(near);
    set_up(far);
    struct connection *connection = g_new0(struct connection, 1);
    connection->ways[0].from = connection->ways[1].to = near;
    connection->ways[0].to = connection->ways[1].from = far;
    g_ptr_array_add(connections, connection);
}

static void
take_in(struct way *way)
{
    static char bytes[PIECE_BYTES];
    ssize_t n = read(way->from, bytes, sizeof bytes);
    if (n < 0 && errno == EAGAIN)
        return;
    way->ended = n <= 0;
    struct piece *piece = g_malloc(sizeof *piece + (size_t)MAX(n, 0));
    *piece = (struct piece){ .due_ns = timing_now_ns() + ONE_WAY_US * 1000, .len = (size_t)MAX(n, 0) };
    memcpy(piece->bytes, bytes, piece->len);
    g_queue_push_tail(&way->pieces, piece); /* one without bytes is the end, which takes its time as well */
    way->under_way += piece->len;
}

static void
hand_on(struct way *way)
{
    for (struct piece *piece; (piece = g_queue_peek_head(&way->pieces)) && piece->due_ns <= timing_now_ns();) {
        ssize_t n = send(way->to, piece->bytes + piece->sent, piece->len - piece->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        piece->sent += (size_t)MAX(n, 0);
        if (n >= 0 && piece->sent < piece->len)
            continue;
        if (piece->len == 0)
            shutdown(way->to, SHUT_WR);
        way->done |= n < 0 || piece->len == 0;
        way->under_way -= piece->len;
        g_free(g_queue_pop_head(&way->pieces));
    }
}

/* What to wait for in one direction, and until when at most: its next piece is due, or is and finds no room. */
static struct pollfd
watch(const struct way *way, int64_t now, int64_t *until)
{
    const struct piece *head = way->pieces.head ? way->pieces.head->data : NULL;
    if (head && head->due_ns <= now)
        return (struct pollfd){ .fd = way->to, .events = POLLOUT };
    if (head)
        *until = MIN(*until, head->due_ns);
    bool room = !way->ended && way->under_way < UNDER_WAY_MAX;
    return (struct pollfd){ .fd = room ? way->from : -1, .events = POLLIN };
}

/* Standard input and the listener, then two a connection. */
static GArray *
wait_for_work(int listener, const GPtrArray *connections)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    struct pollfd fixed[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = listener, .events = POLLIN } };
    g_array_append_vals(fds, fixed, G_N_ELEMENTS(fixed));
    int64_t now = timing_now_ns(), until = G_MAXINT64;
    for (guint i = 0; i < connections->len; i++)
        for (int w = 0; w < 2; w++) {
            struct pollfd fd = watch(&((struct connection *)connections->pdata[i])->ways[w], now, &until);
            g_array_append_val(fds, fd);
        }
    struct timespec timeout = { .tv_sec = (until - now) / 1000000000, .tv_nsec = (until - now) % 1000000000 };
    if (ppoll((struct pollfd *)(void *)fds->data, fds->len, until < G_MAXINT64 ? &timeout : NULL, NULL) < 0)
        err(1, "poll");
    return fds;
}

static bool
work(struct connection *connection, const struct pollfd fds[2])
{
    for (int w = 0; w < 2; w++) {
        if (fds[w].revents && fds[w].events == POLLIN)
            take_in(&connection->ways[w]);
        hand_on(&connection->ways[w]);
    }
    return !connection->ways[0].done || !connection->ways[1].done;
}

static void
free_connection(struct connection *connection)
{
    for (int w = 0; w < 2; w++) {
        close(connection->ways[w].from);
        g_queue_clear_full(&connection->ways[w].pieces, g_free);
    }
    g_free(connection);
}

int
main(int argc, char **argv)
{
    unsigned port = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535)
        errx(2, "usage: bench-link PORT");
    struct sockaddr_in address;
    int listener = listen_at(&address);
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    GPtrArray *connections = g_ptr_array_new();
    for (;;) {
        g_autoptr(GArray) fds = wait_for_work(listener, connections);
        if (g_array_index(fds, struct pollfd, 0).revents)
            return 0;
        for (guint i = connections->len; i-- > 0;)
            if (!work(connections->pdata[i], &g_array_index(fds, struct pollfd, 2 + 2 * i)))
                free_connection(g_ptr_array_remove_index(connections, i));
        if (g_array_index(fds, struct pollfd, 1).revents)
            accept_one(listener, port, connections);
    }
}
