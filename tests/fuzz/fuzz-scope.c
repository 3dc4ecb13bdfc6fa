/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A scope, and lines with prefixes of scopes. What is accepted cannot lead out of its own identity, and a prefix covers
 * exactly what lies below it.
 */
#include <config.h>

#include "common/error.h"
#include "common/text.h"
#include "daemon/access.h"
#include "daemon/sas.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define RESOURCE "h.azure-devices.net%2Fdevices%2Fd"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

static void
check_accepted(const char *scope)
{
    g_auto(GStrv) segments = g_strsplit(scope, "/", -1);
    g_assert_cmpuint(strlen(scope), <=, SAS_SCOPE_MAX);
    for (char **segment = segments; *segment; segment++) {
        g_assert_cmpstr(*segment, !=, "");
        g_assert_cmpstr(*segment, !=, ".");
        g_assert_cmpstr(*segment, !=, "..");
        g_assert_cmpuint(strlen(*segment), <=, SAS_SCOPE_SEGMENT_MAX);
    }
    for (const char *c = scope; *c; c++)
        g_assert_true(g_ascii_isgraph(*c) && !strchr("%?#&\\\"<>^`{|}[];", *c));
}

/* The resource in the token, decoded by others' code, is the scope below the identity. */
static void
check_token(const char *scope)
{
    static const uint8_t mac[32] = { 1 };
    g_autofree char *signed_text = sas_string_to_sign(RESOURCE, scope, 1800000000);
    g_autofree char *token = sas_token(signed_text, mac, NULL);
    g_assert_true(g_str_has_prefix(token, "SharedAccessSignature sr=" RESOURCE));
    const char *sr = strchr(token, '=') + 1, *end = strchr(sr, '&');
    g_autofree char *encoded = g_strndup(sr, (gsize)(end - sr));
    g_autofree char *decoded = g_uri_unescape_string(encoded, NULL);
    g_autofree char *expected = g_strconcat("h.azure-devices.net/devices/d", *scope ? "/" : "", scope, NULL);
    g_assert_cmpstr(decoded, ==, expected);
    g_assert_true(g_str_has_prefix(end, "&sig="));
    g_assert_true(g_str_has_suffix(token, "&se=1800000000"));
}

/* By whole segments, the slow way. */
static bool
lies_below(const char *scope, const char *prefix)
{
    g_auto(GStrv) left = g_strsplit(scope, "/", -1), right = g_strsplit(prefix, "/", -1);
    guint n = g_strv_length(right);
    if (g_strv_length(left) < n)
        return false;
    for (guint i = 0; i < n; i++)
        if (strcmp(left[i], right[i]) != 0)
            return false;
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = fuzz_text(data, size);
    g_autoptr(GError) error = NULL;
    if (!text)
        return 0;
    g_auto(GStrv) lines = g_strsplit(text, "\n", 16);
    const char *scope = lines[0] ? lines[0] : "";
    if (!sas_check_scope(scope, &error)) {
        fuzz_expect_error(&error);
        return 0;
    }
    g_assert_no_error(error);
    if (*scope)
        check_accepted(scope);
    check_token(scope);
    for (char **prefix = lines[0] ? lines + 1 : lines; *prefix; prefix++) {
        if (!**prefix || !sas_check_scope(*prefix, NULL))
            continue;
        char *list[] = { *prefix, NULL };
        const struct access_rules rules = { .scopes = list };
        g_assert_cmpint(access_check_scope(&rules, scope), ==, lies_below(scope, *prefix));
    }
    return 0;
}
