/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Growing bytes with a ceiling given at creation: what a peer sends can never size our memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

struct buf {
    GString *bytes; /* always NUL-terminated after its length */
    size_t ceiling;
    bool cut; /* something was refused because of the ceiling */
};

void buf_init(struct buf *buf, size_t ceiling);
void buf_clear(struct buf *buf); /* frees; the struct may be initialised again */
void buf_reset(struct buf *buf); /* empties, keeps the memory */

/* False, nothing appended and cut set, when the ceiling would be passed. */
bool buf_append(struct buf *buf, const void *data, size_t n);
