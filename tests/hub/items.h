/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The messages of one request, packed: the ids apart from the rest, so that lists of ids are read without bodies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "tests/hub/pack.h"

struct items {
    GByteArray *ids;    /* count packed texts, NULL where a message has no id */
    GByteArray *bodies; /* count times: properties, body */
    uint32_t count;
    size_t counted; /* what the 256 KiB limit counts */
    guint properties_at;
};

void items_init(struct items *items);
void items_clear(struct items *items);
void items_reset(struct items *items); /* empty, memory kept */

/* One message: begin, its properties, its id, its body, in this order. */
void items_begin(struct items *items);
void items_property(struct items *items, bool system, const char *name, const char *value, size_t len);
void items_id(struct items *items, const char *id, size_t len); /* id may be NULL */
uint8_t *items_body_reserve(struct items *items, size_t most);  /* room for a body of at most so many bytes */
void items_body_commit(struct items *items, size_t len);
void items_drop_bodies(struct items *items); /* keeps the ids */

struct item {
    const char *id; /* not NUL-terminated; NULL when absent */
    size_t id_len;
    const uint8_t *properties; /* packed: a byte that says system or not, name, value of each */
    size_t properties_len;
    const uint8_t *body;
    size_t body_len;
};

/* Walks packed ids and bodies side by side; false at the end or when they are short. */
bool items_next(struct unpack *ids, struct unpack *bodies, struct item *item);
