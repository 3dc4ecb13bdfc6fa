/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/bench/crowd.h"

#include "tests/bench/calls.h"
#include "tests/bench/ready.h"
#include "tests/bench/rules.h"
#include "dbus/loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

struct crowd {
    struct crowd_options options;
    pid_t *pids;
    uint64_t *answers; /* one a process, in memory that all share */
    int ready[2];
};

/* ---- one process of it ---- */

static void
ask(const struct crowd_options *options, DBusConnection *connection, unsigned *number)
{
    g_autoptr(dbus_message_auto) message = options->make((*number)++);
    if (!dbus_connection_send(connection, message, NULL))
        g_error("out of memory");
}

/* How many answers were there. */
static unsigned
take_answers(DBusConnection *connection)
{
    unsigned answers = 0;
    if (!dbus_connection_read_write(connection, 0))
        g_error("the bus has closed a connection");
    for (DBusMessage *message; (message = dbus_connection_pop_message(connection)); dbus_message_unref(message)) {
        const char *text = "";
        if (dbus_message_get_type(message) == DBUS_MESSAGE_TYPE_ERROR) {
            dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
            g_error("%s: %s", dbus_message_get_error_name(message), text);
        }
        answers += dbus_message_get_reply_serial(message) != 0;
    }
    return answers;
}

static void
connect_all(const struct crowd_options *options, DBusConnection **connections, struct pollfd *fds, unsigned *number)
{
    for (size_t i = 0; i < options->connections; i++) {
        connections[i] = calls_open_bus();
        fds[i] = (struct pollfd){ .events = POLLIN };
        if (!dbus_connection_get_unix_fd(connections[i], &fds[i].fd))
            g_error("a connection without a descriptor");
        ask(options, connections[i], number);
    }
}

static void
serve_self(struct crowd *crowd, size_t self)
{
    size_t n = crowd->options.connections, silent = n;
    unsigned number = 0;
    DBusConnection **connections = g_new0(DBusConnection *, n);
    struct pollfd *fds = g_new0(struct pollfd, n);
    g_autofree bool *heard = g_new0(bool, n);
    connect_all(&crowd->options, connections, fds, &number);
    for (;;) {
        poll(fds, n, -1);
        for (size_t i = 0; i < n; i++) {
            unsigned answers = fds[i].revents ? take_answers(connections[i]) : 0;
            if (answers == 0)
                continue;
            ask(&crowd->options, connections[i], &number);
            __atomic_add_fetch(&crowd->answers[self], answers, __ATOMIC_RELAXED);
            silent -= !heard[i];
            if (!heard[i] && silent == 0)
                ready_tell(crowd->ready[1]);
            heard[i] = true;
        }
    }
}

static pid_t
start_one(struct crowd *crowd, size_t self)
{
    const char *const *users = crowd->options.users;
    size_t count = users ? g_strv_length((char **)users) : 0;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    close(crowd->ready[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (users)
        rules_become(users[self % count]);
    serve_self(crowd, self);
    _exit(1);
}

/* ---- all of them ---- */

struct crowd *
crowd_start(const struct crowd_options *options)
{
    struct crowd *crowd = g_new0(struct crowd, 1);
    crowd->options = *options;
    crowd->pids = g_new0(pid_t, options->processes);
    crowd->answers = mmap(NULL, options->processes * sizeof crowd->answers[0], PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (crowd->answers == MAP_FAILED || pipe(crowd->ready) != 0)
        g_error("no memory or no descriptors for a crowd");
    for (size_t i = 0; i < options->processes; i++)
        crowd->pids[i] = start_one(crowd, i);
    close(crowd->ready[1]);
    for (size_t i = 0; i < options->processes; i++)
        if (crowd->pids[i] < 0)
            g_error("fork");
    ready_await(crowd->ready[0], options->processes, "one of the clients");
    return crowd;
}

uint64_t
crowd_answers(const struct crowd *crowd)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < crowd->options.processes; i++)
        sum += __atomic_load_n(&crowd->answers[i], __ATOMIC_RELAXED);
    return sum;
}

void
crowd_stop(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->options.processes; i++)
        kill(crowd->pids[i], SIGKILL);
    for (size_t i = 0; i < crowd->options.processes; i++)
        ready_stop(crowd->pids[i]);
    close(crowd->ready[0]);
    munmap(crowd->answers, crowd->options.processes * sizeof crowd->answers[0]);
    g_free(crowd->pids);
    g_free(crowd);
}
