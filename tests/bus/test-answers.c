/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/bus.c and a hubkeyd that cannot be trusted, which a process of its own plays: what it says goes into a header
 * of HTTP.
 */
#include <config.h>

#include "client/bus.h"
#include "common/error.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "tests/lib/folder.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOOD "SharedAccessSignature sr=h&sig=x&se=2000000000"

/* The answer is that of the slot's row. */
static const struct {
    const char *token;
    size_t filled; /* in its place so many bytes */
    dbus_uint64_t expires;
    int code; /* of the error; -1: none */
} rows[] = {
    { GOOD, 0, 2000000000, -1 },
    { "", 4096, 2000000000, -1 },
    { GOOD "\r\nX-More: 1", 0, 2000000000, ERROR_INTERNAL },
    { GOOD "\nX", 0, 2000000000, ERROR_INTERNAL },
    { GOOD "\tX", 0, 2000000000, ERROR_INTERNAL },
    { GOOD "\xc3\xa4", 0, 2000000000, ERROR_INTERNAL },
    { "", 0, 2000000000, ERROR_INTERNAL },
    { "", 4097, 2000000000, ERROR_INTERNAL },
    { GOOD, 0, UINT64_MAX, ERROR_INTERNAL },
    { "", 70000, 2000000000, ERROR_UNREACHABLE }, /* the connection ends */
};

/* ---- hubkeyd, in the child */

static DBusMessage *
answer_properties(DBusMessage *call)
{
    DBusMessage *reply = dbus_message_new_method_return(call);
    DBusMessageIter arguments, none;
    dbus_message_iter_init_append(reply, &arguments);
    dbus_message_iter_open_container(&arguments, DBUS_TYPE_ARRAY, "{sv}", &none);
    dbus_message_iter_close_container(&arguments, &none);
    return reply;
}

static DBusMessage *
answer_token(DBusMessage *call, const char *before)
{
    unsigned slot = 0;
    g_assert_cmpint(sscanf(dbus_message_get_path(call), NAMES_SLOTS "/%u", &slot), ==, 1);
    g_assert_cmpuint(slot, <, G_N_ELEMENTS(rows));
    g_autofree char *filling = g_strnfill(rows[slot].filled, 'x');
    g_autofree char *text = g_strconcat(before, rows[slot].token, filling, NULL);
    DBusMessage *reply = dbus_message_new_method_return(call);
    dbus_message_append_args(reply, DBUS_TYPE_STRING, &text, DBUS_TYPE_UINT64, &rows[slot].expires, DBUS_TYPE_INVALID);
    return reply;
}

static DBusHandlerResult
on_call(DBusConnection *connection, DBusMessage *call, void *user)
{
    if (dbus_message_get_type(call) != DBUS_MESSAGE_TYPE_METHOD_CALL)
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    g_autoptr(dbus_message_auto) reply = strcmp(dbus_message_get_member(call), "GetAll") == 0 ? answer_properties(call)
                                         : strcmp(dbus_message_get_member(call), "GetToken") == 0
                                             ? answer_token(call, "")
                                             : answer_token(call, "HostName=h;DeviceId=d;"
                                                                  "SharedAccessSignature=");
    dbus_connection_send(connection, reply, NULL);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static void
on_connection(DBusServer *server, DBusConnection *connection, void *user)
{
    dbus_connection_ref(connection);
    dbus_connection_add_filter(connection, on_call, NULL, NULL);
    loop_attach(connection, NULL);
}

static pid_t
start_hubkeyd(const char *path)
{
    g_autofree char *address = g_strconcat("unix:path=", path, NULL);
    DBusServer *server = dbus_server_listen(address, NULL);
    g_assert_nonnull(server);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dbus_server_set_new_connection_function(server, on_connection, NULL, NULL);
    loop_attach_server(server, NULL);
    while (true)
        g_main_context_iteration(NULL, TRUE);
}

/* ---- libhubkey */

static void
check_error(size_t row, GError *error)
{
    if (rows[row].code < 0) {
        g_assert_no_error(error);
        return;
    }
    g_assert_error(error, ERROR_DOMAIN, rows[row].code);
    g_assert_null(strstr(error->message, "sig="));
}

static void
check_ask(const char *path, size_t row)
{
    struct bus *bus = bus_new((uint32_t)row, path);
    struct bus_answer answer = { 0 };
    g_autoptr(GError) error = NULL;
    bus_ask(bus, 0);
    while (!bus_take(bus, &answer, &error)) {
        bool writable;
        int64_t deadline_us;
        GPollFD poll = { .fd = bus_fd(bus, &writable, &deadline_us), .events = G_IO_IN };
        poll.events = (gushort)(G_IO_IN | (writable ? G_IO_OUT : 0));
        g_poll(&poll, poll.fd >= 0, 1000);
        bus_process(bus);
    }
    check_error(row, error);
    g_assert_true((answer.token == NULL) == (error != NULL));
    bus_answer_clear(&answer);
    bus_free(bus);
}

static void
check_token(const char *path, size_t row)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_s = 0;
    g_autofree char *token = bus_get_token((uint32_t)row, path, "", 0, &expires_s, &error);
    check_error(row, error);
    g_assert_true((token == NULL) == (error != NULL));
    g_assert_cmpint(expires_s, ==, token ? 2000000000 : 0);
}

static void
test_tokens(void)
{
    char *folder = folder_new();
    g_autofree char *path = g_build_filename(folder, "socket", NULL);
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/socket", TRUE);
    pid_t hubkeyd = start_hubkeyd(path);
    for (size_t row = 0; row < G_N_ELEMENTS(rows); row++) {
        check_ask(path, row);
        check_token(path, row);
    }
    kill(hubkeyd, SIGKILL);
    waitpid(hubkeyd, NULL, 0);
    folder_remove(folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/answers/tokens", test_tokens);
    return g_test_run();
}
