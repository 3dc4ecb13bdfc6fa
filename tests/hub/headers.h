/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The header fields of one request, in order, repeated ones included. All text is borrowed from the connection.
 */
#pragma once

#include <stddef.h>

#include <glib.h>

struct MHD_Connection;

struct header {
    const char *name;
    const char *value;
    size_t len;
};

GArray *headers_collect(struct MHD_Connection *connection); /* of struct header */

/* How often name stands there, in any case; *value is the first, or NULL. */
unsigned headers_find(const GArray *headers, const char *name, const char **value);
