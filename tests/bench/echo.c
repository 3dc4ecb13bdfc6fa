/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/bench/echo.h"

#include "tests/bench/calls.h"
#include "tests/bench/ready.h"
#include "dbus/loop.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define SERVICE "org.hubkey.test.Echo"
#define ECHO_BYTES 250

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
    ready_tell(ready);
    g_main_loop_run(loop);
}

pid_t
echo_start(void)
{
    return ready_start(serve, "the echo service");
}

DBusMessage *
echo_new_ping(unsigned number)
{
    return dbus_message_new_method_call(SERVICE, "/", DBUS_INTERFACE_PEER, "Ping");
}

DBusMessage *
echo_new_call(unsigned number)
{
    static char text[ECHO_BYTES + 1];
    const char *argument = text;
    memset(text, 'x', ECHO_BYTES);
    DBusMessage *message = dbus_message_new_method_call(SERVICE, "/", SERVICE, "Echo");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &argument, DBUS_TYPE_INVALID);
    return message;
}
