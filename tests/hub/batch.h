/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The JSON of a batch as a list of elements; what they mean is judged elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>
#include <jansson.h>

struct batch_element {
    const char *body;
    size_t body_len;
    bool base64;
    guint first; /* its properties stand together in the batch's */
    guint properties;
};

struct batch_property { /* both NUL-terminated */
    const char *name;
    const char *value;
    size_t len;
};

struct batch {
    GArray *elements;   /* of struct batch_element */
    GArray *properties; /* of struct batch_property */
    json_t *json;       /* owns the texts where the library read them */
};

void batch_init(struct batch *batch);
void batch_clear(struct batch *batch);
