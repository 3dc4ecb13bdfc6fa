/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Lines from a descriptor, as many as are ready, in bounded memory: of a line longer than the limit only its number is
 * kept. The last line need not end in a newline.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lines;

struct line {
    const char *text; /* borrowed until the next lines_fill; NULL where the line is too long */
    size_t len;
    uint64_t number; /* from 1 */
};

struct lines *lines_new(int fd, size_t max);
void lines_free(struct lines *lines);

/* Reads once. Bytes read, 0 at the end, -1 with errno. */
ssize_t lines_fill(struct lines *lines);

/* The next line that is there whole; with last, also one that has no newline yet. */
bool lines_next(struct lines *lines, bool last, struct line *line);

size_t lines_buffered(const struct lines *lines); /* bytes not handed out yet */
