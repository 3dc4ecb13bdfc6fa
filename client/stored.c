/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/stored.h"
#include "client/failure.h"

#include <string.h>

#include <jansson.h>

#define APPLICATION "iothub-app-"

/* One of the names under which message.c writes them. */
static bool
take(struct stored *stored, const char *name, const char *value)
{
    struct hubkey_message *message = &stored->message;
    if (!value)
        return false;
    if (g_str_has_prefix(name, APPLICATION)) {
        struct hubkey_property property = { name + strlen(APPLICATION), value };
        if (strcmp(property.name, "created") != 0) /* libhubkey's own */
            g_array_append_val(stored->properties, property);
    } else if (strcmp(name, "iothub-messageid") == 0) {
        message->id = value;
    } else if (strcmp(name, "iothub-correlationid") == 0) {
        message->correlation_id = value;
    } else if (strcmp(name, "iothub-contenttype") == 0) {
        message->content_type = value;
    } else if (strcmp(name, "iothub-contentencoding") == 0) {
        message->content_encoding = value;
    } else {
        return strcmp(name, "iothub-creation-time-utc") == 0; /* created_ms says the same */
    }
    return true;
}

bool
stored_read(struct stored *stored, const struct queue_row *row, GError **error)
{
    const char *name;
    json_t *value;
    *stored = (struct stored){
        .message = { .size = sizeof(struct hubkey_message),
                     .body = row->body,
                     .len = row->len,
                     .created_ms = row->created_ms },
        .object = json_loadb(row->properties, row->properties_len, JSON_REJECT_DUPLICATES, NULL),
        .properties = g_array_new(FALSE, FALSE, sizeof(struct hubkey_property)),
    };
    bool good = json_is_object(stored->object);
    json_object_foreach (stored->object, name, value)
        good = take(stored, name, json_string_value(value)) && good;
    if (!good || !stored->message.id) {
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED, "the properties of message %" G_GUINT64_FORMAT " cannot be read",
                    row->seq);
        return false;
    }
    stored->message.properties = (const struct hubkey_property *)(const void *)stored->properties->data;
    stored->message.n_properties = stored->properties->len;
    return true;
}

void
stored_clear(struct stored *stored)
{
    json_decref(stored->object);
    if (stored->properties)
        g_array_unref(stored->properties);
}
