/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/queue-row.h"

#include <glib.h>
#include <zlib.h>

/* The lengths are part of it, so that no byte can move from one field into the next. */
uint32_t
queue_row_crc(const struct queue_row *row)
{
    const uint64_t head[] = { GUINT64_TO_LE(row->seq), GUINT64_TO_LE((uint64_t)row->created_ms),
                              GUINT64_TO_LE((uint64_t)row->counted), GUINT64_TO_LE((uint64_t)row->properties_len),
                              GUINT64_TO_LE((uint64_t)row->len) };
    uLong crc = crc32_z(0, (const Bytef *)head, sizeof head);
    if (row->properties_len) /* where there is nothing the pointer may be NULL, for which zlib begins anew */
        crc = crc32_z(crc, (const Bytef *)row->properties, row->properties_len);
    if (row->len)
        crc = crc32_z(crc, row->body, row->len);
    return (uint32_t)crc;
}
