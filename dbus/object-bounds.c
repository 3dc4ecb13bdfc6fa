/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a call may carry. The bus hands over messages of 32 MiB, and a request is held while the bus is asked who sent
 * it; so anybody could fill what libdbus is willing to hold, and with it stop all calls. Nothing that the tables take
 * comes near this bound, so a longer message is refused before anything is asked.
 */
#include <config.h>

#include "dbus/object-internal.h"
#include "dbus/names.h"

#include <string.h>

#define PATH_MAX_BYTES 255 /* as of the names in a message's header, for which D-Bus itself sets a limit */

static bool count_values(DBusMessageIter *iter, size_t *left);

static bool
take(size_t *left, size_t n)
{
    if (n > *left)
        return false;
    *left -= n;
    return true;
}

static size_t
size_of_fixed(int type)
{
    return type == DBUS_TYPE_BYTE                                       ? 1
           : type == DBUS_TYPE_INT16 || type == DBUS_TYPE_UINT16        ? 2
           : type == DBUS_TYPE_INT64 || type == DBUS_TYPE_UINT64 || type == DBUS_TYPE_DOUBLE ? 8
                                                                        : 4;
}

static bool
count_array(DBusMessageIter *iter, size_t *left)
{
    DBusMessageIter elements;
    int type = dbus_message_iter_get_element_type(iter), n = 0;
    dbus_message_iter_recurse(iter, &elements);
    if (!dbus_type_is_fixed(type) || type == DBUS_TYPE_UNIX_FD)
        return count_values(&elements, left);
    const void *data;
    dbus_message_iter_get_fixed_array(&elements, &data, &n);
    return take(left, (size_t)n * size_of_fixed(type));
}

static bool
count_value(DBusMessageIter *iter, int type, size_t *left)
{
    DBusMessageIter inner;
    const char *text;
    switch (type) {
    case DBUS_TYPE_STRING:
    case DBUS_TYPE_OBJECT_PATH:
    case DBUS_TYPE_SIGNATURE:
        dbus_message_iter_get_basic(iter, &text);
        return take(left, strlen(text) + 1);
    case DBUS_TYPE_ARRAY:
        return count_array(iter, left);
    case DBUS_TYPE_STRUCT:
    case DBUS_TYPE_DICT_ENTRY:
    case DBUS_TYPE_VARIANT:
        dbus_message_iter_recurse(iter, &inner);
        return take(left, 1) && count_values(&inner, left);
    default:
        return take(left, size_of_fixed(type));
    }
}

/* libdbus has checked that containers are nested at most 64 deep. */
static bool
count_values(DBusMessageIter *iter, size_t *left)
{
    for (int type; (type = dbus_message_iter_get_arg_type(iter)) != DBUS_TYPE_INVALID; dbus_message_iter_next(iter))
        if (!count_value(iter, type, left))
            return false;
    return true;
}

static bool
has_long_path(DBusMessage *message)
{
    const char *path = dbus_message_get_path(message);
    return path && strnlen(path, PATH_MAX_BYTES + 1) > PATH_MAX_BYTES;
}

bool
object_within_bounds(DBusMessage *message)
{
    DBusMessageIter iter;
    size_t left = OBJECT_ARGUMENTS_MAX;
    return !has_long_path(message) && (!dbus_message_iter_init(message, &iter) || count_values(&iter, &left));
}

static DBusHandlerResult
refuse_long(DBusConnection *connection, DBusMessage *message, void *user)
{
    bool call = dbus_message_get_type(message) == DBUS_MESSAGE_TYPE_METHOD_CALL;
    if (call ? object_within_bounds(message) : !has_long_path(message))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (call)
        object_send_error(connection, message, NAMES_ERROR_PREFIX "InvalidArgument",
                          "%s: the path is too long, or the arguments are longer than %d bytes together",
                          dbus_message_get_member(message), OBJECT_ARGUMENTS_MAX);
    return DBUS_HANDLER_RESULT_HANDLED;
}

void
object_guard(DBusConnection *connection)
{
    static dbus_int32_t slot = -1;
    static int guarded;
    if (!dbus_connection_allocate_data_slot(&slot))
        g_error("out of memory: a D-Bus connection");
    if (!dbus_connection_get_data(connection, slot) &&
        (!dbus_connection_set_data(connection, slot, &guarded, NULL) ||
         !dbus_connection_add_filter(connection, refuse_long, NULL, NULL)))
        g_error("out of memory: a D-Bus connection");
}
