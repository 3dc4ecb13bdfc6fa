/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Tokens for an ordinary user under rules of every kind and under none, and while another user asks for them as fast
 * as it can. Both use the private socket, as libhubkey does. The same for the echo of a bare service, which has nothing
 * to do with hubkeyd and tells what the processors alone make of it; quiet-20 and fairness-20 are asked for where
 * bench-chip.py has made the rules. Writes a drop-in for the sandbox's hubkeyd, has it read anew, and takes it away
 * again; the user and the other one are processes of their own. Where hubkeyd does not serve the other one, too, the
 * row fails: keeping everybody else away is not fairness.
 */
#include <config.h>

#include "tests/bench/calls.h"
#include "tests/bench/echo.h"
#include "tests/bench/ready.h"
#include "tests/bench/rules.h"
#include "dbus/loop.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER "hubkey-in"
#define OTHER "hubkey-out"
#define FLOOD_DEPTH 64 /* calls that the other user has outstanding at any time */

#define BOTH "[slot 0]\nAllowUsers=" USER ";" OTHER "\n"
#define FULL                                                                                                           \
    "[hubkeyd]\nTokenGranularity=1\n"                                                                                  \
    "[slots]\nAllowUsers=root;nobody\nScopes=twin\nDefaultTtl=600\nMaxTtl=3600\nRequestsPerMinute=1\n"                 \
    "[slot "                                                                                                           \
    "0]\nAllowUsers=root;daemon;bin;sys;games;man;lp;mail;news;nobody\nAllowGroups=daemon;bin;sys;adm;tty;hubkey\n"    \
    "Scopes=files;twin;methods;messages/devicebound;messages/events;bench\nDefaultTtl=600\nMaxTtl=3600\n"              \
    "RequestsPerMinute=1000000\n"

/* ---- the other user ---- */

static uint64_t *served; /* how many tokens it has had; in memory that the processes share */

static void
share_memory(void)
{
    served = mmap(NULL, sizeof *served, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (served == MAP_FAILED)
        g_error("no memory to share");
}

/* Every answer makes room for another call; what is refused (Busy) is an answer too. */
static void
flood(int ready)
{
    unsigned number = 0, outstanding = 0;
    rules_become(OTHER);
    DBusConnection *connection = calls_open_socket();
    ready_tell(ready);
    for (;;) {
        for (; outstanding < FLOOD_DEPTH; outstanding++) {
            g_autoptr(dbus_message_auto) message = calls_fresh(number++);
            dbus_connection_send(connection, message, NULL);
        }
        if (!dbus_connection_read_write(connection, -1))
            _exit(1);
        for (DBusMessage *answer; (answer = dbus_connection_pop_message(connection)); dbus_message_unref(answer)) {
            outstanding -= dbus_message_get_reply_serial(answer) != 0;
            *served += dbus_message_get_type(answer) == DBUS_MESSAGE_TYPE_METHOD_RETURN;
        }
    }
}

/* Users take turns, so it has had about as many as the one who measures; that one has begun a little later. */
static bool
was_served(void)
{
    size_t asked = timing_samples(CALLS_SAMPLES);
    fprintf(stderr, "bench-rules: %zu calls of the user, %" G_GUINT64_FORMAT " tokens for the other one\n", asked,
            *served);
    return *served >= asked / 2;
}

/* ---- rows ---- */

static const struct {
    const char *row;
    const char *rules;
    DBusMessage *(*make)(unsigned number);
    bool with_flood;
} rows[] = {
    { "no-rules", NULL, calls_shared, false },    { "rules", FULL, calls_shared, false },
    { "quiet", BOTH, calls_fresh, false },        { "fairness", BOTH, calls_fresh, true },
    { "quiet-20", NULL, calls_fresh, false },     { "fairness-20", NULL, calls_fresh, true },
    { "quiet-echo", BOTH, echo_new_call, false }, { "fairness-echo", BOTH, echo_new_call, true },
};

static void
measure(const char *row, DBusMessage *(*make)(unsigned))
{
    rules_become(USER);
    DBusConnection *connection = make == echo_new_call ? calls_open_bus() : calls_open_socket();
    calls_measure(row, connection, make);
    loop_close(connection);
    fflush(stdout);
}

static int
run(size_t i)
{
    int status = 1;
    share_memory();
    rules_set(rows[i].rules);
    pid_t other = rows[i].with_flood ? ready_start(flood, "the other user") : 0;
    pid_t service = rows[i].make == echo_new_call ? echo_start() : 0;
    if (service)
        rules_open_bus(true);
    pid_t user = fork();
    if (user == 0) {
        measure(rows[i].row, rows[i].make);
        _exit(0);
    }
    if (user < 0 || waitpid(user, &status, 0) != user)
        status = 1;
    if (other)
        ready_stop(other);
    if (service) {
        rules_open_bus(false);
        ready_stop(service);
    }
    rules_set(NULL);
    return status == 0 && (!other || was_served()) ? 0 : 1;
}

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows) && argc == 2; i++)
        if (strcmp(rows[i].row, argv[1]) == 0)
            return run(i);
    fprintf(stderr, "usage: bench-rules no-rules|rules|quiet[-20|-echo]|fairness[-20|-echo]\n");
    return 2;
}
