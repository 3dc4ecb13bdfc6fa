/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A batch is all or nothing: the first thing wrong refuses the whole request.
 */
#include "config.h"

#include "tests/hub/events.h"
#include "tests/hub/codec.h"
#include "tests/hub/headers.h"
#include "tests/hub/property.h"

#include <string.h>

#include <jansson.h>

#define BATCH_TYPE "application/vnd.microsoft.iothub.json"

bool
events_is_batch(const GArray *headers)
{
    const char *type;
    const size_t n = strlen(BATCH_TYPE);

    headers_find(headers, "Content-Type", &type);
    return type && g_ascii_strncasecmp(type, BATCH_TYPE, n) == 0 && strchr("; \t", type[n]);
}

static bool
check_size(const struct items *items, struct verdict *v)
{
    if (items->counted > EVENTS_SIZE_MAX)
        return verdict_refuse(v, "MessageTooLarge", "%zu bytes are counted, at most %d are accepted", items->counted,
                              EVENTS_SIZE_MAX);
    return true;
}

struct id {
    const char *text;
    size_t len;
};

static bool
add_property(struct items *items, const char *header, const char *value, size_t len, struct id *id, struct verdict *v)
{
    const char *bare;
    const enum property_kind kind = property_kind(header, &bare);

    if (kind != PROPERTY_APP && kind != PROPERTY_SYSTEM)
        return true;
    if (!property_check(kind, bare, value, len, &items->counted, v))
        return false;
    if (kind == PROPERTY_SYSTEM && property_is_message_id(bare))
        *id = (struct id){ value, len };
    items_property(items, kind == PROPERTY_SYSTEM, bare, value, len);
    return true;
}

static bool
repeats(const GArray *headers, const struct header *header)
{
    const char *bare, *value;
    const enum property_kind kind = property_kind(header->name, &bare);

    return (kind == PROPERTY_APP || kind == PROPERTY_SYSTEM) && headers_find(headers, header->name, &value) > 1;
}

bool
events_single(const GArray *headers, const GByteArray *body, struct items *items, struct verdict *v)
{
    struct id id = { NULL, 0 };

    items_begin(items);
    for (guint i = 0; i < headers->len; i++) {
        const struct header *header = &g_array_index(headers, struct header, i);
        if (repeats(headers, header))
            return verdict_refuse(v, "ArgumentInvalid", "header %.64s stands more than once", header->name);
        if (!add_property(items, header->name, header->value, header->len, &id, v))
            return false;
    }
    items_id(items, id.text, id.len);
    uint8_t *room = items_body_reserve(items, body->len);
    if (body->len)
        memcpy(room, body->data, body->len);
    items_body_commit(items, body->len);
    return check_size(items, v);
}

static bool
malformed(struct verdict *v, size_t index, const char *what)
{
    return verdict_refuse(v, "DeserializationError", "element %zu of the batch: %s", index, what);
}

static bool
add_batch_properties(struct items *items, json_t *properties, size_t index, struct id *id, struct verdict *v)
{
    const char *name, *bare;
    json_t *value;

    if (properties && !json_is_object(properties))
        return malformed(v, index, "properties must be an object");
    json_object_foreach(properties, name, value)
    {
        if (!json_is_string(value))
            return malformed(v, index, "the value of every property must be a string");
        if (property_kind(name, &bare) == PROPERTY_NONE)
            return verdict_refuse(v, "ArgumentInvalid",
                                  "element %zu of the batch: property %.64s is neither iothub-app- nor a system one", index,
                                  name);
        if (!add_property(items, name, json_string_value(value), json_string_length(value), id, v))
            return false;
    }
    return true;
}

static bool
add_body(struct items *items, const json_t *body, bool base64, size_t index, struct verdict *v)
{
    const char *text = json_string_value(body);
    const size_t len = json_string_length(body);
    uint8_t *room = items_body_reserve(items, len);
    size_t n = len;

    if (!base64)
        memcpy(room, text, len);
    else if (!codec_base64_decode(text, len, room, &n))
        return malformed(v, index, "body is not strict base64");
    items_body_commit(items, n);
    return true;
}

static bool
add_element(struct items *items, json_t *element, size_t index, struct verdict *v)
{
    json_t *body = json_object_get(element, "body");
    json_t *base64 = json_object_get(element, "base64Encoded");
    json_t *properties = json_object_get(element, "properties");
    struct id id = { NULL, 0 };

    if (!json_is_object(element))
        return malformed(v, index, "must be an object");
    if (!json_is_string(body))
        return malformed(v, index, "body must be there and be a string");
    if (base64 && !json_is_boolean(base64))
        return malformed(v, index, "base64Encoded must be true or false");
    if (json_object_size(element) != 1 + (size_t) !!base64 + (size_t) !!properties)
        return malformed(v, index, "only body, base64Encoded and properties may stand in it");
    items_begin(items);
    if (!add_batch_properties(items, properties, index, &id, v))
        return false;
    items_id(items, id.text, id.len);
    return add_body(items, body, !json_is_false(base64), index, v) && check_size(items, v);
}

static bool
add_elements(struct items *items, json_t *array, struct verdict *v)
{
    json_t *element;
    size_t index;

    if (!json_is_array(array))
        return verdict_refuse(v, "DeserializationError", "the body of a batch must be a JSON array");
    if (json_array_size(array) == 0)
        return verdict_refuse(v, "ArgumentInvalid", "the batch is empty");
    json_array_foreach(array, index, element)
    {
        if (!add_element(items, element, index, v))
            return false;
    }
    return true;
}

bool
events_batch(const GByteArray *body, struct items *items, struct verdict *v)
{
    json_error_t error;
    json_t *array = json_loadb((const char *)body->data, body->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    bool ok;

    if (!array)
        return verdict_refuse(v, "DeserializationError", "not JSON: %s at byte %d", error.text, error.position);
    ok = add_elements(items, array, v);
    json_decref(array);
    return ok;
}
