/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The private socket: D-Bus without a bus, for containers and for speed. A caller is who the kernel says is at the
 * other end of the socket (SO_PEERCRED, SO_PEERGROUPS: of the moment it connected), whatever it claimed when it
 * authenticated. Clients in user namespaces claim users that mean nothing here, so ANONYMOUS is accepted for transport.
 *
 * Everybody on the machine can connect, so everything a connection can make us hold has a bound; what waits to be read
 * by it is bounded by OBJECT_UNREAD_MAX.
 *
 * A connection may be idle for as long as there is room. Where there is none, a new one takes the place of the one that
 * has been silent the longest: of the same user where that has all it may have, else of anybody, but of a favoured one
 * only for another favoured one. So neither forgotten connections nor a user with thousands of user IDs (its range of
 * subordinate ones) can hold all places. Who has a call under way, or one that was sent and not looked at yet, is not
 * closed; a new one is refused where all have. Who has not read its answers goes after those that are idle: it could
 * leave them unread for ever.
 */
#pragma once

#include "dbus/caller.h"

#define SERVER_CONNECTIONS_MAX 1024        /* in all */
#define SERVER_CONNECTIONS_PER_UID_MAX 128 /* of one user */
#define SERVER_AUTH_LIMIT_MS 5000          /* to authenticate */
#define SERVER_MESSAGE_MAX (64 << 10)      /* bytes of one message; a longer one ends its connection */
#define SERVER_RECEIVED_MAX (128 << 10)    /* bytes received and not yet answered, of one connection; more wait */
#define SERVER_MESSAGE_FDS_MAX 4           /* descriptors with one message; more end its connection */
#define SERVER_RECEIVED_FDS_MAX 8          /* and with all of a connection that are not yet answered */

struct server;

struct server_hooks {
    /* A connection is there, attached to the loop; caller is borrowed, and lives as long as it does. */
    void (*opened)(DBusConnection *connection, struct caller *caller, void *user);
    /* It is gone; nothing can be sent any more. */
    void (*closed)(DBusConnection *connection, struct caller *caller, void *user);
    /* Whether a call of it is under way. */
    bool (*busy)(DBusConnection *connection, void *user);
    /* Whether caller has rights here, and so must find a place whoever takes them; asked when it connects. */
    bool (*favoured)(const struct caller *caller, void *user);
};

/* Listens at path, which must be in a directory of ours: what a killed server left there is replaced. Mode 0666. */
struct server *server_new(const char *path, GMainContext *context, const struct server_hooks *hooks, void *user,
                          GError **error);

/* Closes all connections (closed is called for each) and removes the socket. NULL is fine. */
void server_free(struct server *server);
