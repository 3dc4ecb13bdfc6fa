/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Objects as tables: one row per method, property and signal. Introspection, dispatch, argument checks, Properties and
 * Peer all come from the same rows, so they cannot disagree. Replies may be given at once or later; a request whose
 * caller has left is answered into the void without harm.
 *
 * Everything runs on the connection's loop thread.
 */
#pragma once

#include <stdbool.h>

#include <dbus/dbus.h>
#include <glib.h>

#define OBJECT_ARGUMENTS_MAX 8192 /* bytes of a call's arguments; more is InvalidArgument before all else */
#define OBJECT_UNREAD_MAX (128 << 10) /* bytes sent that a peer has not read; with more, its connection is closed */
#define OBJECT_ERROR_MAX 1024     /* bytes of an error's text; the rest is cut off */

/* One method call that waits for its answer. Owned by whoever will answer it: object_reply, object_reply_message,
 * object_reply_copy and object_fail consume it. */
struct object_request;

typedef void (*object_method_fn)(struct object_request *request, void *user);

struct object_method {
    const char *name;
    const char *in;        /* signature of the arguments, "" for none */
    const char *out;       /* signature of the reply */
    const char *arguments; /* their names, in then out, separated by spaces: "scope ttl token expires" */
    int access;            /* class of access, handed to the permit hook; the tables' user gives it meaning */
    object_method_fn call; /* entered only with arguments of the signature in, and after permit */
};

struct object_property {
    const char *name;
    const char *signature;
    /* Appends one value of signature to iter; only called where exists said yes. */
    void (*get)(const char *path, DBusMessageIter *iter, void *user);
    bool constant; /* EmitsChangedSignal: const, else invalidates */
};

struct object_signal {
    const char *name;
    const char *signature;
    const char *arguments;
};

/* Arrays end with a row whose name is NULL. */
struct object_interface {
    const char *name;
    const struct object_method *methods;
    const struct object_property *properties;
    const struct object_signal *signals;
};

struct object_hooks {
    /* Decides whether the request may go on, now or later: ends in request's row being entered by object_enter, or in
     * object_fail. NULL: everything is entered. Not asked for Introspectable, Properties and Peer. */
    void (*permit)(struct object_request *request, int access, void *user);
    /* Whether the properties of the object at path can be read; sets error otherwise. NULL: yes. */
    bool (*exists)(const char *path, void *user, GError **error);
    /* Names of the nodes below path, for introspection; g_strfreev. Only asked of fallback paths. NULL: none. */
    char **(*children)(const char *path, void *user);
};

struct object;

/* Registers the interfaces at path; with fallback, also at every path below it (methods then ask object_path; path
 * itself answers only Introspectable and Peer, nothing else). interfaces: array that ends with NULL, tables and hooks
 * must outlive the object. Wrong argument types are answered with org.hubkey.Error.InvalidArgument that names the
 * signature expected, unknown methods, interfaces and properties with the standard org.freedesktop.DBus.Error names,
 * Properties.Set with PropertyReadOnly. */
struct object *object_add(DBusConnection *connection, const char *path, bool fallback,
                          const struct object_interface *const *interfaces, const struct object_hooks *hooks,
                          void *user, GError **error);
void object_remove(struct object *object); /* requests that are still unanswered stay valid */
/* No call of it waits for its answer. */
bool object_is_idle(const struct object *object);

/* Enters the method's row; for permit. */
void object_enter(struct object_request *request);

/* What a request asks. All borrowed, valid until it is answered. */
DBusMessage *object_message(struct object_request *request);
DBusConnection *object_connection(struct object_request *request);
const char *object_path(struct object_request *request);
const char *object_sender(struct object_request *request); /* unique name; NULL on a peer connection */
const struct object_method *object_row(struct object_request *request);

/* What the object was added for. */
void *object_user(struct object_request *request);

/* Room for what a row remembers until it answers, all zero when the row is entered; it ends with the request. */
#define OBJECT_ROOM_BYTES 96
void *object_room(struct object_request *request);

/* Something that the permit hook found out, for the row: freed with the request. */
void object_set_data(struct object_request *request, void *data, GDestroyNotify destroy);
void *object_data(struct object_request *request); /* borrowed; NULL where none was set */

/* Answers. The arguments of object_reply are those of dbus_message_append_args, ending in DBUS_TYPE_INVALID. No answer
 * is sent where the caller asked for none. */
void object_reply(struct object_request *request, int first_type, ...);
DBusMessage *object_reply_new(struct object_request *request);
void object_reply_message(struct object_request *request, DBusMessage *reply); /* takes reply */
/* A copy of an answer that object_answer_new made, for which nothing is marshalled again. */
void object_reply_copy(struct object_request *request, DBusMessage *answer); /* borrowed */
DBusMessage *object_answer_new(int first_type, ...); /* to nobody yet; dbus_message_unref */
void object_fail(struct object_request *request, const GError *error);         /* error of our domain; borrowed */

/* Signals. The row must exist and fit (checked; a mismatch is a programming error). */
void object_signal(struct object *object, const char *path, const char *interface, const char *name, int first_type,
                   ...);
/* PropertiesChanged with names only (invalidated_properties); names: array that ends with NULL. */
void object_changed(struct object *object, const char *path, const char *interface, const char *const *names);

/* The introspection XML of the tables alone (no children), as object_add serves it; for tests and for generating
 * org.hubkey.xml. g_free. */
char *object_introspect(const struct object_interface *const *interfaces);
