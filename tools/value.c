/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/value.h"
#include "tools/bus.h"
#include "tools/output.h"

#include <inttypes.h>

/* The unsigned number under iter; false for any other type. */
static bool
get_number(DBusMessageIter *iter, uint64_t *number)
{
    dbus_uint32_t u32;
    switch (dbus_message_iter_get_arg_type(iter)) {
    case DBUS_TYPE_UINT32:
        dbus_message_iter_get_basic(iter, &u32);
        *number = u32;
        return true;
    case DBUS_TYPE_UINT64:
        dbus_message_iter_get_basic(iter, number);
        return true;
    default:
        return false;
    }
}

char *
value_text(DBusMessageIter *iter)
{
    uint64_t number;
    const char *text;
    dbus_bool_t yes;
    if (get_number(iter, &number))
        return g_strdup_printf("%" PRIu64, number);
    switch (dbus_message_iter_get_arg_type(iter)) {
    case DBUS_TYPE_STRING:
        dbus_message_iter_get_basic(iter, &text);
        return g_strdup(text);
    case DBUS_TYPE_BOOLEAN:
        dbus_message_iter_get_basic(iter, &yes);
        return g_strdup(yes ? "yes" : "no");
    default:
        return g_strdup("?");
    }
}

static json_t *
value_json(DBusMessageIter *iter)
{
    uint64_t number;
    const char *text;
    dbus_bool_t yes;
    if (get_number(iter, &number))
        return json_integer((json_int_t)number);
    switch (dbus_message_iter_get_arg_type(iter)) {
    case DBUS_TYPE_STRING:
        dbus_message_iter_get_basic(iter, &text);
        return json_string(text);
    case DBUS_TYPE_BOOLEAN:
        dbus_message_iter_get_basic(iter, &yes);
        return json_boolean(yes);
    default:
        return json_null();
    }
}

static void
set_member(const char *name, DBusMessageIter *value, void *user)
{
    g_autofree char *key = output_snake_case(name);
    json_object_set_new(user, key, value_json(value));
}

json_t *
value_object(DBusMessage *reply)
{
    json_t *object = json_object();
    bus_each_entry(reply, set_member, object);
    return object;
}
