/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The identities the hub knows: a device or a module, two keys, enabled or not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>
#include <jansson.h>

#define DEVICE_KEY_MIN 16
#define DEVICE_KEY_MAX 64

struct device_key {
    size_t len; /* 0: there is none */
    uint8_t bytes[DEVICE_KEY_MAX];
};

struct device {
    char *id;
    char *module; /* NULL for a device */
    struct device_key keys[2];
    bool enabled;
};

GHashTable *device_table_new(void);

/* From {"deviceId", "moduleId"?, "primaryKey", "secondaryKey"?, "enabled"?}; the same identity again replaces it.
 * NULL: *why says what is wrong (static text). */
const struct device *device_put(GHashTable *table, const json_t *json, const char **why);
const struct device *device_find(GHashTable *table, const char *id, const char *module);
