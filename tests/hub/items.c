/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Appending only, into two arrays of the request: no allocation for each message.
 */
#include <config.h>

#include "tests/hub/items.h"

#include <string.h>

void
items_init(struct items *items)
{
    *items = (struct items){ .ids = g_byte_array_new(), .bodies = g_byte_array_new() };
}

void
items_clear(struct items *items)
{
    g_clear_pointer(&items->ids, g_byte_array_unref);
    g_clear_pointer(&items->bodies, g_byte_array_unref);
}

void
items_reset(struct items *items)
{
    g_byte_array_set_size(items->ids, 0);
    g_byte_array_set_size(items->bodies, 0);
    items->count = 0;
    items->counted = 0;
}

/* Overwrites a number that was left open; the array may have moved since. */
static void
patch_u32(GByteArray *out, guint at, uint32_t value)
{
    memcpy(out->data + at, &value, sizeof value);
}

void
items_begin(struct items *items)
{
    items->properties_at = items->bodies->len;
    pack_u32(items->bodies, 0);
}

void
items_property(struct items *items, bool system, const char *name, const char *value, size_t len)
{
    const guint8 flag = system;

    g_byte_array_append(items->bodies, &flag, 1);
    pack_bytes(items->bodies, name, strlen(name));
    pack_bytes(items->bodies, value, len);
}

void
items_id(struct items *items, const char *id, size_t len)
{
    if (id)
        pack_bytes(items->ids, id, len);
    else
        pack_text(items->ids, NULL);
}

uint8_t *
items_body_reserve(struct items *items, size_t most)
{
    const guint at = items->bodies->len;

    patch_u32(items->bodies, items->properties_at, at - items->properties_at - (guint)sizeof(uint32_t));
    g_byte_array_set_size(items->bodies, at + (guint)sizeof(uint32_t) + (guint)most);
    items->properties_at = at;
    return items->bodies->data + at + sizeof(uint32_t);
}

void
items_body_commit(struct items *items, size_t len)
{
    patch_u32(items->bodies, items->properties_at, (uint32_t)len);
    g_byte_array_set_size(items->bodies, items->properties_at + (guint)sizeof(uint32_t) + (guint)len);
    items->counted += len;
    items->count++;
}

void
items_drop_bodies(struct items *items)
{
    g_byte_array_set_size(items->bodies, 0);
}

bool
items_next(struct unpack *ids, struct unpack *bodies, struct item *item)
{
    if (ids->at == ids->end)
        return false;
    item->id = (const char *)unpack_bytes(ids, &item->id_len);
    item->properties = unpack_bytes(bodies, &item->properties_len);
    item->body = unpack_bytes(bodies, &item->body_len);
    return !ids->bad && !bodies->bad;
}
