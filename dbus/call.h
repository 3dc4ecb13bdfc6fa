/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Outgoing method calls: a reply or an error to one callback, or to a thread that waits.
 *
 * Errors of hubkeyd (org.hubkey.Error.X) come out as the code X of common/error.h with hubkeyd's own sentence. A bus or
 * service that is not there, or that does not answer in time, is ERROR_UNREACHABLE; AccessDenied by the bus is
 * ERROR_NOT_AUTHORIZED; anything else ERROR_INTERNAL with the name and text of the error.
 */
#pragma once

#include <stdbool.h>

#include <dbus/dbus.h>
#include <glib.h>

struct call;

/* Exactly one of reply (borrowed) and error is set. Called once, on the connection's loop; never after call_cancel. */
typedef void (*call_done_fn)(DBusMessage *reply, const GError *error, void *user);

/* Sends message (borrowed) and returns a handle that lives until done was called or call_cancel. timeout_ms above 0.
 * NULL with error set, and done not called, where the connection is closed. */
struct call *call_send(DBusConnection *connection, DBusMessage *message, int timeout_ms, call_done_fn done, void *user,
                       GError **error);

/* NULL is fine. */
void call_cancel(struct call *call);

/* Sends and waits; no other message of the connection is dispatched meanwhile. For short-lived programs and for
 * threads with a connection of their own. The reply is the caller's. */
DBusMessage *call_wait(DBusConnection *connection, DBusMessage *message, int timeout_ms, GError **error);

/* The GError for a D-Bus error's name and text, by the rules above. */
GError *call_error(const char *name, const char *text);
