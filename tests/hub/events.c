/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A batch is all or nothing: the first thing wrong refuses the whole request.
 */
#include <config.h>

#include "tests/hub/events.h"
#include "tests/hub/batch-json.h"
#include "tests/hub/batch-plain.h"
#include "tests/hub/batch.h"
#include "tests/hub/codec.h"
#include "tests/hub/headers.h"
#include "tests/hub/property.h"

#include <string.h>

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
add_batch_properties(struct items *items, const struct batch *batch, const struct batch_element *element, size_t index,
                     struct id *id, struct verdict *v)
{
    const char *bare;

    for (guint i = 0; i < element->properties; i++) {
        const struct batch_property *property = &g_array_index(batch->properties, struct batch_property,
                                                               element->first + i);
        if (property_kind(property->name, &bare) == PROPERTY_NONE)
            return verdict_refuse(v, "ArgumentInvalid",
                                  "element %zu of the batch: property %.64s is neither iothub-app- nor a system one",
                                  index, property->name);
        if (!add_property(items, property->name, property->value, property->len, id, v))
            return false;
    }
    return true;
}

static bool
add_body(struct items *items, const struct batch_element *element, size_t index, struct verdict *v)
{
    uint8_t *room = items_body_reserve(items, element->body_len);
    size_t n = element->body_len;

    if (!element->base64)
        memcpy(room, element->body, n);
    else if (!codec_base64_decode(element->body, element->body_len, room, &n))
        return verdict_refuse(v, "DeserializationError", "element %zu of the batch: body is not strict base64", index);
    items_body_commit(items, n);
    return true;
}

static bool
add_elements(struct items *items, const struct batch *batch, struct verdict *v)
{
    for (guint i = 0; i < batch->elements->len; i++) {
        const struct batch_element *element = &g_array_index(batch->elements, struct batch_element, i);
        struct id id = { NULL, 0 };
        items_begin(items);
        if (!add_batch_properties(items, batch, element, i, &id, v))
            return false;
        items_id(items, id.text, id.len);
        if (!add_body(items, element, i, v) || !check_size(items, v))
            return false;
    }
    return true;
}

bool
events_batch(GByteArray *body, struct items *items, struct verdict *v)
{
    char *text = (char *)body->data;
    struct batch batch;
    bool ok;

    batch_init(&batch);
    ok = batch_plain(text, body->len, &batch) || batch_json(text, body->len, &batch, v);
    ok = ok && add_elements(items, &batch, v);
    batch_clear(&batch);
    return ok;
}
