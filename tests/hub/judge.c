/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Order: host, resource, method, api-version, then the token: fields, host and scope of sr, device, signature, expiry.
 */
#include <config.h>

#include "tests/hub/judge.h"
#include "tests/hub/device.h"
#include "tests/hub/headers.h"
#include "tests/hub/token.h"

#include <string.h>

static const char *const api_versions[] = { "2016-11-14", "2020-03-13", "2020-09-30", "2021-04-12", NULL };

static bool
is_this_host(const struct judge *judge, const char *value)
{
    const size_t n = strlen(judge->host);
    g_autofree char *port = g_strdup_printf(":%u", judge->port);

    return g_ascii_strncasecmp(value, judge->host, n) == 0 &&
           (!value[n] || strcmp(value + n, ":443") == 0 || strcmp(value + n, port) == 0);
}

static bool
check_host(const struct judge *judge, const char *server_name, const GArray *headers, struct verdict *v)
{
    const char *host;
    const unsigned n = headers_find(headers, "Host", &host);

    if (!server_name || g_ascii_strcasecmp(server_name, judge->host) != 0)
        return verdict_refuse(v, "IotHubNotFound", "the TLS server name (SNI) is not %s", judge->host);
    if (n != 1 || !is_this_host(judge, host))
        return verdict_refuse(v, "IotHubNotFound", "there must be one Host header, and it must name %s", judge->host);
    return true;
}

static bool
check_target(const struct target *target, const char *method, struct verdict *v)
{
    if (!target->events)
        return verdict_refuse(v, "GenericNotFound", "there is no such resource for a device");
    if (strcmp(method, "POST") != 0)
        return verdict_refuse(v, "GenericMethodNotAllowed", "only POST sends events");
    if (target->repeated || !target->api_version || !g_strv_contains(api_versions, target->api_version))
        return verdict_refuse(v, "InvalidProtocolVersion", "api-version must stand once and be a known one");
    return true;
}

static bool
read_token(const GArray *headers, struct token *token, struct verdict *v)
{
    const char *authorization;
    const unsigned n = headers_find(headers, "Authorization", &authorization);

    if (n != 1)
        return verdict_refuse(v, "IotHubUnauthorizedAccess",
                              "Unauthorized: there must be exactly one Authorization header");
    return token_parse(authorization, token, v);
}

static bool
check_scope(const struct judge *judge, const struct target *target, const struct token *token, struct verdict *v)
{
    g_autofree char *identity = target->module ? g_strdup_printf("%s/devices/%s/modules/%s", judge->host,
                                                                 target->device, target->module)
                                               : g_strdup_printf("%s/devices/%s", judge->host, target->device);
    g_autofree char *resource = g_strdup_printf("%s%s", judge->host, target->path);

    if (token->has_policy)
        return verdict_refuse(v, "IotHubUnauthorizedAccess", "Unauthorized: this hub has no shared access policies");
    return token_covers(token, judge->host, identity, resource, v);
}

static bool
check_device(const struct judge *judge, const struct target *target, const struct token *token, struct verdict *v)
{
    const struct device *device = device_find(judge->devices, target->device, target->module);
    bool genuine = false;

    if (!device)
        return verdict_refuse(v, "IotHubUnauthorizedAccess", "Unauthorized: unknown device or module");
    if (!device->enabled)
        return verdict_refuse(v, "IotHubUnauthorizedAccess", "Unauthorized: the device is disabled");
    for (unsigned i = 0; i < G_N_ELEMENTS(device->keys); i++)
        genuine |= device->keys[i].len && token_is_signed_by(token, device->keys[i].bytes, device->keys[i].len);
    if (!genuine)
        return verdict_refuse(v, "IotHubUnauthorizedAccess", "Unauthorized: no key of the device made this signature");
    if (token->expiry + TOKEN_GRACE_S < judge->now_s)
        return verdict_refuse(v, "IotHubUnauthorizedAccess", "Unauthorized: the token has expired");
    return true;
}

bool
judge_head(const struct judge *judge, const struct target *target, const char *method, const char *server_name,
           const GArray *headers, struct request *request, struct verdict *v)
{
    struct token token = { 0 };
    const bool read = read_token(headers, &token, v);
    bool ok;

    if (token.id[0])
        request->token_id = g_strdup(token.id);
    request->sr_raw = g_strdup(token.sr_raw);
    request->token_expiry = token.expiry;
    /* What was found wrong with the token stands in v; anything before it in the order overwrites that. */
    ok = check_host(judge, server_name, headers, v) && check_target(target, method, v) && read &&
         check_scope(judge, target, &token, v) && check_device(judge, target, &token, v);
    token_clear(&token);
    return ok;
}
