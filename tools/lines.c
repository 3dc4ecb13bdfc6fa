/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/lines.h"

#include <string.h>
#include <unistd.h>

#include <glib.h>

#define CHUNK 65536

struct lines {
    int fd;
    size_t max;
    GByteArray *bytes;
    size_t start;    /* of what was not handed out */
    size_t searched; /* up to here there is no newline after start */
    uint64_t number; /* of the last line handed out */
    bool skipping;   /* the line at start is too long, and its beginning is gone */
};

struct lines *
lines_new(int fd, size_t max)
{
    struct lines *lines = g_new(struct lines, 1);
    *lines = (struct lines){ .fd = fd, .max = max, .bytes = g_byte_array_new() };
    return lines;
}

void
lines_free(struct lines *lines)
{
    g_byte_array_unref(lines->bytes);
    g_free(lines);
}

size_t
lines_buffered(const struct lines *lines)
{
    return lines->bytes->len - lines->start;
}

ssize_t
lines_fill(struct lines *lines)
{
    if (lines->start > 0) {
        g_byte_array_remove_range(lines->bytes, 0, (guint)lines->start);
        lines->searched -= lines->start;
        lines->start = 0;
    }
    guint len = lines->bytes->len;
    g_byte_array_set_size(lines->bytes, len + CHUNK);
    ssize_t n = read(lines->fd, lines->bytes->data + len, CHUNK);
    g_byte_array_set_size(lines->bytes, len + (guint)MAX(n, 0));
    return n;
}

/* Hands out len bytes at start, and steps over used of them. */
static void
take(struct lines *lines, size_t len, size_t used, struct line *line)
{
    bool too_long = lines->skipping || len > lines->max;
    *line = (struct line){
        .text = too_long ? NULL : (const char *)lines->bytes->data + lines->start,
        .len = len,
        .number = ++lines->number,
    };
    lines->start += used;
    lines->searched = lines->start;
    lines->skipping = false;
}

bool
lines_next(struct lines *lines, bool last, struct line *line)
{
    const guint8 *data = lines->bytes->data;
    size_t end = lines->bytes->len;
    const guint8 *newline = lines->searched < end ? memchr(data + lines->searched, '\n', end - lines->searched) : NULL;
    if (newline) {
        size_t len = (size_t)(newline - data) - lines->start;
        take(lines, len, len + 1, line);
        return true;
    }
    lines->searched = end;
    if (last && (lines_buffered(lines) > 0 || lines->skipping)) {
        take(lines, lines_buffered(lines), lines_buffered(lines), line);
        return true;
    }
    if (lines_buffered(lines) > lines->max) {
        lines->skipping = true;
        lines->start = lines->searched = end;
    }
    return false;
}
