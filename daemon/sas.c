/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/sas.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

static bool
check_segment(const char *segment, size_t len, size_t number, GError **error)
{
    if (len < 1 || len > SAS_SCOPE_SEGMENT_MAX) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "scope: segment %zu has %zu characters, 1 to %d are allowed; no leading, trailing or double '/'",
                  number, len, SAS_SCOPE_SEGMENT_MAX);
        return false;
    }
    if (segment[0] == '.' && (len == 1 || (len == 2 && segment[1] == '.'))) {
        error_set(error, ERROR_INVALID_ARGUMENT, "scope: segment %zu is \".\" or \"..\"; a scope names no parents",
                  number);
        return false;
    }
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(segment[i]) && !strchr("-._~!$'()*+,=:@", segment[i])) {
            error_set(
                error, ERROR_INVALID_ARGUMENT,
                "scope: segment %zu has a character that is not allowed; letters, digits and - . _ ~ ! $ ' ( ) * + , "
                "= : @ are",
                number);
            return false;
        }
    return true;
}

bool
sas_check_scope(const char *scope, GError **error)
{
    size_t len = strlen(scope), number = 1;
    if (len == 0)
        return true;
    if (len > SAS_SCOPE_MAX) {
        error_set(error, ERROR_INVALID_ARGUMENT, "scope: %zu bytes, at most %d are allowed", len, SAS_SCOPE_MAX);
        return false;
    }
    for (const char *segment = scope;; number++) {
        size_t n = strcspn(segment, "/");
        if (!check_segment(segment, n, number, error))
            return false;
        if (segment[n] == '\0')
            return true;
        segment += n + 1;
    }
}

bool
sas_scope_within(const char *scope, const char *prefix)
{
    if (strcmp(prefix, "/") == 0)
        return true;
    size_t len = strlen(prefix);
    return strncmp(scope, prefix, len) == 0 && (scope[len] == '\0' || scope[len] == '/');
}

char *
sas_string_to_sign(const char *resource, const char *scope, uint64_t expires)
{
    GString *text = g_string_sized_new(strlen(resource) + 3 * strlen(scope) + 32);
    char digits[24];
    g_string_append(text, resource);
    if (*scope) {
        g_string_append(text, "%2F");
        text_append_percent(text, scope);
    }
    g_snprintf(digits, sizeof digits, "\n%" G_GUINT64_FORMAT, expires);
    g_string_append(text, digits);
    return g_string_free(text, FALSE);
}

char *
sas_token(const char *string_to_sign, const uint8_t mac[32], const char *key_name)
{
    const char *line_feed = strchr(string_to_sign, '\n');
    g_autofree char *signature = g_base64_encode(mac, 32);
    GString *token = g_string_sized_new(strlen(string_to_sign) + 160);
    g_string_append(token, "SharedAccessSignature sr=");
    g_string_append_len(token, string_to_sign, line_feed - string_to_sign);
    g_string_append(token, "&sig=");
    text_append_percent(token, signature);
    g_string_append(token, "&se=");
    g_string_append(token, line_feed + 1);
    if (key_name) {
        g_string_append(token, "&skn=");
        text_append_percent(token, key_name);
    }
    return g_string_free(token, FALSE);
}

void
sas_token_id(const char *token, char id[SAS_TOKEN_ID_DIGITS + 1])
{
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, token, -1);
    g_strlcpy(id, digest, SAS_TOKEN_ID_DIGITS + 1);
}

uint64_t
sas_expiry(int64_t now, uint32_t ttl, uint32_t granularity, uint32_t max_ttl)
{
    uint64_t wanted = (uint64_t)now + ttl, limit = (uint64_t)now + max_ttl;
    uint64_t rounded = (wanted + granularity - 1) / granularity * granularity;
    if (rounded <= limit)
        return rounded;
    uint64_t below = limit / granularity * granularity;
    return below >= wanted ? below : wanted;
}
