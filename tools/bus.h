/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The calls to hubkeyd that hubkeyctl makes itself.
 */
#pragma once

#include <stdint.h>

#include <dbus/dbus.h>
#include <glib.h>

#include "tools/command.h"

/* Opens the socket of --socket, or the system bus: for what an administrator does, where polkit may have a say and the
 * private socket's rules would refuse. Ends with loop_close. */
DBusConnection *bus_open(const struct context *context, GError **error);
/* The same for what anybody may: without --socket, hubkeyd's private socket ($HUBKEY_SOCKET, empty for none) where
 * something listens, else the system bus. */
DBusConnection *bus_open_any(const struct context *context, GError **error);

DBusMessage *bus_message(const char *path, const char *interface, const char *member);
DBusMessage *bus_slot_message(uint32_t slot, const char *member); /* of Slot1 */

/* Sends message (taken) and waits; a reply of another signature is an error too. */
DBusMessage *bus_call(DBusConnection *connection, DBusMessage *message, const char *signature, GError **error);

/* An a{sv} of strings at the end of a message; what is NULL is left out. */
struct identity;
void bus_open_options(DBusMessageIter *iter, DBusMessageIter *dict);
void bus_append_option(DBusMessageIter *dict, const char *name, const char *value);
void bus_append_identity(DBusMessageIter *dict, const struct identity *identity);
void bus_close_options(DBusMessageIter *iter, DBusMessageIter *dict);
void bus_append_no_options(DBusMessageIter *iter);

/* Org.freedesktop.DBus.Properties.GetAll. */
DBusMessage *bus_properties(DBusConnection *connection, const char *path, const char *interface, GError **error);
DBusMessage *bus_slot_properties(DBusConnection *connection, uint32_t slot, GError **error);

/* Walks the a{sv} that is reply's first argument. */
typedef void (*bus_entry_fn)(const char *name, DBusMessageIter *value, void *user);
void bus_each_entry(DBusMessage *reply, bus_entry_fn entry, void *user);

/* The string property name in such a reply, "" where there is none. Borrowed from reply. */
const char *bus_string(DBusMessage *reply, const char *name);
