/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/batch.h"

#include <jansson.h>

#define ITEM_OVERHEAD (sizeof "{\"body\":\"\",\"properties\":}" - 1)
#define BATCH_TYPE "Content-Type: application/vnd.microsoft.iothub.json"
#define SINGLE_TYPE "Content-Type: application/octet-stream"

struct batch *
batch_new(void)
{
    struct batch *batch = g_new0(struct batch, 1);
    batch->body = g_byte_array_new();
    batch->properties = g_string_new(NULL);
    batch->json = g_string_new(NULL);
    batch->runs = g_array_new(FALSE, FALSE, sizeof(struct batch_run));
    batch->max = BATCH_MAX;
    return batch;
}

void
batch_free(struct batch *batch)
{
    if (!batch)
        return;
    g_byte_array_unref(batch->body);
    g_string_free(batch->properties, TRUE);
    g_string_free(batch->json, TRUE);
    g_array_unref(batch->runs);
    g_free(batch);
}

void
batch_reset(struct batch *batch)
{
    batch->n = 0;
    batch->first = batch->last = 0;
    batch->counted = 0;
    batch->full = batch->sealed = false;
    g_byte_array_set_size(batch->body, 0);
    g_string_truncate(batch->properties, 0);
    g_string_truncate(batch->json, 0);
    g_array_set_size(batch->runs, 0);
}

static size_t
item_size(size_t len, size_t properties_len)
{
    return ITEM_OVERHEAD + (len + 2) / 3 * 4 + properties_len;
}

/* Base64 straight into the text: by GLib's stepwise encoder, without its line breaks. */
static void
append_base64(GString *text, const void *bytes, size_t len)
{
    size_t at = text->len;
    gint state = 0, save = 0;
    g_string_set_size(text, at + len / 3 * 4 + 8);
    size_t n = g_base64_encode_step(bytes, len, FALSE, text->str + at, &state, &save);
    n += g_base64_encode_close(FALSE, text->str + at + n, &state, &save);
    g_string_truncate(text, at + n);
}

static void
append_item(GString *json, const void *body, size_t len, const char *properties, size_t properties_len)
{
    g_string_append(json, json->len ? "," : "[");
    g_string_append(json, "{\"body\":\"");
    append_base64(json, body, len);
    g_string_append(json, "\",\"properties\":");
    g_string_append_len(json, properties, (gssize)properties_len);
    g_string_append_c(json, '}');
}

/* Bytes of the whole array, both brackets, with one more item. */
static size_t
size_with(const struct batch *batch, const struct batch_item *item)
{
    size_t have = batch->n == 1 ? item_size(batch->body->len, batch->properties->len) + 1 : batch->json->len;
    return have + 1 + item_size(item->len, item->properties_len) + 1;
}

static void
note_number(struct batch *batch, uint64_t seq)
{
    struct batch_run *run = batch->runs->len ? &g_array_index(batch->runs, struct batch_run, batch->runs->len - 1)
                                             : NULL;
    if (run && run->last + 1 == seq)
        run->last = seq;
    else
        g_array_append_val(batch->runs, ((struct batch_run){ .first = seq, .last = seq }));
}

bool
batch_add(struct batch *batch, const struct batch_item *item)
{
    if (batch->n == 0) {
        g_byte_array_append(batch->body, item->len ? item->body : (const void *)"", (guint)item->len);
        g_string_append_len(batch->properties, item->properties, (gssize)item->properties_len);
        batch->first = item->seq;
        batch->oldest_ms = item->created_ms;
    } else if (batch->sealed || batch->counted + item->counted > batch->max || size_with(batch, item) > batch->max) {
        batch->full = batch->full || !batch->sealed;
        batch->sealed = true;
        return false;
    } else {
        if (batch->n == 1)
            append_item(batch->json, batch->body->data, batch->body->len, batch->properties->str,
                        batch->properties->len);
        append_item(batch->json, item->body, item->len, item->properties, item->properties_len);
    }
    note_number(batch, item->seq);
    batch->n++;
    batch->last = item->seq;
    batch->counted += item->counted;
    return true;
}

const void *
batch_body(struct batch *batch, size_t *len)
{
    batch->sealed = true;
    if (batch->n == 1) {
        *len = batch->body->len;
        return batch->body->len ? (const void *)batch->body->data : "";
    }
    if (batch->json->str[batch->json->len - 1] != ']')
        g_string_append_c(batch->json, ']');
    *len = batch->json->len;
    return batch->json->str;
}

GPtrArray *
batch_headers(const struct batch *batch)
{
    GPtrArray *headers = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(headers, g_strdup(batch->n == 1 ? SINGLE_TYPE : BATCH_TYPE));
    if (batch->n != 1)
        return headers;

    json_t *properties = json_loadb(batch->properties->str, batch->properties->len, JSON_REJECT_DUPLICATES, NULL);
    const char *name;
    json_t *value;
    json_object_foreach(properties, name, value) g_ptr_array_add(
        headers, g_strdup_printf("%s: %s", name, json_string_value(value) ? json_string_value(value) : ""));
    if (!properties)
        g_clear_pointer(&headers, g_ptr_array_unref);
    json_decref(properties);
    return headers;
}
