/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The sections named are those of https://sqlite.org/fileformat2.html.
 */
#include <config.h>

#include "client/cells.h"

#include <string.h>

#define LEAF_OF_TABLE 0x0d
#define HEADER 8 /* of a leaf */

struct cells {
    const struct pages *pages;
    uint32_t size;
    uint8_t *page, *more; /* the page; one that a long row goes on upon */
    unsigned n, at;       /* rows on it, the next one */
    GByteArray *payload;  /* of the row at hand */
};

struct cells *
cells_new(const struct pages *pages)
{
    struct cells *cells = g_new0(struct cells, 1);
    cells->pages = pages;
    cells->size = pages_size(pages);
    cells->page = g_malloc(cells->size);
    cells->more = g_malloc(cells->size);
    cells->payload = g_byte_array_new();
    return cells;
}

void
cells_free(struct cells *cells)
{
    if (!cells)
        return;
    g_free(cells->page);
    g_free(cells->more);
    g_byte_array_unref(cells->payload);
    g_free(cells);
}

bool
cells_begin(struct cells *cells, uint32_t page)
{
    cells->n = cells->at = 0;
    /* Page 1 has the tables' own descriptions. */
    if (page < 2 || pages_is_free(cells->pages, page) || !pages_read(cells->pages, page, cells->page) ||
        cells->page[0] != LEAF_OF_TABLE)
        return false;
    cells->n = (unsigned)cells->page[3] << 8 | cells->page[4];
    return HEADER + 2 * (size_t)cells->n <= cells->size;
}

/* ---- Numbers. Each returns how many bytes it took, 0 where there are too few. */

static size_t
read_varint(const uint8_t *bytes, size_t len, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < len && i < 9; i++) {
        if (i == 8) {
            *value = *value << 8 | bytes[i];
            return 9;
        }
        *value = *value << 7 | (bytes[i] & 0x7f);
        if (!(bytes[i] & 0x80))
            return i + 1;
    }
    return 0;
}

static int64_t
read_integer(const uint8_t *bytes, size_t len)
{
    uint64_t value = len && (bytes[0] & 0x80) ? UINT64_MAX : 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

/* ---- One row */

/* How much of a row stands on its own page (section 1.6). */
static size_t
local_bytes(uint32_t size, uint64_t len)
{
    size_t most = size - 35, least = (size - 12) * 32 / 255 - 23;
    if (len <= most)
        return (size_t)len;
    size_t wanted = least + (size_t)((len - least) % (size - 4));
    return wanted <= most ? wanted : least;
}

/* The rest of a row: pages, each with the next page's number and as many bytes as it holds. */
static bool
follow(struct cells *cells, uint32_t next, size_t left)
{
    while (left > 0) {
        size_t n = MIN(left, cells->size - 4);
        if (!pages_read(cells->pages, next, cells->more))
            return false;
        g_byte_array_append(cells->payload, cells->more + 4, (guint)n);
        next = pages_u32(cells->more);
        left -= n;
    }
    return true;
}

static bool
read_payload(struct cells *cells, size_t at, int64_t *id)
{
    uint64_t len, rowid;
    const uint8_t *page = cells->page;
    size_t used = read_varint(page + at, cells->size - at, &len);
    at += used;
    size_t id_used = used ? read_varint(page + at, cells->size - at, &rowid) : 0;
    at += id_used;
    if (!id_used || len > CELLS_BYTES_MAX)
        return false;
    *id = (int64_t)rowid;
    size_t local = local_bytes(cells->size, len);
    if (at + local + (local < len ? 4 : 0) > cells->size)
        return false;
    g_byte_array_set_size(cells->payload, 0);
    g_byte_array_append(cells->payload, page + at, (guint)local);
    return local == len || follow(cells, pages_u32(page + at + local), (size_t)len - local);
}

/* Type and length of what a serial type stands for (section 2.1). */
static size_t
read_type(uint64_t serial, struct cells_value *value)
{
    static const size_t integers[] = { 0, 1, 2, 3, 4, 6, 8 };
    *value = (struct cells_value){ .type = CELLS_INTEGER };
    if (serial == 0)
        value->type = CELLS_NULL;
    else if (serial < G_N_ELEMENTS(integers))
        return integers[serial];
    else if (serial == 7)
        value->type = CELLS_REAL;
    else if (serial == 8 || serial == 9)
        value->integer = (int64_t)serial - 8;
    else
        value->type = serial % 2 ? CELLS_TEXT : CELLS_BLOB;
    return serial == 7 ? 8 : serial >= 12 ? (size_t)((serial - 12) / 2) : 0;
}

static bool
read_record(const struct cells *cells, struct cells_row *row)
{
    const uint8_t *bytes = cells->payload->data;
    size_t len = cells->payload->len;
    uint64_t header, serial;
    size_t at = read_varint(bytes, len, &header), body = (size_t)header;
    if (!at || header > len)
        return false;
    for (row->n = 0; at < header; row->n++) {
        size_t used = read_varint(bytes + at, (size_t)header - at, &serial);
        if (!used || row->n == CELLS_COLUMNS || serial > 2 * (uint64_t)CELLS_BYTES_MAX + 13)
            return false;
        struct cells_value *value = &row->values[row->n];
        size_t n = read_type(serial, value);
        if (n > len - body)
            return false;
        if (value->type == CELLS_INTEGER && n > 0)
            value->integer = read_integer(bytes + body, n);
        value->bytes = bytes + body;
        value->len = n;
        at += used;
        body += n;
    }
    return true;
}

bool
cells_next(struct cells *cells, struct cells_row *row)
{
    while (cells->at < cells->n) {
        const uint8_t *pointer = cells->page + HEADER + 2 * (size_t)cells->at++;
        size_t at = (size_t)pointer[0] << 8 | pointer[1];
        if (at < cells->size && read_payload(cells, at, &row->id) && read_record(cells, row))
            return true;
    }
    return false;
}
