/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * D-Bus values as text and as JSON.
 */
#pragma once

#include <dbus/dbus.h>
#include <jansson.h>

/* The value under iter (string, boolean, number); g_free. */
char *value_text(DBusMessageIter *iter);

/* The a{sv} that is reply's first argument, names in snake_case. */
json_t *value_object(DBusMessage *reply);
