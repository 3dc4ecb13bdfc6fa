/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/message-json.h"
#include "common/clock.h"
#include "tools/output.h"

#include <string.h>

/* ---- writing ---- */

static void
set_text(json_t *object, const char *name, const char *text)
{
    if (text)
        json_object_set_new(object, name, output_json_text(text));
}

static json_t *
properties_to_json(const struct hubkey_message *message)
{
    json_t *properties = json_object();
    for (uint32_t i = 0; i < message->n_properties; i++)
        set_text(properties, message->properties[i].name, message->properties[i].value);
    return properties;
}

json_t *
message_to_json(const struct hubkey_queue_row *row, bool body)
{
    const struct hubkey_message *message = row->message;
    json_t *object = json_pack("{s:I, s:o, s:I}", "seq", (json_int_t)row->seq, "id", output_json_text(message->id),
                               "created", (json_int_t)message->created_ms);
    if (body) {
        g_autofree char *text = g_base64_encode(message->body, (gsize)message->len);
        set_text(object, "body", text);
    } else {
        json_object_set_new(object, "bytes", json_integer((json_int_t)message->len));
    }
    json_object_set_new(object, "properties", properties_to_json(message));
    set_text(object, "correlation_id", message->correlation_id);
    set_text(object, "content_type", message->content_type);
    set_text(object, "content_encoding", message->content_encoding);
    if (row->expires_ms != 0)
        json_object_set_new(object, "expires", json_integer(row->expires_ms));
    if (row->buried_ms != 0) {
        json_object_set_new(object, "buried", json_integer(row->buried_ms));
        json_object_set_new(object, "status", json_integer(row->status));
        set_text(object, "reason", row->reason);
    }
    return object;
}

/* ---- reading ---- */

static bool
is_ignored(const char *name)
{
    static const char *const names[] = { "seq", "buried", "status", "reason" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Strict, unlike GLib's own reading: what it would skip is an error. */
static char *
read_body(struct message_read *read, const char *text)
{
    gsize len = 0;
    read->body = g_base64_decode(text, &len);
    g_autofree char *again = g_base64_encode(read->body, len);
    if (strcmp(again, text) != 0)
        return g_strdup("\"body\" is not base64");
    read->message.body = read->body;
    read->message.len = len;
    return NULL;
}

static char *
read_properties(struct message_read *read, json_t *value)
{
    const char *name;
    json_t *text;
    if (!json_is_object(value))
        return g_strdup("\"properties\" must be an object");
    json_object_foreach (value, name, text) {
        struct hubkey_property property = { name, json_string_value(text) };
        if (!property.value)
            return g_strdup_printf("property \"%s\" must be a string", name);
        g_array_append_val(read->properties, property);
    }
    read->message.properties = (const struct hubkey_property *)(const void *)read->properties->data;
    read->message.n_properties = read->properties->len;
    return NULL;
}

/* What has come to its time gets a second, and is then counted as what it is. */
static char *
read_expires(struct hubkey_message *message, json_t *value)
{
    json_int_t expires_ms = json_integer_value(value);
    if (expires_ms < 1)
        return g_strdup("\"expires\" must be a number of milliseconds");
    int64_t left_ms = expires_ms - clock_wall_us() / 1000;
    message->ttl_s = (uint64_t)CLAMP(left_ms / 1000 + (left_ms % 1000 > 0), 1, (int64_t)HUBKEY_TTL_MAX_S);
    return NULL;
}

static char *
read_member(struct message_read *read, const char *name, json_t *value)
{
    struct hubkey_message *message = &read->message;
    struct {
        const char *name, **into;
    } const texts[] = {
        { "id", &message->id },
        { "correlation_id", &message->correlation_id },
        { "content_type", &message->content_type },
        { "content_encoding", &message->content_encoding },
    };
    if (strcmp(name, "body") == 0)
        return json_is_string(value) ? read_body(read, json_string_value(value))
                                     : g_strdup("\"body\" must be a string");
    if (strcmp(name, "properties") == 0)
        return read_properties(read, value);
    if (strcmp(name, "created") == 0) {
        message->created_ms = json_integer_value(value);
        return json_is_integer(value) ? NULL : g_strdup("\"created\" must be a number of milliseconds");
    }
    if (strcmp(name, "expires") == 0)
        return read_expires(message, value);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].into = json_string_value(value);
            return *texts[i].into ? NULL : g_strdup_printf("\"%s\" must be a string", name);
        }
    return is_ignored(name) ? NULL : g_strdup_printf("\"%s\" is no member of a message", name);
}

char *
message_read(struct message_read *read, const char *text, size_t len)
{
    json_error_t error;
    const char *name;
    json_t *value;
    char *fault = NULL;
    *read = (struct message_read){
        .message = { .size = sizeof(struct hubkey_message) },
        .properties = g_array_new(FALSE, FALSE, sizeof(struct hubkey_property)),
    };
    read->object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(read->object))
        return read->object ? g_strdup("it is no JSON object") : g_strdup_printf("it is not JSON: %s", error.text);
    json_object_foreach (read->object, name, value)
        if (!fault)
            fault = read_member(read, name, value);
    if (!fault && !read->body)
        fault = g_strdup("\"body\" is missing");
    return fault;
}

void
message_read_clear(struct message_read *read)
{
    json_decref(read->object);
    g_free(read->body);
    g_array_unref(read->properties);
}
