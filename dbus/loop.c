/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One GSource a connection polls all its watches and, in the same turn of the loop, hands out what arrived: a call
 * costs one poll. Each DBusTimeout is a source of its own, as they are few and rare.
 *
 * libdbus adds, toggles and removes watches while we walk over them, and a handler may detach or drop the connection
 * it was called for; so a walk only marks what went away, and holds references on loop and connection until it ended.
 */
#include <config.h>

#include "dbus/loop.h"
#include "common/error.h"

#include <stdint.h>
#include <stdlib.h>

/* Messages handed out before other sources get their turn: few, as one who has many under way wakes up at each answer
 * and takes a processor from us. */
#define MESSAGES_A_TURN 2

struct loop {
    GSource source; /* first: GLib allocates the whole struct */
    DBusConnection *connection; /* NULL for a server, and once detached */
    GMainContext *context;
    GPtrArray *watches;  /* struct watch */
    GPtrArray *timeouts; /* struct timeout */
    int walking;         /* depth of walks over watches; nothing is freed meanwhile */
    bool dispatching;    /* libdbus does not hand out from within what it hands out */
};

struct watch {
    DBusWatch *watch; /* NULL once libdbus removed it */
    gpointer tag;     /* NULL while disabled */
};

struct timeout {
    DBusTimeout *timeout;
    GSource *source; /* NULL while disabled */
    struct loop *loop;
};

static dbus_int32_t slot = -1, server_slot = -1;

/* ---- watches ---- */

static GIOCondition
condition_of(DBusWatch *watch)
{
    unsigned flags = dbus_watch_get_flags(watch);
    return (flags & DBUS_WATCH_READABLE ? G_IO_IN : 0) | (flags & DBUS_WATCH_WRITABLE ? G_IO_OUT : 0) | G_IO_ERR |
           G_IO_HUP;
}

static unsigned
flags_of(GIOCondition condition)
{
    return (condition & G_IO_IN ? DBUS_WATCH_READABLE : 0) | (condition & G_IO_OUT ? DBUS_WATCH_WRITABLE : 0) |
           (condition & (G_IO_ERR | G_IO_NVAL) ? DBUS_WATCH_ERROR : 0) | (condition & G_IO_HUP ? DBUS_WATCH_HANGUP : 0);
}

static struct watch *
find_watch(struct loop *loop, DBusWatch *watch)
{
    for (guint i = 0; i < loop->watches->len; i++) {
        struct watch *entry = loop->watches->pdata[i];
        if (entry->watch == watch)
            return entry;
    }
    return NULL;
}

static void
update_watch(struct loop *loop, struct watch *entry, bool enabled)
{
    if (entry->tag)
        g_source_remove_unix_fd(&loop->source, entry->tag);
    entry->tag = enabled ? g_source_add_unix_fd(&loop->source, dbus_watch_get_unix_fd(entry->watch),
                                                condition_of(entry->watch))
                         : NULL;
}

static dbus_bool_t
on_watch_added(DBusWatch *watch, void *data)
{
    struct loop *loop = data;
    struct watch *entry = g_new0(struct watch, 1);
    entry->watch = watch;
    g_ptr_array_add(loop->watches, entry);
    update_watch(loop, entry, dbus_watch_get_enabled(watch));
    return TRUE;
}

static void
on_watch_removed(DBusWatch *watch, void *data)
{
    struct loop *loop = data;
    struct watch *entry = find_watch(loop, watch);
    if (!entry)
        return;
    update_watch(loop, entry, false);
    entry->watch = NULL;
    if (loop->walking == 0)
        g_ptr_array_remove(loop->watches, entry);
}

static void
on_watch_toggled(DBusWatch *watch, void *data)
{
    struct loop *loop = data;
    struct watch *entry = find_watch(loop, watch);
    if (entry)
        update_watch(loop, entry, dbus_watch_get_enabled(watch));
}

static void
handle_watches(struct loop *loop)
{
    loop->walking++;
    for (guint i = 0; i < loop->watches->len; i++) {
        struct watch *entry = loop->watches->pdata[i];
        GIOCondition ready = entry->tag ? g_source_query_unix_fd(&loop->source, entry->tag) : 0;
        if (ready)
            dbus_watch_handle(entry->watch, flags_of(ready));
    }
    if (--loop->walking > 0)
        return;
    for (guint i = loop->watches->len; i-- > 0;)
        if (!((struct watch *)loop->watches->pdata[i])->watch)
            g_ptr_array_remove_index(loop->watches, i);
}

/* ---- timeouts ---- */

static gboolean
on_timeout_due(gpointer data)
{
    struct timeout *entry = data;
    DBusConnection *connection = entry->loop->connection;
    if (connection)
        dbus_connection_ref(connection);
    dbus_timeout_handle(entry->timeout); /* may remove the timeout, and with it the source that runs */
    if (connection)
        dbus_connection_unref(connection);
    return G_SOURCE_CONTINUE;
}

static void
update_timeout(struct timeout *entry, bool enabled)
{
    if (entry->source) {
        g_source_destroy(entry->source);
        g_source_unref(entry->source);
        entry->source = NULL;
    }
    if (!enabled)
        return;
    entry->source = g_timeout_source_new((guint)MAX(dbus_timeout_get_interval(entry->timeout), 0));
    g_source_set_callback(entry->source, on_timeout_due, entry, NULL);
    g_source_attach(entry->source, entry->loop->context);
}

static struct timeout *
find_timeout(struct loop *loop, DBusTimeout *timeout)
{
    for (guint i = 0; i < loop->timeouts->len; i++) {
        struct timeout *entry = loop->timeouts->pdata[i];
        if (entry->timeout == timeout)
            return entry;
    }
    return NULL;
}

static dbus_bool_t
on_timeout_added(DBusTimeout *timeout, void *data)
{
    struct loop *loop = data;
    struct timeout *entry = g_new0(struct timeout, 1);
    *entry = (struct timeout){ .timeout = timeout, .loop = loop };
    g_ptr_array_add(loop->timeouts, entry);
    update_timeout(entry, dbus_timeout_get_enabled(timeout));
    return TRUE;
}

static void
on_timeout_removed(DBusTimeout *timeout, void *data)
{
    struct loop *loop = data;
    struct timeout *entry = find_timeout(loop, timeout);
    if (!entry)
        return;
    update_timeout(entry, false);
    g_ptr_array_remove_fast(loop->timeouts, entry);
}

static void
on_timeout_toggled(DBusTimeout *timeout, void *data)
{
    struct timeout *entry = find_timeout(data, timeout);
    if (entry)
        update_timeout(entry, dbus_timeout_get_enabled(timeout));
}

/* ---- the source ---- */

static gboolean
prepare(GSource *source, gint *timeout_ms)
{
    struct loop *loop = (struct loop *)source;
    *timeout_ms = -1;
    return loop->connection && !loop->dispatching &&
           dbus_connection_get_dispatch_status(loop->connection) == DBUS_DISPATCH_DATA_REMAINS;
}

static gboolean
check(GSource *source)
{
    struct loop *loop = (struct loop *)source;
    if (loop->dispatching)
        return FALSE;
    for (guint i = 0; i < loop->watches->len; i++) {
        struct watch *entry = loop->watches->pdata[i];
        if (entry->tag && g_source_query_unix_fd(source, entry->tag))
            return TRUE;
    }
    return loop->connection && dbus_connection_get_dispatch_status(loop->connection) == DBUS_DISPATCH_DATA_REMAINS;
}

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct loop *loop = (struct loop *)source; /* GLib holds a reference on the source while it runs */
    DBusConnection *connection = loop->connection;

    if (!connection) {
        handle_watches(loop);
        return G_SOURCE_CONTINUE;
    }
    dbus_connection_ref(connection);
    loop->dispatching = true;
    handle_watches(loop);
    int left = MESSAGES_A_TURN;
    while (loop->connection && left-- > 0 && dbus_connection_dispatch(connection) == DBUS_DISPATCH_DATA_REMAINS)
        continue;
    loop->dispatching = false;
    dbus_connection_unref(connection);
    return G_SOURCE_CONTINUE;
}

static void
finalize(GSource *source)
{
    struct loop *loop = (struct loop *)source;
    g_ptr_array_free(loop->watches, TRUE);
    g_ptr_array_free(loop->timeouts, TRUE);
    g_main_context_unref(loop->context);
}

static GSourceFuncs source_functions = {
    .prepare = prepare, .check = check, .dispatch = dispatch, .finalize = finalize
};

/* The loop's own thread looks at the dispatch status anyway before it waits. */
static void
on_wakeup(void *data)
{
    struct loop *loop = data;
    if (!g_main_context_is_owner(loop->context))
        g_main_context_wakeup(loop->context);
}

static struct loop *
loop_new(GMainContext *context, const char *name)
{
    struct loop *loop = (struct loop *)g_source_new(&source_functions, sizeof *loop);
    loop->context = g_main_context_ref(context ? context : g_main_context_default());
    loop->watches = g_ptr_array_new_with_free_func(g_free);
    loop->timeouts = g_ptr_array_new_with_free_func(g_free);
    g_source_set_name(&loop->source, name);
    /* Without this GLib takes the descriptors out of its poll around each dispatch, and wakes itself twice for that:
     * two writes, a read and a poll for nothing. It would be of use to a handler that runs the loop, and none does. */
    g_source_set_can_recurse(&loop->source, TRUE);
    return loop;
}

bool
loop_attach(DBusConnection *connection, GMainContext *context)
{
    if (!dbus_connection_allocate_data_slot(&slot))
        return false;
    struct loop *loop = loop_new(context, "dbus");
    loop->connection = dbus_connection_ref(connection);

    if (!dbus_connection_set_data(connection, slot, loop, NULL) ||
        !dbus_connection_set_watch_functions(connection, on_watch_added, on_watch_removed, on_watch_toggled, loop,
                                             NULL) ||
        !dbus_connection_set_timeout_functions(connection, on_timeout_added, on_timeout_removed, on_timeout_toggled,
                                               loop, NULL)) {
        loop_detach(connection);
        return false;
    }
    dbus_connection_set_wakeup_main_function(connection, on_wakeup, loop, NULL);
    g_source_attach(&loop->source, loop->context);
    return true;
}

void
loop_detach(DBusConnection *connection)
{
    struct loop *loop = slot >= 0 ? dbus_connection_get_data(connection, slot) : NULL;
    if (!loop)
        return;
    dbus_connection_set_data(connection, slot, NULL, NULL);
    /* Each takes back what it had added, by the remove functions above. */
    dbus_connection_set_watch_functions(connection, NULL, NULL, NULL, NULL, NULL);
    dbus_connection_set_timeout_functions(connection, NULL, NULL, NULL, NULL, NULL);
    dbus_connection_set_wakeup_main_function(connection, NULL, NULL, NULL);
    loop->connection = NULL;
    g_source_destroy(&loop->source);
    g_source_unref(&loop->source);
    dbus_connection_free_data_slot(&slot);
    dbus_connection_unref(connection);
}

bool
loop_attach_server(DBusServer *server, GMainContext *context)
{
    if (!dbus_server_allocate_data_slot(&server_slot))
        return false;
    struct loop *loop = loop_new(context, "dbus server");
    if (!dbus_server_set_data(server, server_slot, loop, NULL) ||
        !dbus_server_set_watch_functions(server, on_watch_added, on_watch_removed, on_watch_toggled, loop, NULL) ||
        !dbus_server_set_timeout_functions(server, on_timeout_added, on_timeout_removed, on_timeout_toggled, loop,
                                           NULL)) {
        loop_detach_server(server);
        return false;
    }
    g_source_attach(&loop->source, loop->context);
    return true;
}

void
loop_detach_server(DBusServer *server)
{
    struct loop *loop = server_slot >= 0 ? dbus_server_get_data(server, server_slot) : NULL;
    if (!loop)
        return;
    dbus_server_set_data(server, server_slot, NULL, NULL);
    dbus_server_set_watch_functions(server, NULL, NULL, NULL, NULL, NULL);
    dbus_server_set_timeout_functions(server, NULL, NULL, NULL, NULL, NULL);
    g_source_destroy(&loop->source);
    g_source_unref(&loop->source);
    dbus_server_free_data_slot(&server_slot);
}

/* ---- opening ---- */

static DBusConnection *
opened(DBusConnection *connection, const char *what, DBusError *problem, GError **error)
{
    if (connection) {
        dbus_connection_set_exit_on_disconnect(connection, FALSE);
        return connection;
    }
    error_set(error, ERROR_UNREACHABLE, "cannot reach %s: %s; see that dbus-daemon or dbus-broker is running", what,
              problem->message ? problem->message : "out of memory");
    dbus_error_free(problem);
    return NULL;
}

DBusConnection *
loop_open_address(const char *address, GError **error)
{
    DBusError problem = DBUS_ERROR_INIT;
    return opened(dbus_connection_open_private(address, &problem), address, &problem, error);
}

DBusConnection *
loop_open_socket(const char *path, GError **error)
{
    DBusError problem = DBUS_ERROR_INIT;
    char *escaped = dbus_address_escape_value(path);
    g_autofree char *address = g_strconcat("unix:path=", escaped, NULL);
    dbus_free(escaped);
    DBusConnection *connection = dbus_connection_open_private(address, &problem);
    if (connection) {
        dbus_connection_set_exit_on_disconnect(connection, FALSE);
        return connection;
    }
    error_set(error, ERROR_UNREACHABLE, "cannot reach hubkeyd at %s: %s; see: systemctl status hubkeyd", path,
              problem.message);
    dbus_error_free(&problem);
    return NULL;
}

bool
loop_shake_hands(DBusConnection *connection)
{
    int64_t deadline_us = g_get_monotonic_time() + LOOP_PATIENCE_MS * INT64_C(1000);
    while (dbus_connection_get_is_connected(connection) && !dbus_connection_get_is_authenticated(connection) &&
           g_get_monotonic_time() < deadline_us)
        dbus_connection_read_write(connection, LOOP_PATIENCE_MS);
    return dbus_connection_get_is_authenticated(connection);
}

/* As dbus_bus_register does it, which waits for a bus that hangs without end. */
static bool
say_hello(DBusConnection *connection, DBusError *problem)
{
    const char *name = NULL;
    if (!loop_shake_hands(connection)) {
        dbus_set_error(problem, DBUS_ERROR_NO_REPLY, "it let us in neither at once nor within %d s",
                       LOOP_PATIENCE_MS / 1000);
        return false;
    }
    g_autoptr(dbus_message_auto) hello = dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                                                      DBUS_INTERFACE_DBUS, "Hello");
    g_autoptr(dbus_message_auto) reply =
        hello ? dbus_connection_send_with_reply_and_block(connection, hello, LOOP_PATIENCE_MS, problem) : NULL;
    return reply && dbus_message_get_args(reply, problem, DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID) &&
           dbus_bus_set_unique_name(connection, name);
}

DBusConnection *
loop_open_system_bus(GError **error)
{
    DBusError problem = DBUS_ERROR_INIT;
    /* Read each time, where dbus_bus_get_private would remember the first answer for the life of the process. */
    const char *address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
    DBusConnection *connection = dbus_connection_open_private(address ? address : DBUS_SYSTEM_BUS, &problem);
    if (connection && !say_hello(connection, &problem)) {
        loop_close(connection);
        connection = NULL;
    }
    return opened(connection, "the system bus", &problem, error);
}

void
loop_close(DBusConnection *connection)
{
    if (!connection)
        return;
    loop_detach(connection);
    dbus_connection_close(connection);
    dbus_connection_unref(connection);
}
