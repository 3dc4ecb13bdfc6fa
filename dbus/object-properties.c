/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * org.freedesktop.DBus.Properties over the tables. Every property is read-only. An empty interface name means any, as
 * the D-Bus specification allows.
 */
#include <config.h>

#include "dbus/object-internal.h"

#include <string.h>

static const char *const standard_names[] = {
    DBUS_INTERFACE_INTROSPECTABLE,
    DBUS_INTERFACE_PEER,
    DBUS_INTERFACE_PROPERTIES,
};

static bool
is_standard(const char *interface)
{
    for (size_t i = 0; i < G_N_ELEMENTS(standard_names); i++)
        if (strcmp(interface, standard_names[i]) == 0)
            return true;
    return false;
}

/* False, and answered, where the object at path has nothing to read. */
static bool
readable(struct object *object, DBusMessage *message, const char *path)
{
    g_autoptr(GError) error = NULL;
    if (!object->hooks || !object->hooks->exists || object->hooks->exists(path, object->user, &error))
        return true;
    object_send_gerror(object->connection, message, error);
    return false;
}

static const struct object_property *
find_row(const struct object_interface *interface, const char *name)
{
    for (const struct object_property *row = interface->properties; row && row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

/* NULL, and answered, where there is no such property. */
static const struct object_property *
find_property(struct object *object, DBusMessage *message, const char *interface, const char *name)
{
    bool known = interface[0] == '\0' || is_standard(interface);
    for (size_t i = 0; object->interfaces[i]; i++) {
        if (interface[0] != '\0' && strcmp(object->interfaces[i]->name, interface) != 0)
            continue;
        const struct object_property *row = find_row(object->interfaces[i], name);
        if (row)
            return row;
        known = true;
    }
    if (known)
        object_send_error(object->connection, message, DBUS_ERROR_UNKNOWN_PROPERTY, "there is no property %s", name);
    else
        object_send_error(object->connection, message, DBUS_ERROR_UNKNOWN_INTERFACE, "there is no interface %s here",
                          interface);
    return NULL;
}

static void
append_variant(const struct object *object, const struct object_property *row, const char *path, DBusMessageIter *iter)
{
    DBusMessageIter variant;
    if (!dbus_message_iter_open_container(iter, DBUS_TYPE_VARIANT, row->signature, &variant))
        g_error("out of memory: a D-Bus reply");
    row->get(path, &variant, object->user);
    if (!dbus_message_iter_close_container(iter, &variant))
        g_error("out of memory: a D-Bus reply");
}

static void
append_entries(const struct object *object, const struct object_interface *interface, const char *path,
               DBusMessageIter *dict)
{
    DBusMessageIter entry;
    for (const struct object_property *row = interface->properties; row && row->name; row++) {
        if (!dbus_message_iter_open_container(dict, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
            !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &row->name))
            g_error("out of memory: a D-Bus reply");
        append_variant(object, row, path, &entry);
        if (!dbus_message_iter_close_container(dict, &entry))
            g_error("out of memory: a D-Bus reply");
    }
}

static DBusMessage *
new_reply(DBusMessage *message)
{
    DBusMessage *reply = dbus_message_new_method_return(message);
    if (!reply)
        g_error("out of memory: a D-Bus reply");
    return reply;
}

void
object_properties_get(struct object *object, DBusMessage *message, const char *path)
{
    const char *interface = NULL, *name = NULL;
    DBusMessageIter iter;
    dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID);
    if (!readable(object, message, path))
        return;
    const struct object_property *row = find_property(object, message, interface, name);
    if (!row)
        return;
    DBusMessage *reply = new_reply(message);
    dbus_message_iter_init_append(reply, &iter);
    append_variant(object, row, path, &iter);
    object_send_reply(object->connection, message, reply);
}

void
object_properties_get_all(struct object *object, DBusMessage *message, const char *path)
{
    const char *interface = NULL;
    DBusMessageIter iter, dict;
    dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID);
    if (!readable(object, message, path))
        return;
    if (interface[0] != '\0' && !is_standard(interface) && !object_find_interface(object, interface)) {
        object_send_error(object->connection, message, DBUS_ERROR_UNKNOWN_INTERFACE, "there is no interface %s here",
                          interface);
        return;
    }
    DBusMessage *reply = new_reply(message);
    dbus_message_iter_init_append(reply, &iter);
    if (!dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &dict))
        g_error("out of memory: a D-Bus reply");
    for (size_t i = 0; object->interfaces[i]; i++)
        if (interface[0] == '\0' || strcmp(object->interfaces[i]->name, interface) == 0)
            append_entries(object, object->interfaces[i], path, &dict);
    if (!dbus_message_iter_close_container(&iter, &dict))
        g_error("out of memory: a D-Bus reply");
    object_send_reply(object->connection, message, reply);
}

void
object_properties_set(struct object *object, DBusMessage *message, const char *path)
{
    const char *interface = NULL, *name = NULL;
    DBusMessageIter iter;
    dbus_message_iter_init(message, &iter);
    dbus_message_iter_get_basic(&iter, &interface);
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &name);
    if (!readable(object, message, path) || !find_property(object, message, interface, name))
        return;
    object_send_error(object->connection, message, DBUS_ERROR_PROPERTY_READ_ONLY, "%s can only be read", name);
}

void
object_changed(struct object *object, const char *path, const char *interface, const char *const *names)
{
    DBusMessageIter iter, changed, invalidated;
    const struct object_interface *table = object_find_interface(object, interface);
    g_return_if_fail(table != NULL);
    DBusMessage *signal = dbus_message_new_signal(path, DBUS_INTERFACE_PROPERTIES, "PropertiesChanged");
    if (!signal)
        g_error("out of memory: a D-Bus signal");

    dbus_message_iter_init_append(signal, &iter);
    bool good = dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &interface) &&
                dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &changed) &&
                dbus_message_iter_close_container(&iter, &changed) &&
                dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "s", &invalidated);
    for (; good && *names; names++) {
        g_warn_if_fail(find_row(table, *names) != NULL);
        good = dbus_message_iter_append_basic(&invalidated, DBUS_TYPE_STRING, names);
    }
    if (!good || !dbus_message_iter_close_container(&iter, &invalidated))
        g_error("out of memory: a D-Bus signal");
    object_send(object->connection, signal);
    dbus_message_unref(signal);
}
