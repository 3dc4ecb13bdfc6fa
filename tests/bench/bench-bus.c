/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Round trips over the sandbox's bus: Ping and an echo of a bare service, and tokens of hubkeyd - one scope for all, a
 * scope never asked for before, or that of a slot whose key is not loaded. And over hubkeyd's private socket: one scope
 * for all. floor-shared and floor-fresh are calls of the least service that could give tokens, from a text that is
 * there and by a thread that has the TPM; minimal asks it where bench-minimal runs already.
 */
#include <config.h>

#include "tests/bench/calls.h"
#include "tests/bench/echo.h"
#include "tests/bench/minimal.h"
#include "tests/bench/ready.h"
#include "dbus/loop.h"

#include <string.h>

#define COLD_FIRST 10
#define COLD_SLOTS 10

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
                   "hubkeyctl provision %u --connection-string-file - >&2",
                   slot, slot, slot);
        if (system(command) != 0)
            g_error("cannot provision slot %u", slot);
    }
}

static const struct {
    const char *row;
    DBusMessage *(*make)(unsigned number);
    DBusConnection *(*reach)(void);
    pid_t (*serve)(void); /* NULL: it is there */
    void (*prepare)(void);
} rows[] = {
    { "ping", echo_new_ping, calls_open_bus, echo_start, NULL },
    { "echo", echo_new_call, calls_open_bus, echo_start, NULL },
    { "token-shared", calls_shared, calls_open_bus, NULL, NULL },
    { "token-socket", calls_shared, calls_open_socket, NULL, NULL },
    { "token-fresh", calls_fresh, calls_open_bus, NULL, NULL },
    { "floor-shared", minimal_new_ready, calls_open_bus, minimal_start, NULL },
    { "floor-fresh", minimal_new_thread, calls_open_bus, minimal_start, NULL },
    { "minimal", minimal_new_inline, calls_open_bus, NULL, NULL },
    { "cold-slot", new_cold, calls_open_bus, NULL, provision_cold },
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows) && argc == 2; i++) {
        if (strcmp(rows[i].row, argv[1]) != 0)
            continue;
        if (rows[i].prepare)
            rows[i].prepare();
        pid_t service = rows[i].serve ? rows[i].serve() : 0;
        DBusConnection *connection = rows[i].reach();
        calls_measure(rows[i].row, connection, rows[i].make);
        loop_close(connection);
        if (service)
            ready_stop(service);
        return 0;
    }
    fprintf(stderr, "usage: bench-bus ping|echo|token-shared|token-socket|token-fresh|floor-shared|floor-fresh|"
                    "minimal|cold-slot\n");
    return 2;
}
