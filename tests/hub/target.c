/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * /devices/D/messages/events and /devices/D/modules/M/messages/events, each segment percent-encoded by itself.
 */
#include <config.h>

#include "tests/hub/target.h"
#include "tests/hub/charset.h"
#include "tests/hub/codec.h"

#include <string.h>

#include <glib.h>

static char *
take_id(const char *segment)
{
    g_autofree char *id = codec_percent_decode(segment, strlen(segment), false);

    return id && charset_is_id(id, strlen(id)) ? g_steal_pointer(&id) : NULL;
}

static void
parse_path(struct target *target)
{
    g_auto(GStrv) s = g_strsplit(target->raw, "/", -1);
    const guint n = g_strv_length(s);

    target->path = codec_percent_decode(target->raw, strlen(target->raw), false);
    if (n < 3 || s[0][0] || strcmp(s[1], "devices") != 0)
        return;
    target->device = take_id(s[2]);
    if (n >= 5 && strcmp(s[3], "modules") == 0)
        target->module = take_id(s[4]);
    const guint rest = target->module ? 5 : 3;
    target->events = target->path && target->device && n == rest + 2 && strcmp(s[rest], "messages") == 0 &&
                     strcmp(s[rest + 1], "events") == 0;
}

static void
parse_query(const char *query, struct target *target)
{
    g_auto(GStrv) fields = g_strsplit(query, "&", -1);

    for (char **field = fields; *field; field++) {
        if (!g_str_has_prefix(*field, "api-version="))
            continue;
        target->repeated = target->api_version != NULL;
        g_free(target->api_version);
        target->api_version = g_strdup(*field + strlen("api-version="));
    }
}

void
target_parse(const char *uri, struct target *target)
{
    const char *query = strchr(uri, '?');

    *target = (struct target){ .raw = query ? g_strndup(uri, (gsize)(query - uri)) : g_strdup(uri) };
    parse_path(target);
    if (query)
        parse_query(query + 1, target);
}

void
target_clear(struct target *target)
{
    g_free(target->raw);
    g_free(target->path);
    g_free(target->device);
    g_free(target->module);
    g_free(target->api_version);
    *target = (struct target){ 0 };
}
