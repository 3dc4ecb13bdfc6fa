/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a row in a damaged file was: rows of a queue's tables (queue-schema.c) are told apart by their shape, so that
 * one can be recognised wherever it turns up, whatever happened to the pages above it. A message is one because its
 * checksum says so; counters, because they add up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/cells.h"
#include "client/queue.h"

enum relic_kind {
    RELIC_NONE,
    RELIC_WAITING,
    RELIC_DEAD,
    RELIC_GONE,
    RELIC_BOOT,
    RELIC_EXPIRY,
    RELIC_OWNER,
    RELIC_STATE
};

struct relic {
    enum relic_kind kind;
    struct queue_row row; /* of waiting and dead ones */
    const uint8_t *text;  /* a dead one's reason, a boot's id; not terminated */
    size_t text_len;
    uint64_t numbers[5]; /* GONE: first, last, how. BOOT: n. EXPIRY: seq, boot, due, wall, ttl */
    struct queue_state state;
    const struct cells_value *owner; /* of STATE and OWNER: host, device, module */
};

/* Its pointers are the row's. False: RELIC_NONE. */
bool relic_read(const struct cells_row *row, struct relic *relic);

/* The whole of pages: whether there is anything of a queue. */
bool relic_is_ours(const struct pages *pages);

/* Finds the counters; false where they are nowhere. */
bool relic_find_state(const struct pages *pages, struct queue_state *state, struct identity **owner);

/* Whose the messages were, by the second place where that stands; NULL: nobody's, or it is lost there, too. */
struct identity *relic_find_owner(const struct pages *pages);

/* The highest number of a message. */
uint64_t relic_find_newest(const struct pages *pages);
