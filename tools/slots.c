/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/slots.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "tools/bus.h"

#define PAGES_MAX 65536 /* more than there can be: each page moves on by a slot at least */

/* Takes one page apart; returns where the next one starts, 0 for none. */
static uint32_t
walk_page(DBusMessage *reply, slot_fn each, void *user)
{
    DBusMessageIter top, array, fields;
    uint32_t next = 0;
    dbus_message_iter_init(reply, &top);
    for (dbus_message_iter_recurse(&top, &array); dbus_message_iter_get_arg_type(&array) == DBUS_TYPE_STRUCT;
         dbus_message_iter_next(&array)) {
        struct slot_row row = { 0 };
        dbus_message_iter_recurse(&array, &fields);
        dbus_message_iter_get_basic(&fields, &row.slot);
        for (size_t i = 0; i < G_N_ELEMENTS(row.texts) && dbus_message_iter_next(&fields); i++)
            dbus_message_iter_get_basic(&fields, &row.texts[i]);
        each(&row, user);
    }
    dbus_message_iter_next(&top);
    dbus_message_iter_get_basic(&top, &next);
    return next;
}

bool
slots_walk(DBusConnection *connection, slot_fn each, void *user, GError **error)
{
    uint32_t first = 0, max = 0;
    for (int page = 0; page < PAGES_MAX; page++) {
        DBusMessage *message = bus_message(NAMES_ROOT, NAMES_MANAGER, "ListSlots");
        if (!dbus_message_append_args(message, DBUS_TYPE_UINT32, &first, DBUS_TYPE_UINT32, &max, DBUS_TYPE_INVALID))
            g_error("out of memory: a D-Bus message");
        g_autoptr(dbus_message_auto) reply = bus_call(connection, message, "a(ussss)u", error);
        if (!reply)
            return false;
        uint32_t next = walk_page(reply, each, user);
        if (next <= first)
            return true;
        first = next;
    }
    return true;
}
