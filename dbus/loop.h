/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Marries libdbus-1 to GLib: watches, timeouts and dispatching of a connection on a GMainContext. Everything runs on
 * the thread that iterates the context.
 */
#pragma once

#include <stdbool.h>

#include <dbus/dbus.h>
#include <glib.h>

/* context NULL means the default one. The loop holds a reference on the connection until loop_detach. False when
 * memory runs out. */
bool loop_attach(DBusConnection *connection, GMainContext *context);
void loop_detach(DBusConnection *connection);

/* The same for a server, which has watches and timeouts but nothing to dispatch. */
bool loop_attach_server(DBusServer *server, GMainContext *context);
void loop_detach_server(DBusServer *server);

#define LOOP_PATIENCE_MS 5000 /* that whoever is connected to may take to let us in, and a bus to give us a name */

/* A private connection to the system bus (DBUS_SYSTEM_BUS_ADDRESS where set, read each time), registered there, or to
 * whoever listens at address, not registered as a bus would need it (dbus_bus_register). Neither ends the process when
 * the other side goes away. Not attached to any loop. Close with loop_close. */
DBusConnection *loop_open_system_bus(GError **error);
DBusConnection *loop_open_address(const char *address, GError **error);
/* The same to hubkeyd's private socket. */
DBusConnection *loop_open_socket(const char *path, GError **error);

/* Waits until the other side has let us in: false where it does not. What libdbus sends before that, it sends without
 * heeding any timeout. The handshake takes several turns of reading and writing, and libdbus does not say which of the
 * two it waits for, so that a poll of one's own could not drive it. */
bool loop_shake_hands(DBusConnection *connection);

/* Detaches if attached, closes and drops the reference. NULL is fine. */
void loop_close(DBusConnection *connection);

typedef DBusMessage dbus_message_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(dbus_message_auto, dbus_message_unref)
