/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which pages hold nothing any more, although they may still look as if they did: those on the list of free ones. Where
 * that list is damaged, those that no tree leads to, unless a tree is damaged as well: then none is known.
 */
#include <config.h>

#include "client/pages-internal.h"

/* Of page 1 (https://sqlite.org/fileformat2.html, section 1.3). */
#define AT_FIRST_TRUNK 32
#define AT_FREE_COUNT 36

/* Of a page of a tree (section 1.6). */
enum { INTERIOR_OF_INDEX = 0x02, INTERIOR_OF_TABLE = 0x05, LEAF_OF_INDEX = 0x0a, LEAF_OF_TABLE = 0x0d };
#define INTERIOR_HEADER 12

/* Trees begin on the pages that follow the first, in the order in which queue-schema.c makes them: waiting, dead, gone,
 * state, boot with its index, expiry with its own, salvage. */
#define FIRST_ROOT 2
#define LAST_ROOT 10

struct search {
    const struct pages *pages;
    uint8_t *set;
    uint32_t n; /* in the set */
    bool broken;
    GArray *ahead; /* uint32_t: pages that are still to be looked at */
};

/* False where it is in the set already, or is no page. */
static bool
put(struct search *search, uint32_t number)
{
    if (number < 1 || number > search->pages->count || pages_set_has(search->set, number)) {
        search->broken = true;
        return false;
    }
    search->set[number / 8] |= 1 << number % 8;
    search->n++;
    return true;
}

/* ---- The list (section 1.5): trunks, each with the next trunk, a number of leaves and these */

static void
follow_list(struct search *search)
{
    const struct pages *pages = search->pages;
    g_autofree uint8_t *page = g_malloc(pages->size);
    if (!pages_read(pages, 1, page)) {
        search->broken = true;
        return;
    }
    uint32_t trunk = pages_u32(page + AT_FIRST_TRUNK), told = pages_u32(page + AT_FREE_COUNT);
    while (trunk && put(search, trunk) && pages_read(pages, trunk, page)) {
        uint32_t leaves = MIN(pages_u32(page + 4), pages->size / 4 - 2);
        for (uint32_t i = 0; i < leaves; i++)
            (void)put(search, pages_u32(page + 8 + 4 * i));
        trunk = pages_u32(page);
    }
    search->broken = search->broken || search->n != told;
}

/* ---- The trees */

static void
note_children(struct search *search, const uint8_t *page)
{
    uint32_t size = search->pages->size, cells = (uint32_t)page[3] << 8 | page[4], last = pages_u32(page + 8);
    g_array_append_val(search->ahead, last);
    for (uint32_t i = 0; i < cells && INTERIOR_HEADER + 2 * i + 2 <= size; i++) {
        const uint8_t *pointer = page + INTERIOR_HEADER + 2 * i;
        uint32_t at = (uint32_t)pointer[0] << 8 | pointer[1];
        uint32_t child = at + 4 <= size ? pages_u32(page + at) : 0;
        g_array_append_val(search->ahead, child);
    }
}

static void
follow_trees(struct search *search)
{
    g_autofree uint8_t *page = g_malloc(search->pages->size);
    for (uint32_t root = FIRST_ROOT; root <= LAST_ROOT; root++)
        g_array_append_val(search->ahead, root);
    while (!search->broken && search->ahead->len > 0) {
        uint32_t number = g_array_index(search->ahead, uint32_t, search->ahead->len - 1);
        g_array_set_size(search->ahead, search->ahead->len - 1);
        if (!put(search, number) || !pages_read(search->pages, number, page)) {
            search->broken = true;
        } else if (page[0] == INTERIOR_OF_TABLE || page[0] == INTERIOR_OF_INDEX) {
            note_children(search, page);
        } else if (page[0] != LEAF_OF_TABLE && page[0] != LEAF_OF_INDEX) {
            search->broken = true;
        }
    }
}

static uint8_t *
find(const struct pages *pages, void (*follow)(struct search *))
{
    struct search search = { .pages = pages, .set = g_malloc0((size_t)pages->count / 8 + 1) };
    search.ahead = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    follow(&search);
    g_array_unref(search.ahead);
    if (search.broken)
        g_clear_pointer(&search.set, g_free);
    return search.set;
}

uint8_t *
pages_find_free(const struct pages *pages)
{
    size_t bytes = (size_t)pages->count / 8 + 1;
    uint8_t *set = find(pages, follow_list);
    if (set)
        return set;
    set = find(pages, follow_trees);
    if (!set)
        return g_malloc0(bytes);
    for (size_t i = 0; i < bytes; i++)
        set[i] = (uint8_t)~set[i]; /* what no tree leads to */
    return set;
}
