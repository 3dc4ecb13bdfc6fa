/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/bus.h"
#include "common/error.h"
#include "common/identity.h"
#include "dbus/call.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Making a storage root key can take a slow chip a minute. */
#define TIMEOUT_MS 120000
#define PERSON_TIMEOUT_MS 300000 /* and typing a password another while, which hubkeyd bounds itself */

DBusConnection *
bus_open(const struct context *context, GError **error)
{
    bool is_bus = !context->socket || context->socket[0] == '\0';
    return is_bus ? loop_open_system_bus(error) : loop_open_socket(context->socket, error);
}

DBusConnection *
bus_open_any(const struct context *context, GError **error)
{
    const char *given = context->socket ? NULL : secure_getenv("HUBKEY_SOCKET");
    const char *path = given ? given : NAMES_SOCKET;
    DBusConnection *connection = context->socket || path[0] == '\0' ? NULL : loop_open_socket(path, NULL);
    return connection ? connection : bus_open(context, error);
}

DBusMessage *
bus_message(const char *path, const char *interface, const char *member)
{
    DBusMessage *message = dbus_message_new_method_call(NAMES_BUS, path, interface, member);
    if (!message)
        g_error("out of memory: a D-Bus message");
    return message;
}

DBusMessage *
bus_slot_message(uint32_t slot, const char *member)
{
    char path[NAMES_SLOT_PATH_MAX];
    g_snprintf(path, sizeof path, NAMES_SLOTS "/%u", slot);
    return bus_message(path, NAMES_SLOT, member);
}

DBusMessage *
bus_call(DBusConnection *connection, DBusMessage *message, const char *signature, GError **error)
{
    /* polkit may ask whoever sits there for a password; what needs none does not care. */
    bool person = isatty(STDERR_FILENO);
    dbus_message_set_allow_interactive_authorization(message, person);
    DBusMessage *reply = call_wait(connection, message, person ? PERSON_TIMEOUT_MS : TIMEOUT_MS, error);
    if (reply && !dbus_message_has_signature(reply, signature)) {
        error_set(error, ERROR_INTERNAL,
                  "hubkeyd answered %s with \"%s\" where \"%s\" was expected; its version differs",
                  dbus_message_get_member(message), dbus_message_get_signature(reply), signature);
        g_clear_pointer(&reply, dbus_message_unref);
    }
    dbus_message_unref(message);
    return reply;
}

void
bus_open_options(DBusMessageIter *iter, DBusMessageIter *dict)
{
    if (!dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, "{sv}", dict))
        g_error("out of memory: a D-Bus message");
}

void
bus_close_options(DBusMessageIter *iter, DBusMessageIter *dict)
{
    if (!dbus_message_iter_close_container(iter, dict))
        g_error("out of memory: a D-Bus message");
}

void
bus_append_option(DBusMessageIter *dict, const char *name, const char *value)
{
    DBusMessageIter entry, variant;
    if (!value)
        return;
    if (!dbus_message_iter_open_container(dict, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
        !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &name) ||
        !dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "s", &variant) ||
        !dbus_message_iter_append_basic(&variant, DBUS_TYPE_STRING, &value) ||
        !dbus_message_iter_close_container(&entry, &variant) || !dbus_message_iter_close_container(dict, &entry))
        g_error("out of memory: a D-Bus message");
}

void
bus_append_identity(DBusMessageIter *dict, const struct identity *identity)
{
    bus_append_option(dict, "HostName", identity->host);
    bus_append_option(dict, "DeviceId", identity->device);
    bus_append_option(dict, "ModuleId", identity->module);
    bus_append_option(dict, "GatewayHostName", identity->gateway);
    bus_append_option(dict, "Audience", identity->audience);
    bus_append_option(dict, "KeyName", identity->key_name);
}

void
bus_append_no_options(DBusMessageIter *iter)
{
    DBusMessageIter dict;
    bus_open_options(iter, &dict);
    bus_close_options(iter, &dict);
}

DBusMessage *
bus_properties(DBusConnection *connection, const char *path, const char *interface, GError **error)
{
    DBusMessage *message = bus_message(path, DBUS_INTERFACE_PROPERTIES, "GetAll");
    if (!dbus_message_append_args(message, DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID))
        g_error("out of memory: a D-Bus message");
    return bus_call(connection, message, "a{sv}", error);
}

DBusMessage *
bus_slot_properties(DBusConnection *connection, uint32_t slot, GError **error)
{
    char path[NAMES_SLOT_PATH_MAX];
    g_snprintf(path, sizeof path, NAMES_SLOTS "/%u", slot);
    return bus_properties(connection, path, NAMES_SLOT, error);
}

void
bus_each_entry(DBusMessage *reply, bus_entry_fn each, void *user)
{
    DBusMessageIter top, dict, entry, value;
    dbus_message_iter_init(reply, &top);
    for (dbus_message_iter_recurse(&top, &dict); dbus_message_iter_get_arg_type(&dict) == DBUS_TYPE_DICT_ENTRY;
         dbus_message_iter_next(&dict)) {
        const char *name = NULL;
        dbus_message_iter_recurse(&dict, &entry);
        dbus_message_iter_get_basic(&entry, &name);
        dbus_message_iter_next(&entry);
        dbus_message_iter_recurse(&entry, &value);
        each(name, &value, user);
    }
}

struct wanted {
    const char *name;
    const char *text;
};

static void
take_wanted(const char *name, DBusMessageIter *value, void *user)
{
    struct wanted *wanted = user;
    if (strcmp(name, wanted->name) == 0 && dbus_message_iter_get_arg_type(value) == DBUS_TYPE_STRING)
        dbus_message_iter_get_basic(value, &wanted->text);
}

const char *
bus_string(DBusMessage *reply, const char *name)
{
    struct wanted wanted = { .name = name, .text = "" };
    bus_each_entry(reply, take_wanted, &wanted);
    return wanted.text;
}
