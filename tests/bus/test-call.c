/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * dbus/loop.c and dbus/call.c on a bus of their own.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/call.h"
#include "dbus/loop.h"
#include "tests/lib/await.h"
#include "tests/lib/private-bus.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>

struct seen {
    int calls;
    int code;              /* 0 for a reply */
    DBusConnection *close; /* closed by the callback */
    struct call *cancel;   /* cancelled by the callback */
};

static void
on_done(DBusMessage *reply, const GError *error, void *user)
{
    struct seen *seen = user;
    g_assert_true((reply == NULL) != (error == NULL));
    seen->calls++;
    seen->code = error ? error->code : 0;
    loop_close(seen->close);
    call_cancel(seen->cancel);
    seen->cancel = NULL;
}

static bool
was_called(void *user)
{
    return ((struct seen *)user)->calls > 0;
}

static DBusMessage *
new_message(const char *destination, const char *path, const char *interface, const char *member)
{
    DBusMessage *message = dbus_message_new_method_call(destination, path, interface, member);
    g_assert_nonnull(message);
    return message;
}

static DBusMessage *
bus_message(const char *member)
{
    return new_message(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, member);
}

static void
test_no_bus(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(loop_open_address("unix:path=/nonexistent/socket", &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_clear_error(&error);

    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/socket", TRUE);
    g_assert_null(loop_open_system_bus(&error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    loop_close(NULL);
    call_cancel(NULL);
}

/* The variable is read anew each time, and what is opened is registered. */
static void
test_system_bus(void)
{
    for (int i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        struct private_bus *bus = private_bus_start();
        g_setenv("DBUS_SYSTEM_BUS_ADDRESS", bus->address, TRUE);
        DBusConnection *connection = loop_open_system_bus(&error);
        g_assert_no_error(error);
        g_assert_nonnull(dbus_bus_get_unique_name(connection));
        loop_close(connection);
        g_unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
        private_bus_stop(bus);
    }
}

/* Whoever is stopped accepts connections all the same, because the kernel does, and answers nothing. */
static void
test_hung(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(dbus_message_auto) message = bus_message("GetId");
    struct private_bus *bus = private_bus_start();
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", bus->address, TRUE);
    int64_t begun_us = g_get_monotonic_time();
    kill(bus->pid, SIGSTOP);
    g_assert_null(loop_open_system_bus(&error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_assert_nonnull(strstr(error->message, "within 5 s"));
    g_clear_error(&error);

    DBusConnection *connection = loop_open_address(bus->address, &error);
    g_assert_no_error(error);
    g_assert_null(call_wait(connection, message, 1000, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_assert_cmpint(g_get_monotonic_time() - begun_us, <, 3 * LOOP_PATIENCE_MS * INT64_C(1000));
    loop_close(connection);
    kill(bus->pid, SIGCONT);
    g_unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    private_bus_stop(bus);
}

static void
test_error_names(void)
{
    static const struct {
        const char *name;
        int code;
    } rows[] = {
        { "org.hubkey.Error.SlotInUse", ERROR_SLOT_IN_USE },
        { "org.hubkey.Error.Busy", ERROR_BUSY },
        { "org.hubkey.Error.Newer", ERROR_INTERNAL },
        { DBUS_ERROR_SERVICE_UNKNOWN, ERROR_UNREACHABLE },
        { DBUS_ERROR_NAME_HAS_NO_OWNER, ERROR_UNREACHABLE },
        { DBUS_ERROR_NO_REPLY, ERROR_UNREACHABLE },
        { DBUS_ERROR_TIMED_OUT, ERROR_UNREACHABLE },
        { DBUS_ERROR_DISCONNECTED, ERROR_UNREACHABLE },
        { DBUS_ERROR_SPAWN_CHILD_EXITED, ERROR_UNREACHABLE },
        { "org.freedesktop.systemd1.NoSuchUnit", ERROR_UNREACHABLE },
        { DBUS_ERROR_ACCESS_DENIED, ERROR_NOT_AUTHORIZED },
        { DBUS_ERROR_UNKNOWN_METHOD, ERROR_INTERNAL },
        { "com.example.Odd", ERROR_INTERNAL },
        { NULL, ERROR_INTERNAL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = call_error(rows[i].name, i % 2 ? "why" : NULL);
        g_assert_error(error, ERROR_DOMAIN, rows[i].code);
    }
    g_autoptr(GError) own = call_error("org.hubkey.Error.NoSpace", "the words of hubkeyd");
    g_assert_cmpstr(own->message, ==, "the words of hubkeyd");
    g_autoptr(GError) odd = call_error("com.example.Odd", "why");
    g_assert_cmpstr(odd->message, ==, "com.example.Odd: why");
}

static void
test_answers(void)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = private_bus_start();
    DBusConnection *connection = private_bus_connect(bus);
    g_autoptr(dbus_message_auto) reply = private_bus_call(connection, bus_message("GetId"), &error);
    g_assert_no_error(error);
    g_assert_true(dbus_message_has_signature(reply, "s"));

    g_assert_null(private_bus_call(connection, new_message("org.hubkey", "/", "a.b", "C"), &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_clear_error(&error);
    g_assert_null(private_bus_call(connection, bus_message("NoSuchThing"), &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    loop_close(connection);
    private_bus_stop(bus);
}

/* Two connections, the second never reads: the call ends by its own timeout. */
static void
test_timeout(void)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = private_bus_start();
    DBusConnection *connection = private_bus_connect(bus), *deaf = private_bus_connect(bus);
    loop_detach(deaf);
    loop_detach(deaf); /* nothing to do, and no harm */
    struct seen seen = { 0 };
    g_autoptr(dbus_message_auto) message = new_message(dbus_bus_get_unique_name(deaf), "/", "a.b", "C");
    g_assert_nonnull(call_send(connection, message, 30, on_done, &seen, &error));
    g_assert_true(await(was_called, &seen));
    g_assert_cmpint(seen.code, ==, ERROR_UNREACHABLE);

    g_autoptr(dbus_message_auto) again = new_message(dbus_bus_get_unique_name(deaf), "/", "a.b", "C");
    g_assert_null(call_wait(connection, again, 30, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    loop_close(connection);
    loop_close(deaf);
    private_bus_stop(bus);
}

static void
test_cancel(void)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = private_bus_start();
    DBusConnection *connection = private_bus_connect(bus);
    struct seen cancelled = { 0 }, kept = { 0 };
    g_autoptr(dbus_message_auto) message = bus_message("GetId");
    call_cancel(call_send(connection, message, 5000, on_done, &cancelled, &error));
    /* The answer to the first cancels the second, whose answer comes right behind. */
    g_autoptr(dbus_message_auto) second = bus_message("GetId");
    g_autoptr(dbus_message_auto) third = bus_message("GetId");
    g_assert_nonnull(call_send(connection, second, 5000, on_done, &kept, &error));
    kept.cancel = call_send(connection, third, 5000, on_done, &cancelled, &error);
    g_assert_true(await(was_called, &kept));
    g_autoptr(dbus_message_auto) later = private_bus_call(connection, bus_message("GetId"), &error);
    g_assert_nonnull(later);
    g_assert_cmpint(cancelled.calls, ==, 0);
    g_assert_cmpint(kept.calls, ==, 1);
    loop_close(connection);
    private_bus_stop(bus);
}

/* The callback closes the very connection it is called for, with more answers waiting behind. */
static void
test_close_inside(void)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = private_bus_start();
    DBusConnection *connection = private_bus_connect(bus);
    struct seen first = { .close = connection }, second = { 0 };
    g_autoptr(dbus_message_auto) one = bus_message("GetId"), two = bus_message("GetId");
    g_assert_nonnull(call_send(connection, one, 5000, on_done, &first, &error));
    struct call *behind = call_send(connection, two, 5000, on_done, &second, &error);
    g_assert_nonnull(behind);
    g_assert_true(await(was_called, &first));
    g_assert_cmpint(first.code, ==, 0);
    while (g_main_context_iteration(NULL, FALSE))
        continue;
    g_assert_cmpint(first.calls, ==, 1);
    g_assert_cmpint(second.calls, ==, 0);
    call_cancel(behind); /* still valid, though its connection is closed */
    private_bus_stop(bus);
}

static void
test_bus_dies(void)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = private_bus_start();
    DBusConnection *connection = private_bus_connect(bus), *deaf = private_bus_connect(bus);
    loop_detach(deaf);
    struct seen seen = { 0 };
    g_autoptr(dbus_message_auto) message = new_message(dbus_bus_get_unique_name(deaf), "/", "a.b", "C");
    g_assert_nonnull(call_send(connection, message, 60000, on_done, &seen, &error));
    private_bus_kill(bus);
    g_assert_true(await(was_called, &seen));
    g_assert_cmpint(seen.code, ==, ERROR_UNREACHABLE);

    g_autoptr(dbus_message_auto) late = bus_message("GetId");
    g_assert_null(call_send(connection, late, 1000, on_done, &seen, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_clear_error(&error);
    g_assert_null(call_wait(connection, late, 1000, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNREACHABLE);
    g_assert_cmpint(seen.calls, ==, 1);
    loop_close(connection);
    loop_close(deaf);
    private_bus_stop(bus);
}

static gpointer
call_on_own_context(gpointer user)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = user;
    GMainContext *context = g_main_context_new();
    struct seen seen = { 0 };
    DBusConnection *connection = loop_open_address(bus->address, &error);
    g_assert_no_error(error);
    g_assert_true(dbus_bus_register(connection, NULL));
    g_assert_true(loop_attach(connection, context));
    for (int i = 0; i < 200; i++) {
        g_autoptr(dbus_message_auto) message = bus_message("GetId");
        seen.calls = 0;
        g_assert_nonnull(call_send(connection, message, 5000, on_done, &seen, &error));
        while (seen.calls == 0)
            g_main_context_iteration(context, TRUE);
        g_assert_cmpint(seen.code, ==, 0);
    }
    loop_close(connection);
    g_main_context_unref(context);
    return NULL;
}

static void
test_contexts(void)
{
    GThread *threads[4];
    dbus_threads_init_default();
    struct private_bus *bus = private_bus_start();
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("caller", call_on_own_context, bus);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    private_bus_stop(bus);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/call/no-bus", test_no_bus);
    g_test_add_func("/call/hung", test_hung);
    g_test_add_func("/call/error-names", test_error_names);
    g_test_add_func("/call/bus-dies", test_bus_dies);
    g_test_add_func("/call/timeout", test_timeout);
    g_test_add_func("/call/cancel", test_cancel);
    g_test_add_func("/call/close-inside", test_close_inside);
    g_test_add_func("/call/answers", test_answers);
    g_test_add_func("/loop/system-bus", test_system_bus);
    g_test_add_func("/loop/contexts", test_contexts);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
