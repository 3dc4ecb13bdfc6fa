/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/whose.h"
#include "tools/keyfile.h"

struct whose whose_options;

static bool
check_device(const struct context *context, const struct whose *whose)
{
    const char *missing = !whose->host       ? "--host-name"
                          : !whose->device   ? "--device-id"
                          : !whose->key_file ? "--key-file"
                                             : NULL;
    if (missing)
        command_usage(context, "%s is missing", missing);
    return !missing;
}

static bool
check_audience(const struct context *context, const struct whose *whose)
{
    const char *missing = !whose->audience   ? "--audience"
                          : !whose->key_name ? "--key-name"
                          : !whose->key_file ? "--key-file"
                                             : NULL;
    if (whose->host || whose->device || whose->module || whose->gateway)
        command_usage(context,
                      "a key is a device's (--host-name, --device-id) or an audience's (--audience, --key-name), "
                      "not both");
    else if (missing)
        command_usage(context, "%s is missing", missing);
    else
        return true;
    return false;
}

bool
whose_check(const struct context *context)
{
    const struct whose *whose = &whose_options;
    bool device = whose->host || whose->device || whose->module || whose->gateway,
         audience = whose->audience || whose->key_name;
    if (whose->connection_string_file) {
        if (!device && !audience && !whose->key_file)
            return true;
        command_usage(context, "--connection-string-file says all; leave out the other options about identity and key");
        return false;
    }
    if (audience)
        return check_audience(context, whose);
    if (device || whose->key_file)
        return check_device(context, whose);
    command_usage(context, "say whose key: --connection-string-file, or --host-name, --device-id and --key-file, or "
                           "--audience, --key-name and --key-file");
    return false;
}

struct identity *
whose_read(struct secret **key, GError **error)
{
    const struct whose *whose = &whose_options;
    if (whose->connection_string_file)
        return keyfile_read_connection_string(whose->connection_string_file, key, error);
    g_autoptr(identity_auto) identity = identity_new();
    *identity = (struct identity){
        .host = g_strdup(whose->host),         .device = g_strdup(whose->device),
        .module = g_strdup(whose->module),     .gateway = g_strdup(whose->gateway),
        .audience = g_strdup(whose->audience), .key_name = g_strdup(whose->key_name),
    };
    if (!identity_check(identity, error))
        return NULL;
    *key = whose->audience ? keyfile_read_text(whose->key_file, error) : keyfile_read(whose->key_file, error);
    return *key ? g_steal_pointer(&identity) : NULL;
}
