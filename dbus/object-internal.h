/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What object.c, object-introspect.c and object-properties.c share. Nobody else includes this.
 */
#pragma once

#include "dbus/object.h"

struct object {
    DBusConnection *connection;
    char *path;
    bool fallback;
    bool removed;
    const struct object_interface *const *interfaces;
    const struct object_hooks *hooks;
    void *user;
    int references;               /* one of object_add's user, one a request */
    struct object_request *spare; /* answered requests, kept so that a call allocates nothing of ours */
    int n_spare;
};

/* ---- object-bounds.c ---- */

/* Whether path and arguments of a call are short enough to be looked at. */
bool object_within_bounds(DBusMessage *message);

/* Refuses what is not before libdbus looks for its object: that takes the path apart, a string for each element, and
 * keeps a process busy and large for seconds when there are millions. Once a connection. */
void object_guard(DBusConnection *connection);

/* ---- object.c ---- */

const struct object_interface *object_find_interface(const struct object *object, const char *name);

/* Sends message (borrowed). The bus reads whatever it is sent; who is at the other end of a connection without one may
 * not, and what waits for it is memory of ours: that connection is closed at OBJECT_UNREAD_MAX. */
void object_send(DBusConnection *connection, DBusMessage *message);

/* Sends an error answer to message, unless its sender wants none. */
void object_send_error(DBusConnection *connection, DBusMessage *message, const char *name, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
void object_send_gerror(DBusConnection *connection, DBusMessage *message, const GError *error);
/* Takes reply. */
void object_send_reply(DBusConnection *connection, DBusMessage *message, DBusMessage *reply);

/* ---- object-introspect.c ---- */

/* The XML up to the closing tag. */
char *object_introspect_open(const struct object_interface *const *interfaces);
/* Answers Introspect at path. */
void object_introspect_answer(struct object *object, DBusMessage *message, const char *path, bool is_own);

/* ---- object-properties.c ---- */

/* Answers Get, GetAll or Set of org.freedesktop.DBus.Properties; arguments are of the right types. */
void object_properties_get(struct object *object, DBusMessage *message, const char *path);
void object_properties_get_all(struct object *object, DBusMessage *message, const char *path);
void object_properties_set(struct object *object, DBusMessage *message, const char *path);
