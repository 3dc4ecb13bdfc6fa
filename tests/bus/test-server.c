/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * dbus/server.c: who is at the other end, and the bounds of everything that a connection can make us hold. Clients live
 * in the same loop, so nothing here waits for the server but by running it.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/loop.h"
#include "dbus/object.h"
#include "dbus/server.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"
#include "tests/lib/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define DEMO "org.hubkey.test.Demo1"
#define SOME_UID 54321 /* nobody in passwd need have it: the kernel's word is enough */
#define SOME_GID 54322
#define FAVOURED_UID 64321 /* of those who have rights */

struct fixture {
    char *folder, *path;
    struct server *server;
    GHashTable *objects; /* connection -> struct object */
    struct caller *last;    /* of the newest connection */
    DBusConnection *newest; /* that, at our end */
    int opened, closed;
    int calls;
    bool all_favoured;
    GPtrArray *held; /* struct object_request: calls that are not answered yet */
};

/* A connection of a user that says nothing; root only where that is somebody else. */
static int
connect_as(struct fixture *fixture, uid_t uid)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_strlcpy(address.sun_path, fixture->path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(seteuid(uid), ==, 0);
    int done = connect(fd, (struct sockaddr *)&address, sizeof address);
    g_assert_cmpint(done == 0 ? 0 : errno, ==, 0);
    g_assert_cmpint(seteuid(getuid()), ==, 0);
    return fd;
}

/* The server has closed it. What it may have said first is read away. */
static bool
is_shut(void *user)
{
    char bytes[4096];
    ssize_t n;
    while ((n = recv(*(int *)user, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        continue;
    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* ---- the service ---- */

static void
on_size(struct object_request *request, void *user)
{
    struct fixture *fixture = user;
    const char *text = "";
    fixture->calls++;
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    dbus_uint32_t n = (dbus_uint32_t)strlen(text);
    object_reply(request, DBUS_TYPE_UINT32, &n, DBUS_TYPE_INVALID);
}

static void
on_fill(struct object_request *request, void *user)
{
    static char text[16 << 10];
    const char *start = text;
    memset(text, 'x', sizeof text - 1);
    object_reply(request, DBUS_TYPE_STRING, &start, DBUS_TYPE_INVALID);
}

static void
on_hold(struct object_request *request, void *user)
{
    struct fixture *fixture = user;
    g_ptr_array_add(fixture->held, request);
    fixture->calls++;
}

static void
answer_held(struct fixture *fixture)
{
    for (guint i = 0; i < fixture->held->len; i++)
        object_reply(fixture->held->pdata[i], DBUS_TYPE_INVALID);
    g_ptr_array_set_size(fixture->held, 0);
}

/* Is answered, and before anything else is read of its connection another one comes, and is shut out. */
static void
on_linger(struct object_request *request, void *user)
{
    object_reply(request, DBUS_TYPE_INVALID);
    int newcomer = connect_as(user, getuid());
    g_assert_true(await(is_shut, &newcomer));
    close(newcomer);
}

static const struct object_interface demo = {
    .name = DEMO,
    .methods =
        (const struct object_method[]){
            { "Size", "s", "u", "text bytes", 0, on_size },
            { "Fill", "", "s", "text", 0, on_fill },
            { "Hold", "", "", "", 0, on_hold },
            { "Linger", "", "", "", 0, on_linger },
            { NULL },
        },
    .signals = (const struct object_signal[]){ { "Changed", "", "" }, { NULL } },
};

static void
on_opened(DBusConnection *connection, struct caller *caller, void *user)
{
    static const struct object_interface *const interfaces[] = { &demo, NULL };
    struct fixture *fixture = user;
    g_autoptr(GError) error = NULL;
    struct object *object = object_add(connection, "/demo", false, interfaces, NULL, fixture, &error);
    g_assert_no_error(error);
    g_hash_table_insert(fixture->objects, connection, object);
    fixture->newest = connection;
    caller_unref(fixture->last);
    fixture->last = caller_ref(caller);
    fixture->opened++;
}

static void
on_closed(DBusConnection *connection, struct caller *caller, void *user)
{
    struct fixture *fixture = user;
    g_assert_true(g_hash_table_remove(fixture->objects, connection));
    fixture->closed++;
}

static bool
is_busy(DBusConnection *connection, void *user)
{
    struct fixture *fixture = user;
    return !object_is_idle(g_hash_table_lookup(fixture->objects, connection));
}

static bool
is_favoured(const struct caller *caller, void *user)
{
    const struct fixture *fixture = user;
    return fixture->all_favoured || caller->uid == FAVOURED_UID;
}

static const struct server_hooks hooks = { .opened = on_opened, .closed = on_closed, .busy = is_busy,
                                           .favoured = is_favoured };

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    fixture->folder = folder_new();
    fixture->held = g_ptr_array_new();
    fixture->path = g_build_filename(fixture->folder, "socket", NULL);
    g_assert_cmpint(g_chmod(fixture->folder, 0755), ==, 0);
    fixture->objects = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)object_remove);
    fixture->server = server_new(fixture->path, NULL, &hooks, fixture, &error);
    g_assert_no_error(error);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    server_free(fixture->server);
    g_assert_cmpint(fixture->opened, ==, fixture->closed);
    g_assert_cmpuint(g_hash_table_size(fixture->objects), ==, 0);
    g_assert_false(g_file_test(fixture->path, G_FILE_TEST_EXISTS));
    g_hash_table_destroy(fixture->objects);
    g_ptr_array_free(fixture->held, TRUE);
    caller_unref(fixture->last);
    g_free(fixture->path);
    folder_remove(fixture->folder);
}

/* ---- clients ---- */

static DBusConnection *
connect_client(struct fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    int before = fixture->opened;
    DBusConnection *client = loop_open_socket(fixture->path, &error);
    g_assert_no_error(error);
    g_assert_true(loop_attach(client, NULL));
    g_assert_true(await_count(&fixture->opened, before + 1));
    return client;
}

static DBusMessage *
size_message(size_t n)
{
    g_autofree char *text = g_strnfill(n, 'a');
    const char *start = text;
    DBusMessage *message = dbus_message_new_method_call(NULL, "/demo", DEMO, "Size");
    g_assert_true(dbus_message_append_args(message, DBUS_TYPE_STRING, &start, DBUS_TYPE_INVALID));
    return message;
}

struct asking {
    DBusConnection *client;
    DBusPendingCall *call;
};

static bool
is_over(void *user)
{
    const struct asking *asking = user;
    return dbus_pending_call_get_completed(asking->call) || !dbus_connection_get_is_connected(asking->client);
}

/* What answers message (taken): NULL where the connection ends first. */
static DBusMessage *
ask(DBusConnection *client, DBusMessage *message)
{
    struct asking asking = { .client = client };
    g_assert_true(dbus_connection_send_with_reply(client, message, &asking.call, 10000));
    dbus_message_unref(message);
    g_assert_nonnull(asking.call);
    g_assert_true(await(is_over, &asking));
    bool answered = dbus_pending_call_get_completed(asking.call);
    DBusMessage *reply = answered ? dbus_pending_call_steal_reply(asking.call) : NULL;
    dbus_pending_call_cancel(asking.call);
    dbus_pending_call_unref(asking.call);
    return reply;
}

static bool
is_served(DBusConnection *client)
{
    g_autoptr(dbus_message_auto) reply = ask(client, size_message(3));
    return reply && dbus_message_get_type(reply) == DBUS_MESSAGE_TYPE_METHOD_RETURN;
}

/* ---- the socket ---- */

static void
test_file(struct fixture *fixture, gconstpointer unused)
{
    struct stat info;
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(stat(fixture->path, &info), ==, 0);
    g_assert_true(S_ISSOCK(info.st_mode));
    g_assert_cmpint(info.st_mode & 07777, ==, 0666);
    /* One that a killed server left is replaced: this one is taken for such. */
    struct server *next = server_new(fixture->path, NULL, &hooks, fixture, &error);
    g_assert_no_error(error);
    DBusConnection *client = connect_client(fixture);
    g_assert_true(is_served(client));
    loop_close(client);
    g_assert_true(await_count(&fixture->closed, 1));
    server_free(next);
    /* What is no socket is somebody's file. */
    g_free(folder_file(fixture->folder, "file", "x", 1));
    g_autofree char *file = g_build_filename(fixture->folder, "file", NULL);
    g_assert_null(server_new(file, NULL, &hooks, fixture, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_true(strstr(error->message, "in the way") && g_file_test(file, G_FILE_TEST_IS_REGULAR));
    g_clear_error(&error);
    /* What cannot even be looked at is told with why. */
    g_autofree char *below = g_build_filename(file, "socket", NULL);
    g_assert_null(server_new(below, NULL, &hooks, fixture, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_true(strstr(error->message, "cannot look at") && strstr(error->message, g_strerror(ENOTDIR)));
}

/* ---- who ---- */

static void
test_caller(struct fixture *fixture, gconstpointer unused)
{
    const gid_t groups[] = { 7, SOME_GID };
    if (getuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    g_assert_cmpint(setgroups(G_N_ELEMENTS(groups), groups), ==, 0);
    int fd = connect_as(fixture, SOME_UID);
    g_assert_cmpint(setgroups(0, NULL), ==, 0);
    g_assert_true(await_count(&fixture->opened, 1));
    g_assert_cmpint(fixture->last->uid, ==, SOME_UID); /* and not root, whose process it is */
    g_assert_true(caller_in_group(fixture->last, 7) && caller_in_group(fixture->last, SOME_GID));
    g_assert_true(caller_in_group(fixture->last, getgid())); /* the primary one */
    g_assert_false(caller_in_group(fixture->last, 8));
    g_assert_true(g_str_has_prefix(fixture->last->name, "socket:"));
    g_autofree char *name = g_strdup(fixture->last->name);
    close(fd);
    g_assert_true(await_count(&fixture->closed, 1));
    fd = connect_as(fixture, SOME_UID);
    g_assert_true(await_count(&fixture->opened, 2));
    g_assert_cmpstr(name, !=, fixture->last->name); /* names are never used twice */
    close(fd);
}

/* ---- bounds ---- */

static void
close_all(GArray *fds)
{
    for (guint i = 0; i < fds->len; i++)
        close(g_array_index(fds, int, i));
    g_array_set_size(fds, 0);
}

/* One that authenticates, and then is silent. */
static void
add_as(struct fixture *fixture, GArray *fds, uid_t uid)
{
    static const char hello[] = "\0AUTH ANONYMOUS\r\nBEGIN\r\n";
    int before = fixture->opened, fd = connect_as(fixture, uid);
    g_array_append_val(fds, fd);
    g_assert_cmpint(send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL), ==, sizeof hello - 1);
    g_assert_true(await_count(&fixture->opened, before + 1));
}

static bool
is_nth_shut(GArray *fds, guint n)
{
    return await(is_shut, &g_array_index(fds, int, n));
}

static bool
is_open(GArray *fds, guint n)
{
    await_idle();
    return !is_shut(&g_array_index(fds, int, n));
}

static DBusPendingCall *
hold(struct fixture *fixture, DBusConnection *client)
{
    g_autoptr(dbus_message_auto) message = dbus_message_new_method_call(NULL, "/demo", DEMO, "Hold");
    DBusPendingCall *call;
    int before = fixture->calls;
    g_assert_true(dbus_connection_send_with_reply(client, message, &call, DBUS_TIMEOUT_INFINITE));
    g_assert_true(await_count(&fixture->calls, before + 1));
    return call;
}

/* Above its share, a user's own connections make room: the one that has been silent the longest and waits for
 * nothing. */
static void
test_caps(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    DBusConnection *waiting = connect_client(fixture), *talking = connect_client(fixture);
    DBusPendingCall *call = hold(fixture, waiting);
    while (fds->len < SERVER_CONNECTIONS_PER_UID_MAX - 2)
        add_as(fixture, fds, getuid());
    g_assert_true(is_served(talking)); /* now it is the newest */
    g_assert_cmpint(fixture->closed, ==, 0);
    add_as(fixture, fds, getuid());
    g_assert_true(await_count(&fixture->closed, 1));
    g_assert_true(is_nth_shut(fds, 0));
    g_assert_true(is_served(talking));
    g_assert_true(is_open(fds, 1));
    answer_held(fixture);
    await_idle();
    g_assert_true(dbus_connection_get_is_connected(waiting));
    dbus_pending_call_cancel(call);
    dbus_pending_call_unref(call);
    loop_close(waiting);
    loop_close(talking);
    close_all(fds);
    g_assert_true(await_count(&fixture->closed, fixture->opened));
}

static bool
can_fill(void)
{
    struct rlimit files;
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &files), ==, 0);
    files.rlim_cur = files.rlim_max;
    if (getuid() == 0 && files.rlim_max >= 3 * SERVER_CONNECTIONS_MAX && setrlimit(RLIMIT_NOFILE, &files) == 0)
        return true;
    g_test_skip("needs root, and room for both ends of all connections");
    return false;
}

/* Takes what is left of a user's share. */
static void
fill_share(struct fixture *fixture, GArray *fds)
{
    while (fixture->opened - fixture->closed < SERVER_CONNECTIONS_PER_UID_MAX)
        add_as(fixture, fds, getuid());
    await_idle();
}

static void
send_call(int fd, const char *member)
{
    g_autoptr(dbus_message_auto) message = dbus_message_new_method_call(NULL, "/demo", DEMO, member);
    char *bytes;
    int n;
    dbus_message_set_serial(message, 1);
    g_assert_true(dbus_message_marshal(message, &bytes, &n));
    g_assert_cmpint(send(fd, bytes, (size_t)n, MSG_NOSIGNAL), ==, n);
    dbus_free(bytes);
}

/* All from the n-th on wait for an answer. */
static void
hold_from(struct fixture *fixture, GArray *fds, guint n)
{
    for (; n < fds->len; n++) {
        int before = fixture->calls;
        send_call(g_array_index(fds, int, n), "Hold");
        g_assert_true(await_count(&fixture->calls, before + 1));
    }
}

static void
end_all(struct fixture *fixture, GArray *fds)
{
    answer_held(fixture);
    close_all(fds);
    g_assert_true(await_count(&fixture->closed, fixture->opened));
}

/* A call that was sent counts before anybody has looked at it: the newcomer is let in first. */
static void
test_sent(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    fill_share(fixture, fds);
    send_call(g_array_index(fds, int, 0), "Hold");
    int newcomer = connect_as(fixture, getuid());
    g_array_append_val(fds, newcomer);
    g_assert_true(await_count(&fixture->calls, 1));
    g_assert_true(is_nth_shut(fds, 1));
    g_assert_true(is_open(fds, 0));
    end_all(fixture, fds);
}

/* So does one that was read and waits its turn behind another of the same connection. */
static void
test_queued(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    fill_share(fixture, fds);
    hold_from(fixture, fds, 1);
    int calls = fixture->calls, opened = fixture->opened;
    send_call(g_array_index(fds, int, 0), "Linger");
    send_call(g_array_index(fds, int, 0), "Hold");
    g_assert_true(await_count(&fixture->calls, calls + 1));
    g_assert_true(fixture->opened == opened && fixture->closed == 0); /* nobody can make room */
    end_all(fixture, fds);
}

/* Who does not read its answers goes last, but it goes: else a few bytes would hold a place for ever. */
static void
test_unread_last(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    add_as(fixture, fds, getuid());
    while (!dbus_connection_has_messages_to_send(fixture->newest)) {
        send_call(g_array_index(fds, int, 0), "Fill");
        await_idle();
        g_assert_cmpint(fixture->closed, ==, 0);
    }
    fill_share(fixture, fds);
    add_as(fixture, fds, getuid());
    g_assert_true(is_nth_shut(fds, 1));
    g_assert_cmpint(fixture->closed, ==, 1);
    hold_from(fixture, fds, 2);
    add_as(fixture, fds, getuid());
    g_assert_cmpint(fixture->closed, ==, 2);
    g_assert_true(is_nth_shut(fds, 0));
    end_all(fixture, fds);
}

/* Somebody with many user IDs takes all places, and gives them up again one by one: never those of who has rights. */
static void
test_total(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (!can_fill())
        return;
    add_as(fixture, fds, FAVOURED_UID); /* and it has been silent for longer than any other */
    for (int n = 1; n < SERVER_CONNECTIONS_MAX; n++)
        add_as(fixture, fds, SOME_UID + (uid_t)n);
    g_assert_cmpint(fixture->closed, ==, 0);
    add_as(fixture, fds, SOME_UID);
    g_assert_true(await_count(&fixture->closed, 1));
    g_assert_true(is_nth_shut(fds, 1));
    add_as(fixture, fds, FAVOURED_UID);
    g_assert_true(await_count(&fixture->closed, 2));
    g_assert_true(is_nth_shut(fds, 2));
    g_assert_true(is_open(fds, 0) && is_open(fds, 3));
    g_assert_cmpint(fixture->opened - fixture->closed, ==, SERVER_CONNECTIONS_MAX);
    close_all(fds);
    g_assert_true(await_count(&fixture->closed, fixture->opened));
}

static int complaints;
static char *complaint; /* the last */

static GLogWriterOutput
keep_complaint(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer unused)
{
    for (gsize i = 0; i < n; i++)
        if (strcmp(fields[i].key, "MESSAGE") == 0 && strstr(fields[i].value, "to the socket is refused")) {
            complaints++;
            g_free(complaint);
            complaint = g_strdup(fields[i].value);
        }
    return g_log_writer_default(level, fields, n, NULL);
}

static void
be_refused(struct fixture *fixture)
{
    int surplus = connect_as(fixture, SOME_UID + SERVER_CONNECTIONS_MAX), opened = fixture->opened;
    g_assert_true(await(is_shut, &surplus));
    g_assert_true(fixture->opened == opened && fixture->closed == 0);
    close(surplus);
}

/* Where all places belong to who has rights, others get none, which is told once a minute; their own make room. */
static void
test_favoured(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (!can_fill())
        return;
    fixture->all_favoured = true;
    for (int n = 0; n < SERVER_CONNECTIONS_MAX; n++)
        add_as(fixture, fds, SOME_UID + (uid_t)n);
    fixture->all_favoured = false;
    complaints = 0;
    fake_clock_install();
    for (int i = 0; i < 40; i++)
        be_refused(fixture);
    g_assert_cmpint(complaints, ==, 1);
    fake_clock_pass((int64_t)60 * G_USEC_PER_SEC);
    be_refused(fixture);
    g_assert_cmpint(complaints, ==, 2);
    g_assert_nonnull(strstr(complaint, "(and so were 39 since this was last told)"));
    fake_clock_remove();
    add_as(fixture, fds, FAVOURED_UID);
    g_assert_true(await_count(&fixture->closed, 1));
    g_assert_true(is_nth_shut(fds, 0));
    close_all(fds);
    g_assert_true(await_count(&fixture->closed, fixture->opened));
}

/* Who does not authenticate within the limit is shut out; who has, and says nothing, may stay. */
static void
test_half_open(struct fixture *fixture, gconstpointer unused)
{
    DBusConnection *client = connect_client(fixture);
    int silent = connect_as(fixture, getuid()), half = connect_as(fixture, getuid());
    gint64 start = g_get_monotonic_time();
    g_assert_cmpint(send(half, "\0AUTH EXTERNAL 30\r\n", 19, MSG_NOSIGNAL), ==, 19); /* and never BEGIN */
    g_assert_true(await(is_shut, &silent));
    g_assert_true(await(is_shut, &half));
    gint64 ms = (g_get_monotonic_time() - start) / 1000;
    g_assert_cmpint(ms, >=, SERVER_AUTH_LIMIT_MS - 100);
    g_assert_cmpint(ms, <, SERVER_AUTH_LIMIT_MS * 3);
    g_assert_true(is_served(client));
    loop_close(client);
    close(silent);
    close(half);
}

static void
test_message_size(struct fixture *fixture, gconstpointer unused)
{
    DBusConnection *client = connect_client(fixture);
    g_autoptr(dbus_message_auto) fits = ask(client, size_message(OBJECT_ARGUMENTS_MAX - 1));
    g_assert_cmpint(dbus_message_get_type(fits), ==, DBUS_MESSAGE_TYPE_METHOD_RETURN);
    g_autoptr(dbus_message_auto) refused = ask(client, size_message(SERVER_MESSAGE_MAX - 1024));
    g_assert_cmpstr(dbus_message_get_error_name(refused), ==, "org.hubkey.Error.InvalidArgument");
    int calls = fixture->calls;
    g_assert_null(ask(client, size_message(SERVER_MESSAGE_MAX)));
    g_assert_cmpint(fixture->calls, ==, calls);
    g_assert_true(await_count(&fixture->closed, 1));
    loop_close(client);
}

static void
test_descriptors(struct fixture *fixture, gconstpointer unused)
{
    DBusConnection *client = connect_client(fixture);
    g_assert_true(is_served(client));
    DBusMessage *message = dbus_message_new_method_call(NULL, "/demo", DEMO, "Size");
    for (int i = 0; i <= SERVER_MESSAGE_FDS_MAX; i++) {
        int fd = STDERR_FILENO;
        g_assert_true(dbus_message_append_args(message, DBUS_TYPE_UNIX_FD, &fd, DBUS_TYPE_INVALID));
    }
    g_assert_null(ask(client, message));
    g_assert_true(await_count(&fixture->closed, 1));
    loop_close(client);
}

/* A client that asks and never reads the answers. */
static void
test_unread(struct fixture *fixture, gconstpointer unused)
{
    DBusConnection *client = connect_client(fixture);
    g_assert_true(is_served(client));
    loop_detach(client); /* from here on nothing is read */
    for (int i = 0; i < 200 && fixture->closed == 0; i++) {
        g_autoptr(dbus_message_auto) message = dbus_message_new_method_call(NULL, "/demo", DEMO, "Fill");
        g_assert_true(dbus_connection_send(client, message, NULL));
        dbus_connection_flush(client);
        await_idle();
    }
    g_assert_true(await_count(&fixture->closed, 1));
    loop_close(client);
}

/* Nor does one that only listens, and does not even do that. */
static void
test_unread_signals(struct fixture *fixture, gconstpointer unused)
{
    DBusConnection *client = connect_client(fixture), *other = connect_client(fixture);
    g_assert_true(is_served(client));
    g_assert_true(is_served(other));
    loop_detach(client);
    for (int i = 0; i < 20000 && fixture->closed == 0; i++) {
        GHashTableIter iter;
        void *object;
        for (g_hash_table_iter_init(&iter, fixture->objects); g_hash_table_iter_next(&iter, NULL, &object);)
            object_signal(object, "/demo", DEMO, "Changed", DBUS_TYPE_INVALID);
        await_idle();
    }
    g_assert_true(await_count(&fixture->closed, 1));
    g_assert_true(is_served(other)); /* who reads stays */
    loop_close(client);
    loop_close(other);
}

/* Whatever bytes come: the connection ends, the server does not. */
static void
test_nonsense(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *bytes;
        int n;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", 18 },
        { "\0AUTH\r\nAUTH\r\nAUTH\r\nBEGIN\r\n", 26 },
        { "\0AUTH ANONYMOUS\r\nBEGIN\r\nl\1\0\1\377\377\377\377\1\0\0\0\377\377\377\377", 40 },
        { "\0AUTH ANONYMOUS\r\nBEGIN\r\nX\1\0\1\0\0\0\0\1\0\0\0\0\0\0\0", 40 },
        { "\0AUTH DBUS_COOKIE_SHA1 30\r\nAUTH NONE\r\nCANCEL\r\nBEGIN\r\n", 54 },
    };
    DBusConnection *client = connect_client(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        int fd = connect_as(fixture, getuid());
        g_assert_cmpint(send(fd, rows[i].bytes, (size_t)rows[i].n, MSG_NOSIGNAL), ==, rows[i].n);
        g_assert_true(await(is_shut, &fd));
        close(fd);
        g_assert_true(is_served(client));
    }
    loop_close(client);
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_writer_func(keep_complaint, NULL, NULL);
    ADD("/server/file", test_file);
    ADD("/server/caller", test_caller);
    ADD("/server/caps", test_caps);
    ADD("/server/sent", test_sent);
    ADD("/server/queued", test_queued);
    ADD("/server/unread-last", test_unread_last);
    ADD("/server/total", test_total);
    ADD("/server/favoured", test_favoured);
    ADD("/server/half-open", test_half_open);
    ADD("/server/message-size", test_message_size);
    ADD("/server/descriptors", test_descriptors);
    ADD("/server/unread", test_unread);
    ADD("/server/unread-signals", test_unread_signals);
    ADD("/server/nonsense", test_nonsense);
    int failed = g_test_run();
    g_free(complaint);
    dbus_shutdown();
    return failed;
}
