/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Open addressing, linear probing, at most two thirds full; 16 bytes an entry. The same id may stand several times,
 * once for each request that brought it; IDS_PER_MARK bounds how often.
 */
#include <config.h>

#include "tests/hub/ids.h"
#include "tests/hub/hash.h"

#include <string.h>

#include <glib.h>

#define INITIAL 4096
#define IDS_PER_MARK 16

struct entry {
    uint64_t high;
    uint32_t low;
    uint32_t request;
};

struct ids {
    struct entry *entries;
    size_t size; /* a power of two */
    size_t used;
};

struct ids *
ids_new(void)
{
    struct ids *ids = g_new0(struct ids, 1);

    ids_reset(ids);
    return ids;
}

void
ids_free(struct ids *ids)
{
    if (ids)
        g_free(ids->entries);
    g_free(ids);
}

void
ids_reset(struct ids *ids)
{
    g_free(ids->entries);
    *ids = (struct ids){ .entries = g_new0(struct entry, INITIAL), .size = INITIAL };
}

uint64_t
ids_identity(const char *device, const char *module)
{
    const uint64_t h = hash64(device, strlen(device), 1);

    return module ? hash64(module, strlen(module), h) : h;
}

struct ids_mark
ids_mark(uint64_t identity, const char *id, size_t len)
{
    const uint64_t high = hash64(id, len, identity);

    return (struct ids_mark){ high ? high : 1, (uint32_t)hash64(id, len, ~identity) };
}

static bool
is_at(const struct entry *entry, struct ids_mark mark)
{
    return entry->high == mark.high && entry->low == mark.low;
}

static void
place(struct ids *ids, struct entry entry)
{
    size_t i = entry.high & (ids->size - 1);
    unsigned same = 0;

    while (ids->entries[i].high) {
        if (is_at(&ids->entries[i], (struct ids_mark){ entry.high, entry.low }) &&
            (ids->entries[i].request == entry.request || ++same == IDS_PER_MARK))
            return;
        i = (i + 1) & (ids->size - 1);
    }
    ids->entries[i] = entry;
    ids->used++;
}

static void
grow(struct ids *ids)
{
    struct ids bigger = { .entries = g_new0(struct entry, ids->size * 2), .size = ids->size * 2 };

    for (size_t i = 0; i < ids->size; i++)
        if (ids->entries[i].high)
            place(&bigger, ids->entries[i]);
    g_free(ids->entries);
    *ids = bigger;
}

void
ids_add(struct ids *ids, struct ids_mark mark, uint32_t request)
{
    if (ids->used * 3 >= ids->size * 2)
        grow(ids);
    place(ids, (struct entry){ mark.high, mark.low, request });
}

uint32_t
ids_next(const struct ids *ids, struct ids_mark mark, size_t *cursor)
{
    size_t i = *cursor ? *cursor & (ids->size - 1) : mark.high & (ids->size - 1);

    for (; ids->entries[i].high; i = (i + 1) & (ids->size - 1)) {
        if (!is_at(&ids->entries[i], mark))
            continue;
        *cursor = i + 1 + ids->size;
        return ids->entries[i].request;
    }
    return 0;
}
