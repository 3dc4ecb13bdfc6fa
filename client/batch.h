/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Waiting messages into the body of one request: a single one as it is, with its properties as headers; several as the
 * JSON array of IoT Hub's batch form, [{"body":"<base64>","properties":{...}},...]. Two limits hold at once: the bytes
 * of the JSON and the bytes that the hub counts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define BATCH_MAX 261119 /* bytes, of both kinds */

/* One message, as the queue has it. */
struct batch_item {
    uint64_t seq;
    int64_t created_ms;
    uint32_t counted;
    const char *properties; /* JSON object */
    size_t properties_len;
    const void *body;
    size_t len;
};

struct batch_run {
    uint64_t first, last;
};

struct batch {
    size_t n;
    GArray *runs;         /* struct batch_run: the numbers without their gaps */
    uint64_t first, last; /* seq */
    int64_t oldest_ms;    /* creation time of the first */
    size_t counted;
    GByteArray *body;    /* of the first message, until there is a second */
    GString *properties; /* likewise */
    GString *json;       /* "[{...},{...}" once there are two */
    size_t max;          /* bytes, of both kinds; BATCH_MAX until somebody sets less. Kept by batch_reset */
    bool full;           /* one more did not fit */
    bool sealed;         /* full, or the body was made */
};

struct batch *batch_new(void);
void batch_free(struct batch *batch); /* NULL is fine */
void batch_reset(struct batch *batch);

/* False, and nothing changed but sealed, when the item does not fit any more. The first always does: the queue takes no
 * message that is too large to be sent alone. */
bool batch_add(struct batch *batch, const struct batch_item *item);

/* What to send. The batch may not be added to afterwards. */
const void *batch_body(struct batch *batch, size_t *len);

/* Headers of the request but Authorization, "Name: value" each; Content-Type tells the two forms apart. NULL where the
 * stored properties cannot be read. */
GPtrArray *batch_headers(const struct batch *batch);
