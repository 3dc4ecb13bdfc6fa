/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A dbus-daemon of the test's own on a socket in a directory of its own; needs no privilege. It dies with the test.
 */
#pragma once

#include <stdbool.h>

#include <dbus/dbus.h>
#include <glib.h>

struct private_bus {
    char *dir;
    char *address;
    GPid pid; /* 0 once it was killed */
};

/* Ends the test program where the bus does not come up within 20 s. */
struct private_bus *private_bus_start(void);
void private_bus_kill(struct private_bus *bus); /* SIGKILL and reaped; the address stays, nobody listens */
void private_bus_stop(struct private_bus *bus); /* the same, and frees; NULL is fine */

/* A registered connection on the default main context; end it with loop_close. */
DBusConnection *private_bus_connect(struct private_bus *bus);

/* Sends message (taken) and runs the default main context until its answer is there: the reply, or NULL and the error,
 * as call_done_fn gets them. */
DBusMessage *private_bus_call(DBusConnection *connection, DBusMessage *message, GError **error);
