/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The message ids that were accepted, as fingerprints, each with the request that brought it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ids;

struct ids_mark {
    uint64_t high; /* never 0 */
    uint32_t low;
};

struct ids *ids_new(void);
void ids_free(struct ids *ids);
void ids_reset(struct ids *ids); /* forget all */

/* Of one message of one identity; 96 bits, so that two ids share one only in theory. */
struct ids_mark ids_mark(uint64_t identity, const char *id, size_t len);
uint64_t ids_identity(const char *device, const char *module);

void ids_add(struct ids *ids, struct ids_mark mark, uint32_t request);

/* Walks the requests that brought this id: start with *cursor 0; 0 when there are no more. */
uint32_t ids_next(const struct ids *ids, struct ids_mark mark, size_t *cursor);
