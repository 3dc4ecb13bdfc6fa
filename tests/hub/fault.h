/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Faults that a test asks for: first posted, first matched.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <jansson.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_STATUS,
    FAULT_STALL,
    FAULT_DELAY,
    FAULT_RESET_BEFORE,
    FAULT_RESET_AFTER,
    FAULT_CLOSE_BETWEEN,
    FAULT_TRUNCATE,
    FAULT_DATE,
    FAULT_LATE_ACCEPT,
    FAULT_REFUSE_CONNECT,
};

/* Of the body of an error. Those up to CUT carry the hub's error code; NUMBER carries it in the body alone. */
enum fault_shape {
    FAULT_SHAPE_A,
    FAULT_SHAPE_B,
    FAULT_SHAPE_BIG,     /* A, and blanks up to a mebibyte */
    FAULT_SHAPE_CHUNKED, /* A, its length not told beforehand */
    FAULT_SHAPE_CUT,     /* A, the connection ends in the middle of it */
    FAULT_SHAPE_NUMBER,  /* B, without iothub-errorcode in the header */
    FAULT_SHAPE_HTML,
    FAULT_SHAPE_EMPTY,
};

/* What a matching request has to suffer. Texts are interned. */
struct fault_effect {
    uint64_t id;
    enum fault_kind kind;
    const char *name; /* of the kind */
    unsigned status;
    const char *retry_after;
    const char *error_code;
    enum fault_shape shape;
    int64_t ms;
    int64_t offset_s;
};

/* A list of faults in the order in which they came. */
GPtrArray *fault_list_new(void);

/* The id of the new fault; 0: *why says what is wrong (static text), nothing changed. */
uint64_t fault_post(GPtrArray *faults, const json_t *json, int64_t now_us, const char **why);

/* The effect of the first fault that matches, counted against it; kind FAULT_NONE when none does. */
struct fault_effect fault_match(GPtrArray *faults, const char *device, bool batch, int64_t now_us);

void fault_expire(GPtrArray *faults, int64_t now_us);
void fault_delete_all(GPtrArray *faults);
bool fault_is_alive(const GPtrArray *faults, uint64_t id);
bool fault_refuses_connections(const GPtrArray *faults);
int64_t fault_next_end(const GPtrArray *faults); /* monotonic µs, INT64_MAX: none ends by itself */
