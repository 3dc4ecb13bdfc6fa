/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/buf.h"

void
buf_init(struct buf *buf, size_t ceiling)
{
    *buf = (struct buf){ .bytes = g_string_new(NULL), .ceiling = ceiling };
}

void
buf_clear(struct buf *buf)
{
    if (buf->bytes)
        g_string_free(buf->bytes, TRUE);
    buf->bytes = NULL;
}

void
buf_reset(struct buf *buf)
{
    g_string_truncate(buf->bytes, 0);
    buf->cut = false;
}

bool
buf_append(struct buf *buf, const void *data, size_t n)
{
    if (n > buf->ceiling - buf->bytes->len) {
        buf->cut = true;
        return false;
    }
    g_string_append_len(buf->bytes, data, (gssize)n);
    return true;
}
