/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The only reader of libmicrohttpd's header list.
 */
#include <config.h>

#include "tests/hub/headers.h"

#include <microhttpd.h>

static enum MHD_Result
collect(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t len)
{
    const struct header header = { name, value ? value : "", value ? len : 0 };

    g_array_append_val((GArray *)cls, header);
    return MHD_YES;
}

GArray *
headers_collect(struct MHD_Connection *connection)
{
    GArray *headers = g_array_new(FALSE, FALSE, sizeof(struct header));

    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, collect, headers);
    return headers;
}

unsigned
headers_find(const GArray *headers, const char *name, const char **value)
{
    unsigned n = 0;

    *value = NULL;
    for (guint i = 0; i < headers->len; i++) {
        const struct header *header = &g_array_index(headers, struct header, i);
        if (g_ascii_strcasecmp(header->name, name) == 0 && n++ == 0)
            *value = header->value;
    }
    return n;
}
