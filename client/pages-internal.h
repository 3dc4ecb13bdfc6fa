/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shared by the files of pages: pages.c reads them, pages-free.c finds those that hold nothing any more.
 */
#pragma once

#include "client/pages.h"

struct pages {
    int fd, log_fd; /* log_fd -1: there is none */
    uint32_t size, count;
    bool has_header, has_log;
    GHashTable *in_log; /* page -> number of its last frame in the log, from 1 */
    uint8_t *is_free;   /* a set of pages */
};

/* Sets of pages: a bit for each. */
static inline bool
pages_set_has(const uint8_t *set, uint32_t number)
{
    return (set[number / 8] & 1 << number % 8) != 0;
}

/* The set for is_free; everything else of pages is there. */
uint8_t *pages_find_free(const struct pages *pages);
