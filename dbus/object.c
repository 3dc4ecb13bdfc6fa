/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * From a message to its row and back. Rows are few, so they are searched from the first to the last; a call allocates
 * nothing here, its request comes from a list of spare ones.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/names.h"
#include "dbus/object-internal.h"

#include <stddef.h>
#include <string.h>

#define SPARE_MAX 64 /* requests kept for the next calls */

struct object_request {
    struct object *object;
    DBusMessage *message;
    const struct object_method *row;
    void *data;
    GDestroyNotify destroy;
    struct object_request *next; /* among the spare ones */
    _Alignas(max_align_t) char room[OBJECT_ROOM_BYTES];
};

/* ---- answers ---- */

void
object_send(DBusConnection *connection, DBusMessage *message)
{
    if (dbus_connection_get_outgoing_size(connection) > OBJECT_UNREAD_MAX && !dbus_bus_get_unique_name(connection))
        dbus_connection_close(connection);
    else if (!dbus_connection_send(connection, message, NULL))
        g_error("out of memory: a D-Bus message");
}

void
object_send_reply(DBusConnection *connection, DBusMessage *message, DBusMessage *reply)
{
    if (!dbus_message_get_no_reply(message))
        object_send(connection, reply);
    dbus_message_unref(reply);
}

static void
send_error_text(DBusConnection *connection, DBusMessage *message, const char *name, const char *text)
{
    if (dbus_message_get_no_reply(message))
        return;
    /* The bus disconnects who sends anything but UTF-8, or anything longer than its limit: texts repeat what callers
     * said. */
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)strnlen(text, OBJECT_ERROR_MAX));
    DBusMessage *reply = dbus_message_new_error(message, name, valid);
    if (!reply)
        g_error("out of memory: a D-Bus reply");
    object_send_reply(connection, message, reply);
}

void
object_send_error(DBusConnection *connection, DBusMessage *message, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    send_error_text(connection, message, name, text);
}

void
object_send_gerror(DBusConnection *connection, DBusMessage *message, const GError *error)
{
    char name[64];
    int code = error->domain == ERROR_DOMAIN ? error->code : ERROR_INTERNAL;
    g_snprintf(name, sizeof name, NAMES_ERROR_PREFIX "%s", error_name(code));
    send_error_text(connection, message, name, error->message);
}

/* ---- objects and requests ---- */

static void
object_unref(struct object *object)
{
    if (--object->references > 0)
        return;
    for (struct object_request *request = object->spare, *next; request; request = next) {
        next = request->next;
        g_free(request);
    }
    dbus_connection_unref(object->connection);
    g_free(object->path);
    g_free(object);
}

static struct object_request *
request_new(struct object *object, DBusMessage *message, const struct object_method *row)
{
    struct object_request *request = object->spare;
    if (request) {
        object->spare = request->next;
        object->n_spare--;
    } else {
        request = g_new(struct object_request, 1);
    }
    *request = (struct object_request){ .object = object, .message = dbus_message_ref(message), .row = row };
    object->references++;
    return request;
}

static void
request_free(struct object_request *request)
{
    struct object *object = request->object;
    dbus_message_unref(request->message);
    if (request->destroy)
        request->destroy(request->data);
    if (object->n_spare < SPARE_MAX) {
        request->message = NULL;
        request->next = object->spare;
        object->spare = request;
        object->n_spare++;
    } else {
        g_free(request);
    }
    object_unref(object);
}

/* ---- from message to row ---- */

const struct object_interface *
object_find_interface(const struct object *object, const char *name)
{
    for (size_t i = 0; object->interfaces[i]; i++)
        if (strcmp(object->interfaces[i]->name, name) == 0)
            return object->interfaces[i];
    return NULL;
}

/* interface NULL: any (the D-Bus specification lets callers leave it out). */
static const struct object_method *
find_method(const struct object *object, const char *interface, const char *member)
{
    for (size_t i = 0; object->interfaces[i]; i++) {
        if (interface && strcmp(object->interfaces[i]->name, interface) != 0)
            continue;
        for (const struct object_method *row = object->interfaces[i]->methods; row && row->name; row++)
            if (strcmp(row->name, member) == 0)
                return row;
    }
    return NULL;
}

/* False, and answered, where the message does not fit. */
static bool
fits(DBusConnection *connection, DBusMessage *message, const char *signature)
{
    if (!dbus_message_has_signature(message, signature)) {
        object_send_error(connection, message, NAMES_ERROR_PREFIX "InvalidArgument",
                          "%s takes arguments of signature \"%s\", not \"%s\"", dbus_message_get_member(message),
                          signature, dbus_message_get_signature(message));
        return false;
    }
    return true;
}

/* A descriptor that no argument speaks of must not even be held while the bus is asked who sent it. */
static bool
is_refused(DBusConnection *connection, DBusMessage *message, const struct object_method *row)
{
    if (!dbus_message_contains_unix_fds(message) || (row && strchr(row->in, DBUS_TYPE_UNIX_FD)))
        return false;
    object_send_error(connection, message, NAMES_ERROR_PREFIX "InvalidArgument",
                      "%s takes no file descriptor, but the message carries one", dbus_message_get_member(message));
    return true;
}

static const struct {
    const char *interface;
    const char *member;
    const char *signature;
    void (*answer)(struct object *object, DBusMessage *message, const char *path); /* NULL: introspection */
} standard_methods[] = {
    { DBUS_INTERFACE_PROPERTIES, "Get", "ss", object_properties_get },
    { DBUS_INTERFACE_PROPERTIES, "GetAll", "s", object_properties_get_all },
    { DBUS_INTERFACE_PROPERTIES, "Set", "ssv", object_properties_set },
    { DBUS_INTERFACE_INTROSPECTABLE, "Introspect", "", NULL },
};

/* True where the message was one of the standard interfaces', and is answered. */
static bool
answer_standard(struct object *object, DBusMessage *message, const char *path, bool is_own)
{
    const char *interface = dbus_message_get_interface(message), *member = dbus_message_get_member(message);
    for (size_t i = 0; i < G_N_ELEMENTS(standard_methods); i++) {
        if ((interface && strcmp(interface, standard_methods[i].interface) != 0) ||
            strcmp(member, standard_methods[i].member) != 0)
            continue;
        if (standard_methods[i].answer && is_own && object->fallback)
            continue;
        if (!fits(object->connection, message, standard_methods[i].signature))
            return true;
        if (standard_methods[i].answer)
            standard_methods[i].answer(object, message, path);
        else
            object_introspect_answer(object, message, path, is_own);
        return true;
    }
    return false;
}

static void
answer_unknown(struct object *object, DBusMessage *message, const char *path, bool is_own)
{
    const char *interface = dbus_message_get_interface(message), *member = dbus_message_get_member(message);
    bool bare = is_own && object->fallback;
    bool known = !interface || strcmp(interface, DBUS_INTERFACE_INTROSPECTABLE) == 0 ||
                 (!bare &&
                  (strcmp(interface, DBUS_INTERFACE_PROPERTIES) == 0 || object_find_interface(object, interface)));
    if (known)
        object_send_error(object->connection, message, DBUS_ERROR_UNKNOWN_METHOD, "there is no method %s at %s", member,
                          path);
    else
        object_send_error(object->connection, message, DBUS_ERROR_UNKNOWN_INTERFACE, "there is no interface %s at %s",
                          interface, path);
}

static DBusHandlerResult
on_message(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct object *object = user;
    if (dbus_message_get_type(message) != DBUS_MESSAGE_TYPE_METHOD_CALL)
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;

    const char *path = dbus_message_get_path(message);
    bool is_own = strcmp(path, object->path) == 0;
    const struct object_method *row = NULL;
    if (!is_own || !object->fallback)
        row = find_method(object, dbus_message_get_interface(message), dbus_message_get_member(message));
    if (is_refused(connection, message, row))
        return DBUS_HANDLER_RESULT_HANDLED;
    if (row) {
        struct object_request *request = request_new(object, message, row);
        if (object->hooks && object->hooks->permit)
            object->hooks->permit(request, row->access, object->user);
        else
            object_enter(request);
    } else if (!answer_standard(object, message, path, is_own)) {
        answer_unknown(object, message, path, is_own);
    }
    return DBUS_HANDLER_RESULT_HANDLED;
}

/* ---- public ---- */

struct object *
object_add(DBusConnection *connection, const char *path, bool fallback,
           const struct object_interface *const *interfaces, const struct object_hooks *hooks, void *user,
           GError **error)
{
    static const DBusObjectPathVTable vtable = { .message_function = on_message };
    DBusError problem = DBUS_ERROR_INIT;
    struct object *object = g_new(struct object, 1);
    *object = (struct object){
        .connection = dbus_connection_ref(connection),
        .path = g_strdup(path),
        .fallback = fallback,
        .interfaces = interfaces,
        .hooks = hooks,
        .user = user,
        .references = 1,
    };
    object_guard(connection);
    if (fallback ? dbus_connection_try_register_fallback(connection, path, &vtable, object, &problem)
                 : dbus_connection_try_register_object_path(connection, path, &vtable, object, &problem))
        return object;
    error_set(error, ERROR_INTERNAL, "cannot register %s on the bus: %s", path, problem.message);
    dbus_error_free(&problem);
    object_unref(object);
    return NULL;
}

bool
object_is_idle(const struct object *object)
{
    return object->references == 1;
}

void
object_remove(struct object *object)
{
    if (!object)
        return;
    object->removed = true;
    dbus_connection_unregister_object_path(object->connection, object->path);
    object_unref(object);
}

void
object_set_data(struct object_request *request, void *data, GDestroyNotify destroy)
{
    if (request->destroy)
        request->destroy(request->data);
    request->data = data;
    request->destroy = destroy;
}

void *
object_data(struct object_request *request)
{
    return request->data;
}

void *
object_user(struct object_request *request)
{
    return request->object->user;
}

void *
object_room(struct object_request *request)
{
    return request->room;
}

void
object_enter(struct object_request *request)
{
    struct object *object = request->object;
    if (object->removed)
        object_send_error(object->connection, request->message, NAMES_ERROR_PREFIX "Busy",
                          "hubkeyd is shutting down; retry in 1000 ms");
    else if (fits(object->connection, request->message, request->row->in)) {
        request->row->call(request, object->user);
        return;
    }
    request_free(request);
}

DBusMessage *
object_message(struct object_request *request)
{
    return request->message;
}

DBusConnection *
object_connection(struct object_request *request)
{
    return request->object->connection;
}

const char *
object_path(struct object_request *request)
{
    return dbus_message_get_path(request->message);
}

const char *
object_sender(struct object_request *request)
{
    return dbus_message_get_sender(request->message);
}

const struct object_method *
object_row(struct object_request *request)
{
    return request->row;
}

DBusMessage *
object_reply_new(struct object_request *request)
{
    DBusMessage *reply = dbus_message_new_method_return(request->message);
    if (!reply)
        g_error("out of memory: a D-Bus reply");
    return reply;
}

/* False, and answered, where the row says something else. */
static bool
is_of_row(struct object_request *request, DBusMessage *reply)
{
    if (dbus_message_has_signature(reply, request->row->out))
        return true;
    g_critical("%s answers \"%s\" where its row says \"%s\"", request->row->name, dbus_message_get_signature(reply),
               request->row->out);
    object_send_error(request->object->connection, request->message, NAMES_ERROR_PREFIX "Internal",
                      "hubkeyd made a wrong answer to %s; please report this", request->row->name);
    return false;
}

void
object_reply_message(struct object_request *request, DBusMessage *reply)
{
    if (is_of_row(request, reply))
        object_send_reply(request->object->connection, request->message, reply);
    else
        dbus_message_unref(reply);
    request_free(request);
}

/* libdbus writes the signature of a message anew for every argument appended to it, which is most of the cost of an
 * answer, and reads all other fields of the header to find it. So the arguments come first. */
static DBusMessage *
answer_new(int first_type, va_list args)
{
    DBusMessage *answer = dbus_message_new(DBUS_MESSAGE_TYPE_METHOD_RETURN);
    if (!answer || !dbus_message_append_args_valist(answer, first_type, args))
        g_error("out of memory: a D-Bus reply");
    dbus_message_set_no_reply(answer, TRUE);
    return answer;
}

static DBusMessage *
address(struct object_request *request, DBusMessage *answer)
{
    const char *sender = dbus_message_get_sender(request->message);
    if (!answer || !dbus_message_set_reply_serial(answer, dbus_message_get_serial(request->message)) ||
        (sender && !dbus_message_set_destination(answer, sender)))
        g_error("out of memory: a D-Bus reply");
    return answer;
}

void
object_reply(struct object_request *request, int first_type, ...)
{
    va_list args;
    va_start(args, first_type);
    DBusMessage *answer = answer_new(first_type, args);
    va_end(args);
    object_reply_message(request, address(request, answer));
}

DBusMessage *
object_answer_new(int first_type, ...)
{
    va_list args;
    va_start(args, first_type);
    DBusMessage *answer = answer_new(first_type, args);
    va_end(args);
    return answer;
}

void
object_reply_copy(struct object_request *request, DBusMessage *answer)
{
    if (is_of_row(request, answer))
        object_send_reply(request->object->connection, request->message,
                          address(request, dbus_message_copy(answer)));
    request_free(request);
}

void
object_fail(struct object_request *request, const GError *error)
{
    object_send_gerror(request->object->connection, request->message, error);
    request_free(request);
}

static const struct object_signal *
find_signal(const struct object *object, const char *interface, const char *name)
{
    const struct object_interface *table = object_find_interface(object, interface);
    for (const struct object_signal *row = table ? table->signals : NULL; row && row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

void
object_signal(struct object *object, const char *path, const char *interface, const char *name, int first_type, ...)
{
    const struct object_signal *row = find_signal(object, interface, name);
    if (!row) {
        g_critical("signal %s.%s has no row", interface, name);
        return;
    }
    DBusMessage *signal = dbus_message_new_signal(path, interface, name);
    va_list args;
    va_start(args, first_type);
    if (!signal || !dbus_message_append_args_valist(signal, first_type, args))
        g_error("out of memory: a D-Bus signal");
    va_end(args);
    if (dbus_message_has_signature(signal, row->signature))
        object_send(object->connection, signal);
    else
        g_critical("signal %s has signature \"%s\" where its row says \"%s\"", name, dbus_message_get_signature(signal),
                   row->signature);
    dbus_message_unref(signal);
}
