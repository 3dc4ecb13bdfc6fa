/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * All slots of hubkeyd, page by page.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <dbus/dbus.h>
#include <glib.h>

enum { SLOTS_STATE, SLOTS_STORAGE, SLOTS_HOST, SLOTS_DEVICE, SLOTS_TEXTS };

struct slot_row {
    uint32_t slot;
    const char *texts[SLOTS_TEXTS]; /* borrowed until the function returns */
};

typedef void (*slot_fn)(const struct slot_row *row, void *user);

bool slots_walk(DBusConnection *connection, slot_fn each, void *user, GError **error);
