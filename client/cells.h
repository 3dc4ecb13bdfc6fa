/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The rows on one page of an SQLite table, read without SQLite: pages.h gives the page. Nothing on it is believed: what
 * does not fit is no row.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "client/pages.h"

#define CELLS_COLUMNS 32
#define CELLS_BYTES_MAX (1 << 20) /* of a row; longer ones are passed over */

enum cells_type { CELLS_NULL, CELLS_INTEGER, CELLS_TEXT, CELLS_BLOB, CELLS_REAL };

struct cells_value {
    enum cells_type type;
    int64_t integer;
    const uint8_t *bytes; /* of text and blobs; lives until the next row is read */
    size_t len;
};

struct cells_row {
    int64_t id;
    unsigned n;
    struct cells_value values[CELLS_COLUMNS];
};

struct cells;

struct cells *cells_new(const struct pages *pages);
void cells_free(struct cells *cells); /* NULL is fine */

/* False where the page has no rows of a table on it, is free, or cannot be read. */
bool cells_begin(struct cells *cells, uint32_t page);

/* The next row on the page that can be read; false at its end. */
bool cells_next(struct cells *cells, struct cells_row *row);
