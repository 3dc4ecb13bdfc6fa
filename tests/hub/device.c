/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Keyed by D or D/M: a slash can stand in neither.
 */
#include <config.h>

#include "tests/hub/device.h"
#include "tests/hub/charset.h"
#include "tests/hub/codec.h"

#include <string.h>

static void
device_free(void *data)
{
    struct device *device = data;

    g_free(device->id);
    g_free(device->module);
    g_free(device);
}

static char *
table_key(const char *id, const char *module)
{
    return module ? g_strdup_printf("%s/%s", id, module) : g_strdup(id);
}

GHashTable *
device_table_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, device_free);
}

static bool
parse_id(const json_t *value, char **id)
{
    const char *text = json_string_value(value);

    if (!text || !charset_is_id(text, json_string_length(value)))
        return false;
    *id = g_strdup(text);
    return true;
}

static bool
parse_key(const json_t *value, struct device_key *key)
{
    const char *text = json_string_value(value);
    uint8_t bytes[3 * 24];

    if (!text || json_string_length(value) > 96 ||
        !codec_base64_decode(text, json_string_length(value), bytes, &key->len) || key->len < DEVICE_KEY_MIN ||
        key->len > DEVICE_KEY_MAX)
        return false;
    memcpy(key->bytes, bytes, key->len);
    return true;
}

static const char *
parse(const json_t *json, struct device *device)
{
    const char *name;
    json_t *value;

    device->enabled = true;
    json_object_foreach((json_t *)json, name, value)
    {
        if (strcmp(name, "deviceId") == 0 ? !parse_id(value, &device->id)
                                          : strcmp(name, "moduleId") == 0 && !parse_id(value, &device->module))
            return "deviceId and moduleId must be 1 to 128 of A-Z a-z 0-9 - : . + % _ # * ? ! ( ) , = @ $ '";
        if (strcmp(name, "primaryKey") == 0 ? !parse_key(value, &device->keys[0])
                                            : strcmp(name, "secondaryKey") == 0 && !parse_key(value, &device->keys[1]))
            return "primaryKey and secondaryKey must be base64 of 16 to 64 bytes";
        if (strcmp(name, "enabled") == 0) {
            if (!json_is_boolean(value))
                return "enabled must be true or false";
            device->enabled = json_is_true(value);
        }
    }
    return device->id && device->keys[0].len ? NULL : "deviceId and primaryKey are needed";
}

static const char *
unknown_name(const json_t *json)
{
    static const char *const names[] = { "deviceId", "moduleId", "primaryKey", "secondaryKey", "enabled", NULL };
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)json, name, value)
    {
        if (!g_strv_contains(names, name))
            return name;
    }
    return NULL;
}

const struct device *
device_put(GHashTable *table, const json_t *json, const char **why)
{
    struct device *device = g_new0(struct device, 1);

    if (!json_is_object(json) || unknown_name(json))
        *why = "the body must be an object of deviceId, moduleId, primaryKey, secondaryKey and enabled only";
    else
        *why = parse(json, device);
    if (*why) {
        device_free(device);
        return NULL;
    }
    g_hash_table_replace(table, table_key(device->id, device->module), device);
    return device;
}

const struct device *
device_find(GHashTable *table, const char *id, const char *module)
{
    g_autofree char *key = table_key(id, module);

    return g_hash_table_lookup(table, key);
}
