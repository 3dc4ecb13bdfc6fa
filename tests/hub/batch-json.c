/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The library words what is wrong with a batch; the regular form seldom comes here.
 */
#include <config.h>

#include "tests/hub/batch-json.h"

static bool
malformed(struct verdict *v, size_t index, const char *what)
{
    return verdict_refuse(v, "DeserializationError", "element %zu of the batch: %s", index, what);
}

static bool
add_properties(struct batch *batch, json_t *properties, size_t index, struct verdict *v)
{
    const char *name;
    json_t *value;

    if (properties && !json_is_object(properties))
        return malformed(v, index, "properties must be an object");
    json_object_foreach(properties, name, value)
    {
        const struct batch_property property = { name, json_string_value(value), json_string_length(value) };
        if (!property.value)
            return malformed(v, index, "the value of every property must be a string");
        g_array_append_val(batch->properties, property);
    }
    return true;
}

static bool
add_element(struct batch *batch, json_t *json, size_t index, struct verdict *v)
{
    json_t *body = json_object_get(json, "body");
    json_t *base64 = json_object_get(json, "base64Encoded");
    json_t *properties = json_object_get(json, "properties");
    const struct batch_element element = { json_string_value(body), json_string_length(body), !json_is_false(base64),
                                           batch->properties->len, (guint)json_object_size(properties) };

    if (!json_is_object(json))
        return malformed(v, index, "must be an object");
    if (!json_is_string(body))
        return malformed(v, index, "body must be there and be a string");
    if (base64 && !json_is_boolean(base64))
        return malformed(v, index, "base64Encoded must be true or false");
    if (json_object_size(json) != 1 + (base64 ? 1u : 0u) + (properties ? 1u : 0u))
        return malformed(v, index, "only body, base64Encoded and properties may stand in it");
    g_array_append_val(batch->elements, element);
    return add_properties(batch, properties, index, v);
}

bool
batch_json(const char *text, size_t len, struct batch *batch, struct verdict *v)
{
    json_error_t error;
    json_t *json;
    size_t index;

    batch->json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!batch->json)
        return verdict_refuse(v, "DeserializationError", "not JSON: %s at byte %d", error.text, error.position);
    if (!json_is_array(batch->json))
        return verdict_refuse(v, "DeserializationError", "the body of a batch must be a JSON array");
    if (json_array_size(batch->json) == 0)
        return verdict_refuse(v, "ArgumentInvalid", "the batch is empty");
    json_array_foreach(batch->json, index, json)
    {
        if (!add_element(batch, json, index, v))
            return false;
    }
    return true;
}
