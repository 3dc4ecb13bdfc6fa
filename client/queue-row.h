/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A message as the queue's file has it, and the checksum that goes with it there: SQLite keeps none, and would hand out
 * whatever a failing disk made of a row.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A message that waits, or is dead. What is read from a connection lives until the next call on it. */
struct queue_row {
    uint64_t seq;
    int64_t created_ms;
    uint32_t counted;
    const char *properties;
    size_t properties_len;
    const void *body;
    size_t len;
    int64_t expires_ms; /* queue_expires; 0 where that was not asked */
    /* of dead ones only */
    int64_t buried_ms;
    int status;
    const char *reason; /* NULL for one that waits */
};

/* Over all but what only dead ones have. */
uint32_t queue_row_crc(const struct queue_row *row);
