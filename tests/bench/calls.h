/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The calls that the measuring programs make of hubkeyd.
 */
#pragma once

#include "tests/bench/timing.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <string.h>
#include <unistd.h>

#include <dbus/dbus.h>
#include <glib.h>

#define CALLS_TIMEOUT_MS 10000
#define CALLS_WARM_UP 200
#define CALLS_SAMPLES 3000

static inline DBusConnection *
calls_open_bus(void)
{
    g_autoptr(GError) error = NULL;
    DBusConnection *connection = loop_open_system_bus(&error);
    if (!connection)
        g_error("%s", error->message);
    return connection;
}

/* hubkeyd's private socket, where libhubkey would go first. */
static inline DBusConnection *
calls_open_socket(void)
{
    g_autoptr(GError) error = NULL;
    const char *path = g_getenv("HUBKEY_SOCKET");
    DBusConnection *connection = loop_open_socket(path ? path : "", &error);
    if (!connection)
        g_error("%s", error->message);
    return connection;
}

static inline DBusMessage *
calls_get_token(unsigned slot, const char *scope)
{
    char path[64];
    dbus_uint32_t ttl = 600;
    g_snprintf(path, sizeof path, NAMES_SLOTS "/%u", slot);
    DBusMessage *message = dbus_message_new_method_call(NAMES_BUS, path, NAMES_SLOT, "GetToken");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    return message;
}

static inline DBusMessage *
calls_shared(unsigned number)
{
    return calls_get_token(0, "messages/events");
}

static inline DBusMessage *
calls_unshared(unsigned slot, unsigned number)
{
    char scope[64];
    g_snprintf(scope, sizeof scope, "bench/%d/%u", (int)getpid(), number);
    return calls_get_token(slot, scope);
}

static inline DBusMessage *
calls_fresh(unsigned number)
{
    return calls_unshared(0, number);
}

static inline int64_t
calls_round_trip(DBusConnection *connection, DBusMessage *message)
{
    DBusError error = DBUS_ERROR_INIT;
    int64_t start = timing_now_ns();
    DBusMessage *reply = dbus_connection_send_with_reply_and_block(connection, message, CALLS_TIMEOUT_MS, &error);
    int64_t end = timing_now_ns();
    if (!reply)
        g_error("%s: %s", error.name, error.message);
    dbus_message_unref(reply);
    return end - start;
}

/* One call after the other, with a number of its own each; prints how long they took. */
static inline void
calls_measure(const char *row, DBusConnection *connection, DBusMessage *(*make)(unsigned number))
{
    size_t n = timing_samples(CALLS_SAMPLES), warm_up = MIN(CALLS_WARM_UP, n);
    g_autofree int64_t *samples = g_new(int64_t, n);
    for (unsigned i = 0; i < warm_up + n; i++) {
        g_autoptr(dbus_message_auto) message = make(i);
        int64_t took = calls_round_trip(connection, message);
        if (i >= warm_up)
            samples[i - warm_up] = took;
    }
    timing_print(row, samples, n);
}

/* One counter of GetStatistics. */
static inline uint64_t
calls_statistic(DBusConnection *connection, const char *name)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusMessageIter top, list, entry, variant;
    dbus_uint64_t value = 0;
    const char *key;
    g_autoptr(dbus_message_auto)
        call = dbus_message_new_method_call(NAMES_BUS, NAMES_ROOT, NAMES_MANAGER, "GetStatistics");
    g_autoptr(dbus_message_auto)
        reply = dbus_connection_send_with_reply_and_block(connection, call, CALLS_TIMEOUT_MS, &error);
    if (!reply)
        g_error("%s: %s", error.name, error.message);
    dbus_message_iter_init(reply, &top);
    dbus_message_iter_recurse(&top, &list);
    for (; dbus_message_iter_get_arg_type(&list) == DBUS_TYPE_DICT_ENTRY; dbus_message_iter_next(&list)) {
        dbus_message_iter_recurse(&list, &entry);
        dbus_message_iter_get_basic(&entry, &key);
        dbus_message_iter_next(&entry);
        dbus_message_iter_recurse(&entry, &variant);
        if (strcmp(key, name) == 0) {
            dbus_message_iter_get_basic(&variant, &value);
            return value;
        }
    }
    g_error("there is no statistic %s", name);
}
