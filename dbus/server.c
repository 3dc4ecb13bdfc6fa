/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "dbus/server.h"
#include "dbus/loop.h"
#include "common/clock.h"
#include "common/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMPLAINT_EVERY_US (10 * G_USEC_PER_SEC) /* connections refused for want of room are logged this often */

struct server {
    DBusServer *server;
    GMainContext *context;
    char *path;
    const struct server_hooks *hooks;
    void *user;
    GPtrArray *peers;    /* struct peer */
    GHashTable *per_uid; /* uid -> connections, only above 0 */
    unsigned counted;    /* connections ever taken, for their names */
    uint64_t heard;      /* things ever heard of connections */
    int64_t complained_us;
};

/* One connection. */
struct peer {
    struct server *server;
    DBusConnection *connection;
    struct caller *caller;
    bool favoured;
    uint64_t heard; /* the count when it was heard of last: who has the smallest has been silent the longest */
    GSource *limit; /* NULL once it has authenticated, as far as we noticed */
};

/* ---- who, and how many ---- */

static unsigned
count_of(struct server *server, uid_t uid)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(server->per_uid, GUINT_TO_POINTER(uid)));
}

static void
set_count(struct server *server, uid_t uid, unsigned count)
{
    if (count)
        g_hash_table_insert(server->per_uid, GUINT_TO_POINTER(uid), GUINT_TO_POINTER(count));
    else
        g_hash_table_remove(server->per_uid, GUINT_TO_POINTER(uid));
}

/* The kernel's word on the other end, in our user namespace. */
static struct caller *
ask_kernel(struct server *server, int fd)
{
    struct ucred credentials;
    socklen_t len = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0)
        return NULL;
    g_autofree gid_t *groups = g_new(gid_t, CALLER_GROUPS_MAX + 1);
    len = CALLER_GROUPS_MAX * sizeof(gid_t);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        len = 0; /* more than we keep: rather none than some */
    size_t n = len / sizeof(gid_t);
    groups[n++] = credentials.gid;
    g_autofree char *name = g_strdup_printf("socket:%u", ++server->counted);
    return caller_new(name, credentials.uid, groups, n);
}

/* The one that makes room first; NULL is later than all. */
static struct peer *
earlier(struct peer *a, struct peer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->favoured != b->favoured)
        return a->favoured ? b : a;
    return a->heard < b->heard ? a : b;
}

/* Of those that may be closed for another connection of caller: of the same user, or of anybody not above it. */
static struct peer *
find_silent(struct server *server, const struct caller *caller, bool favoured, bool same_user)
{
    struct peer *found = NULL;
    for (guint i = 0; i < server->peers->len; i++) {
        struct peer *peer = server->peers->pdata[i];
        bool right = same_user ? peer->caller->uid == caller->uid : favoured || !peer->favoured;
        if (right && !server->hooks->busy(peer->connection, server->user))
            found = earlier(found, peer);
    }
    return found;
}

static bool
make_room(struct server *server, const struct caller *caller, bool favoured, unsigned of_user)
{
    bool is_full = server->peers->len >= SERVER_CONNECTIONS_MAX, has_all = of_user >= SERVER_CONNECTIONS_PER_UID_MAX;
    struct peer *silent = is_full || has_all ? find_silent(server, caller, favoured, has_all) : NULL;
    if (silent)
        g_ptr_array_remove_fast(server->peers, silent);
    return silent || !(is_full || has_all);
}

/* Not each of them: who tries on and on must not fill the log. */
static void
complain(struct server *server, const struct caller *caller, unsigned of_user)
{
    int64_t now = clock_boot_us();
    if (server->complained_us && now - server->complained_us < COMPLAINT_EVERY_US)
        return;
    server->complained_us = now;
    g_message("a connection of uid %u to the socket is refused: of at most %d connections %u are open, of at most %d of "
              "one user %u, and all have calls under way", caller->uid, SERVER_CONNECTIONS_MAX, server->peers->len,
              SERVER_CONNECTIONS_PER_UID_MAX, of_user);
}

/* ---- one connection ---- */

static void
stop_limit(struct peer *peer)
{
    if (!peer->limit)
        return;
    g_source_destroy(peer->limit);
    g_source_unref(peer->limit);
    peer->limit = NULL;
}

static DBusHandlerResult
on_message(DBusConnection *connection, DBusMessage *message, void *data)
{
    struct peer *peer = data;
    stop_limit(peer);
    peer->heard = ++peer->server->heard;
    if (!dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    g_ptr_array_remove_fast(peer->server->peers, peer);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static void
free_peer(gpointer data)
{
    struct peer *peer = data;
    struct server *server = peer->server;
    stop_limit(peer);
    server->hooks->closed(peer->connection, peer->caller, server->user);
    dbus_connection_remove_filter(peer->connection, on_message, peer);
    set_count(server, peer->caller->uid, count_of(server, peer->caller->uid) - 1);
    loop_close(peer->connection);
    caller_unref(peer->caller);
    g_free(peer);
}

static gboolean
on_limit(gpointer data)
{
    struct peer *peer = data;
    if (dbus_connection_get_is_authenticated(peer->connection))
        stop_limit(peer);
    else
        g_ptr_array_remove_fast(peer->server->peers, peer);
    return G_SOURCE_CONTINUE; /* either way the source is destroyed */
}

static void
bound(DBusConnection *connection)
{
    dbus_connection_set_max_message_size(connection, SERVER_MESSAGE_MAX);
    dbus_connection_set_max_received_size(connection, SERVER_RECEIVED_MAX);
    dbus_connection_set_max_message_unix_fds(connection, SERVER_MESSAGE_FDS_MAX);
    dbus_connection_set_max_received_unix_fds(connection, SERVER_RECEIVED_FDS_MAX);
}

static void
add_peer(struct server *server, DBusConnection *connection, struct caller *caller, bool favoured)
{
    struct peer *peer = g_new(struct peer, 1);
    *peer = (struct peer){ .server = server, .connection = dbus_connection_ref(connection), .caller = caller,
                           .favoured = favoured, .heard = ++server->heard };
    dbus_connection_set_allow_anonymous(connection, TRUE);
    dbus_connection_set_exit_on_disconnect(connection, FALSE);
    bound(connection);
    if (!loop_attach(connection, server->context) || !dbus_connection_add_filter(connection, on_message, peer, NULL))
        g_error("out of memory: a connection");
    peer->limit = g_timeout_source_new(SERVER_AUTH_LIMIT_MS);
    g_source_set_callback(peer->limit, on_limit, peer, NULL);
    g_source_attach(peer->limit, server->context);
    g_ptr_array_add(server->peers, peer);
    set_count(server, caller->uid, count_of(server, caller->uid) + 1);
    server->hooks->opened(connection, caller, server->user);
}

/* libdbus closes a connection that nobody refers to when this returns. */
static void
on_connection(DBusServer *dbus_server, DBusConnection *connection, void *data)
{
    struct server *server = data;
    int fd;
    struct caller *caller = dbus_connection_get_socket(connection, &fd) ? ask_kernel(server, fd) : NULL;
    if (!caller)
        return;
    unsigned of_user = count_of(server, caller->uid);
    bool favoured = server->hooks->favoured(caller, server->user);
    if (make_room(server, caller, favoured, of_user)) {
        add_peer(server, connection, caller, favoured);
        return;
    }
    complain(server, caller, of_user);
    caller_unref(caller);
}

/* ---- the socket ---- */

static bool
remove_stale(const char *path, GError **error)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno == ENOENT)
            return true;
        error_set(error, ERROR_INTERNAL, "cannot look at %s, where the private socket belongs: %s; see that hubkeyd may "
                  "enter its folder", path, g_strerror(errno));
        return false;
    }
    if (S_ISSOCK(info.st_mode) && unlink(path) == 0)
        return true;
    error_set(error, ERROR_INTERNAL, "%s is in the way of the private socket; remove it", path);
    return false;
}

static DBusServer *
listen_at(const char *path, GError **error)
{
    static const char *mechanisms[] = { "EXTERNAL", "ANONYMOUS", NULL }; /* not COOKIE_SHA1, which needs a home */
    DBusError problem = DBUS_ERROR_INIT;
    char *escaped = dbus_address_escape_value(path);
    g_autofree char *address = g_strconcat("unix:path=", escaped, NULL);
    dbus_free(escaped);
    DBusServer *server = dbus_server_listen(address, &problem);
    if (!server) {
        error_set(error, ERROR_INTERNAL, "cannot listen at %s: %s", path, problem.message);
        dbus_error_free(&problem);
        return NULL;
    }
    if (!dbus_server_set_auth_mechanisms(server, mechanisms))
        g_error("out of memory: the private socket");
    return server;
}

struct server *
server_new(const char *path, GMainContext *context, const struct server_hooks *hooks, void *user, GError **error)
{
    DBusServer *listening = remove_stale(path, error) ? listen_at(path, error) : NULL;
    if (!listening)
        return NULL;
    struct server *server = g_new(struct server, 1);
    *server = (struct server){ .server = listening, .context = context, .path = g_strdup(path), .hooks = hooks };
    server->user = user;
    server->peers = g_ptr_array_new_with_free_func(free_peer);
    server->per_uid = g_hash_table_new(NULL, NULL);
    dbus_server_set_new_connection_function(listening, on_connection, server, NULL);
    if (!loop_attach_server(listening, context))
        g_error("out of memory: the private socket");
    if (chmod(path, 0666) == 0) /* who may is decided call by call */
        return server;
    error_set(error, ERROR_INTERNAL, "cannot open %s to everybody: %s", path, g_strerror(errno));
    server_free(server);
    return NULL;
}

void
server_free(struct server *server)
{
    if (!server)
        return;
    loop_detach_server(server->server);
    dbus_server_disconnect(server->server);
    dbus_server_unref(server->server);
    unlink(server->path);
    g_ptr_array_free(server->peers, TRUE);
    g_hash_table_destroy(server->per_uid);
    g_free(server->path);
    g_free(server);
}
