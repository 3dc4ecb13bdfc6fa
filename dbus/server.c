/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "dbus/server.h"
#include "dbus/loop.h"
#include "common/error.h"
#include "common/seldom.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMPLAINT_GAP_US (60 * G_USEC_PER_SEC) /* connections refused for want of room are logged this often */

struct server {
    DBusServer *server;
    GMainContext *context;
    char *path;
    const struct server_hooks *hooks;
    void *user;
    GQueue peers[2];     /* struct peer: those without rights, those with; silent the longest first */
    GHashTable *per_uid; /* uid -> connections, only above 0 */
    unsigned counted;    /* connections ever taken, for their names */
    struct seldom complaint;
};

/* One connection. */
struct peer {
    GList link;
    struct server *server;
    DBusConnection *connection;
    struct caller *caller;
    bool favoured;
    GSource *limit; /* NULL once it has authenticated, as far as we noticed */
};

/* What a connection would lose if it were closed now. */
enum use {
    IDLE,
    UNREAD, /* answers or signals: how long it takes to read them is up to its owner, so this alone holds no place */
    BUSY,   /* a call: under way, to be handed out, or still in the kernel */
};

/* ---- who ---- */

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

/* ---- one connection ---- */

static void drop_peer(struct peer *peer);

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
    GQueue *peers = &peer->server->peers[peer->favoured];
    stop_limit(peer);
    g_queue_unlink(peers, &peer->link);
    g_queue_push_tail_link(peers, &peer->link);
    if (!dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    drop_peer(peer);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static void
drop_peer(struct peer *peer)
{
    struct server *server = peer->server;
    g_queue_unlink(&server->peers[peer->favoured], &peer->link);
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
        drop_peer(peer);
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
                           .favoured = favoured };
    peer->link.data = peer;
    dbus_connection_set_allow_anonymous(connection, TRUE);
    dbus_connection_set_exit_on_disconnect(connection, FALSE);
    bound(connection);
    if (!loop_attach(connection, server->context) || !dbus_connection_add_filter(connection, on_message, peer, NULL))
        g_error("out of memory: a connection");
    peer->limit = g_timeout_source_new(SERVER_AUTH_LIMIT_MS);
    g_source_set_callback(peer->limit, on_limit, peer, NULL);
    g_source_attach(peer->limit, server->context);
    g_queue_push_tail_link(&server->peers[favoured], &peer->link);
    set_count(server, caller->uid, count_of(server, caller->uid) + 1);
    server->hooks->opened(connection, caller, server->user);
}

/* ---- room for another ---- */

static enum use
use_of(struct peer *peer)
{
    struct server *server = peer->server;
    int fd, unread = 0;
    if (!dbus_connection_get_is_connected(peer->connection))
        return IDLE; /* gone; that it is has still to be handed out */
    if (server->hooks->busy(peer->connection, server->user) ||
        dbus_connection_get_dispatch_status(peer->connection) == DBUS_DISPATCH_DATA_REMAINS ||
        (dbus_connection_get_socket(peer->connection, &fd) && ioctl(fd, FIONREAD, &unread) == 0 && unread > 0))
        return BUSY;
    return dbus_connection_has_messages_to_send(peer->connection) ? UNREAD : IDLE;
}

/* Who makes room, of caller's or (caller NULL) of all: the idle one that has been silent the longest, else such a one
 * that does not read. NULL: all are busy. */
static struct peer *
find_silent(const GQueue *peers, const struct caller *caller)
{
    struct peer *unread = NULL;
    for (const GList *link = peers->head; link; link = link->next) {
        struct peer *peer = link->data;
        enum use use = !caller || peer->caller->uid == caller->uid ? use_of(peer) : BUSY;
        if (use == IDLE)
            return peer;
        if (use == UNREAD && !unread)
            unread = peer;
    }
    return unread;
}

static unsigned
count_all(const struct server *server)
{
    return server->peers[false].length + server->peers[true].length;
}

/* Who has all it may have makes room itself, else who has no rights, and others only for one that has some. */
static bool
make_room(struct server *server, const struct caller *caller, bool favoured, unsigned of_user)
{
    bool is_full = count_all(server) >= SERVER_CONNECTIONS_MAX, has_all = of_user >= SERVER_CONNECTIONS_PER_UID_MAX;
    if (!is_full && !has_all)
        return true;
    const struct caller *own = has_all ? caller : NULL;
    struct peer *silent = find_silent(&server->peers[false], own);
    if (!silent && (has_all || favoured))
        silent = find_silent(&server->peers[true], own);
    if (silent)
        drop_peer(silent);
    return silent != NULL;
}

/* Not each of them: who tries on and on must not fill the log. */
static void
complain(struct server *server, const struct caller *caller, unsigned of_user)
{
    unsigned missed;
    if (!seldom_due(&server->complaint, COMPLAINT_GAP_US, &missed))
        return;
    g_autofree char *more = g_strdup_printf(" (and so were %u since this was last told)", missed);
    g_message(
        "a connection of uid %u to the socket is refused: of at most %d connections %u are open, of at most %d of "
        "one user %u, and none can make room: they have calls under way, or belong to users with rights%s",
        caller->uid, SERVER_CONNECTIONS_MAX, count_all(server), SERVER_CONNECTIONS_PER_UID_MAX, of_user,
        missed ? more : "");
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
        error_set(error, ERROR_INTERNAL,
                  "cannot look at %s, where the private socket belongs: %s; see that hubkeyd may enter its folder",
                  path, g_strerror(errno));
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
    for (int favoured = false; favoured <= true; favoured++)
        while (server->peers[favoured].length > 0)
            drop_peer(server->peers[favoured].head->data);
    g_hash_table_destroy(server->per_uid);
    g_free(server->path);
    g_free(server);
}
