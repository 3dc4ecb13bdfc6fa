/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * When a connection ends, libdbus forgets the calls under way without a word to who made them. So each connection's
 * calls are kept in a list, and all of them end with the Disconnected message that libdbus makes itself.
 */
#include <config.h>

#include "dbus/call.h"
#include "common/error.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <string.h>

struct registry {
    GQueue calls; /* struct call, oldest first */
};

struct call {
    GList link; /* in its connection's registry */
    struct registry *registry;
    DBusPendingCall *pending;
    call_done_fn done;
    void *user;
};

/* Names that mean "nobody there" or "no answer", and what to tell the operator about each. */
static const struct {
    const char *name;
    const char *advice;
} unreachable[] = {
    { DBUS_ERROR_SERVICE_UNKNOWN, "hubkeyd is not running; start it with: systemctl start hubkeyd" },
    { DBUS_ERROR_NAME_HAS_NO_OWNER, "hubkeyd is not running; start it with: systemctl start hubkeyd" },
    { DBUS_ERROR_NO_REPLY, "no answer came in time, or hubkeyd ended; see: systemctl status hubkeyd" },
    { DBUS_ERROR_TIMEOUT, "no answer came in time; see: systemctl status hubkeyd" },
    { DBUS_ERROR_TIMED_OUT, "no answer came in time; see: systemctl status hubkeyd" },
    { DBUS_ERROR_DISCONNECTED, "the connection to the bus is gone; see that dbus-daemon or dbus-broker is running" },
    { DBUS_ERROR_NO_SERVER, "nobody listens there; see that dbus-daemon or dbus-broker is running" },
    { DBUS_ERROR_FILE_NOT_FOUND, "the socket is missing; see that dbus-daemon or dbus-broker is running" },
};

/* The bus could not start hubkeyd: its own launcher's errors, or systemd's. */
static bool
is_activation_failure(const char *name)
{
    return g_str_has_prefix(name, "org.freedesktop.DBus.Error.Spawn.") ||
           g_str_has_prefix(name, "org.freedesktop.systemd1.");
}

GError *
call_error(const char *name, const char *text)
{
    if (!name)
        name = DBUS_ERROR_FAILED;
    if (!text)
        text = "";
    if (g_str_has_prefix(name, NAMES_ERROR_PREFIX))
        return g_error_new_literal(ERROR_DOMAIN, error_from_name(name + strlen(NAMES_ERROR_PREFIX)), text);
    for (size_t i = 0; i < G_N_ELEMENTS(unreachable); i++)
        if (strcmp(name, unreachable[i].name) == 0)
            return g_error_new(ERROR_DOMAIN, ERROR_UNREACHABLE, "%s (%s)", unreachable[i].advice, text);
    if (is_activation_failure(name))
        return g_error_new(ERROR_DOMAIN, ERROR_UNREACHABLE,
                           "hubkeyd could not be started; see: systemctl status hubkeyd (%s)", text);
    if (strcmp(name, DBUS_ERROR_ACCESS_DENIED) == 0)
        return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                           "the bus refused the message; see that its policy file org.hubkey.conf is installed (%s)",
                           text);
    return g_error_new(ERROR_DOMAIN, ERROR_INTERNAL, "%s: %s", name, text);
}

static GError *
closed_error(void)
{
    return call_error(DBUS_ERROR_DISCONNECTED, "the message was not sent");
}

/* The error inside a reply, NULL where it is none. */
static GError *
error_of_reply(DBusMessage *reply)
{
    if (dbus_message_get_type(reply) != DBUS_MESSAGE_TYPE_ERROR)
        return NULL;
    const char *text = NULL;
    dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    return call_error(dbus_message_get_error_name(reply), text);
}

/* Takes the call out of the list and frees it. */
static void
forget(struct call *call)
{
    g_queue_unlink(&call->registry->calls, &call->link);
    dbus_pending_call_unref(call->pending);
    g_free(call);
}

static void
on_reply(DBusPendingCall *pending, void *user)
{
    struct call *call = user;
    g_autoptr(dbus_message_auto) reply = dbus_pending_call_steal_reply(pending);
    g_autoptr(GError) error = reply ? error_of_reply(reply) : closed_error();
    call_done_fn done = call->done;
    void *done_user = call->user;

    forget(call);
    done(error ? NULL : reply, error, done_user);
}

static DBusHandlerResult
on_message(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct registry *registry = user; /* lives as long as the connection, which libdbus holds meanwhile */
    if (!dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    while (registry->calls.length > 0) {
        struct call *call = registry->calls.head->data;
        g_autoptr(GError) error = closed_error();
        call_done_fn done = call->done;
        void *done_user = call->user;
        dbus_pending_call_cancel(call->pending);
        forget(call);
        done(NULL, error, done_user);
    }
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static dbus_int32_t slot = -1;

static void
registry_free(void *registry)
{
    g_free(registry);
    dbus_connection_free_data_slot(&slot);
}

static struct registry *
registry_of(DBusConnection *connection)
{
    if (!dbus_connection_allocate_data_slot(&slot))
        g_error("out of memory: a D-Bus call");
    struct registry *registry = dbus_connection_get_data(connection, slot);
    if (registry) {
        dbus_connection_free_data_slot(&slot); /* the registry has a reference of its own */
        return registry;
    }
    registry = g_new0(struct registry, 1);
    if (!dbus_connection_set_data(connection, slot, registry, registry_free) ||
        !dbus_connection_add_filter(connection, on_message, registry, NULL))
        g_error("out of memory: a D-Bus call");
    return registry;
}

struct call *
call_send(DBusConnection *connection, DBusMessage *message, int timeout_ms, call_done_fn done, void *user,
          GError **error)
{
    DBusPendingCall *pending = NULL;
    if (!dbus_connection_send_with_reply(connection, message, &pending, timeout_ms))
        g_error("out of memory: a D-Bus call");
    if (!pending) {
        g_propagate_error(error, closed_error());
        return NULL;
    }
    struct call *call = g_new(struct call, 1);
    *call = (struct call){ .registry = registry_of(connection), .pending = pending, .done = done, .user = user };
    call->link.data = call;
    g_queue_push_tail_link(&call->registry->calls, &call->link);
    if (!dbus_pending_call_set_notify(pending, on_reply, call, NULL))
        g_error("out of memory: a D-Bus call");
    return call;
}

void
call_cancel(struct call *call)
{
    if (!call)
        return;
    dbus_pending_call_cancel(call->pending);
    forget(call);
}

DBusMessage *
call_wait(DBusConnection *connection, DBusMessage *message, int timeout_ms, GError **error)
{
    DBusError problem = DBUS_ERROR_INIT;
    if (!loop_shake_hands(connection)) {
        g_propagate_error(error, dbus_connection_get_is_connected(connection)
                                     ? call_error(DBUS_ERROR_NO_REPLY, "it did not let us in")
                                     : closed_error());
        return NULL;
    }
    DBusMessage *reply = dbus_connection_send_with_reply_and_block(connection, message, timeout_ms, &problem);
    if (!reply) {
        g_propagate_error(error, call_error(problem.name, problem.message));
        dbus_error_free(&problem);
    }
    return reply;
}
