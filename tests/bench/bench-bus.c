/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Round trips over the sandbox's bus: Ping and a 250-byte echo of a bare service (libdbus in a GLib loop, in a process
 * of its own), and tokens of hubkeyd - one scope for all, a scope never asked for before, or that of a slot whose key is
 * not loaded. And over hubkeyd's private socket: one scope for all.
 */
#include <config.h>

#include "tests/bench/calls.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVICE "org.hubkey.test.Echo"
#define WARM_UP 200
#define SAMPLES 3000
#define ECHO_BYTES 250
#define COLD_FIRST 10
#define COLD_SLOTS 10

/* ---- the bare service ---- */

static DBusHandlerResult
answer(DBusConnection *connection, DBusMessage *message, void *data)
{
    const char *text = NULL;
    if (dbus_message_get_type(message) != DBUS_MESSAGE_TYPE_METHOD_CALL ||
        !dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    g_autoptr(dbus_message_auto) reply = dbus_message_new_method_return(message);
    dbus_message_append_args(reply, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    dbus_connection_send(connection, reply, NULL);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static void
serve(int ready)
{
    static const DBusObjectPathVTable table = { .message_function = answer };
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    DBusConnection *connection = calls_open_bus();
    loop_attach(connection, NULL);
    if (!dbus_connection_register_object_path(connection, "/", &table, NULL) ||
        dbus_bus_request_name(connection, SERVICE, 0, NULL) != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER)
        g_error("cannot own " SERVICE);
    if (write(ready, "!", 1) != 1)
        g_error("the measuring process is gone");
    g_main_loop_run(loop);
}

static pid_t
start_service(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) != 0)
        g_error("pipe");
    pid_t pid = fork();
    if (pid == 0)
        serve(ends[1]);
    close(ends[1]);
    if (pid < 0 || read(ends[0], &byte, 1) != 1)
        g_error("the echo service did not start");
    close(ends[0]);
    return pid;
}

/* ---- the calls ---- */

static DBusMessage *
new_ping(unsigned number)
{
    return dbus_message_new_method_call(SERVICE, "/", DBUS_INTERFACE_PEER, "Ping");
}

static DBusMessage *
new_echo(unsigned number)
{
    static char text[ECHO_BYTES + 1];
    const char *argument = text;
    memset(text, 'x', ECHO_BYTES);
    DBusMessage *message = dbus_message_new_method_call(SERVICE, "/", "org.hubkey.test.Echo", "Echo");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &argument, DBUS_TYPE_INVALID);
    return message;
}

/* File slots in turn: hubkeyd has the key of one of them loaded at most, the one before. */
static DBusMessage *
new_cold(unsigned number)
{
    return calls_unshared(COLD_FIRST + number % COLD_SLOTS, number);
}

/* Those of them that are not there yet, each a device of its own. */
static void
provision_cold(void)
{
    for (unsigned slot = COLD_FIRST; slot < COLD_FIRST + COLD_SLOTS; slot++) {
        char command[256];
        g_snprintf(command, sizeof command,
                   "hubkeyctl show %u >/dev/null 2>&1 || "
                   "echo 'HostName=bench.azure-devices.net;DeviceId=device-%u;SharedAccessKey=YmVuY2g=' | "
                   "hubkeyctl provision %u --connection-string-file - >&2", slot, slot, slot);
        if (system(command) != 0)
            g_error("cannot provision slot %u", slot);
    }
}

static const struct {
    const char *row;
    DBusMessage *(*make)(unsigned number);
    DBusConnection *(*reach)(void);
    bool needs_service;
    void (*prepare)(void);
} rows[] = {
    { "ping", new_ping, calls_open_bus, true, NULL },
    { "echo", new_echo, calls_open_bus, true, NULL },
    { "token-shared", calls_shared, calls_open_bus, false, NULL },
    { "token-socket", calls_shared, calls_open_socket, false, NULL },
    { "token-fresh", calls_fresh, calls_open_bus, false, NULL },
    { "cold-slot", new_cold, calls_open_bus, false, provision_cold },
};

static void
measure(const char *row, DBusConnection *(*reach)(void), DBusMessage *(*make)(unsigned))
{
    size_t n = timing_samples(SAMPLES);
    g_autofree int64_t *samples = g_new(int64_t, n);
    DBusConnection *connection = reach();
    for (unsigned i = 0; i < WARM_UP + n; i++) {
        g_autoptr(dbus_message_auto) message = make(i);
        int64_t took = calls_round_trip(connection, message);
        if (i >= WARM_UP)
            samples[i - WARM_UP] = took;
    }
    loop_close(connection);
    timing_print(row, samples, n);
}

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows) && argc == 2; i++) {
        if (strcmp(rows[i].row, argv[1]) != 0)
            continue;
        if (rows[i].prepare)
            rows[i].prepare();
        pid_t service = rows[i].needs_service ? start_service() : 0;
        measure(rows[i].row, rows[i].reach, rows[i].make);
        if (service) {
            kill(service, SIGKILL);
            waitpid(service, NULL, 0);
        }
        return 0;
    }
    fprintf(stderr, "usage: bench-bus ping|echo|token-shared|token-socket|token-fresh|cold-slot\n");
    return 2;
}
