/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/sas.c: scopes, what is signed, tokens to the byte, and how long they live.
 */
#include <config.h>

#include "common/error.h"
#include "common/text.h"
#include "daemon/sas.h"

#include <string.h>

/* ---- scopes ---- */

static void
expect_scope(const char *scope, const char *wrong)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(sas_check_scope(scope, &error), ==, wrong == NULL);
    if (!wrong)
        return;
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    g_assert_true(g_str_has_prefix(error->message, "scope: "));
    g_assert_nonnull(strstr(error->message, wrong));
}

static void
test_bad_scopes(void)
{
    static const struct {
        const char *scope, *wrong;
    } bad[] = {
        { "/", "segment 1 has 0 characters" },          { "//", "segment 1 has 0 characters" },
        { "/a", "segment 1 has 0 characters" },         { "a/", "segment 2 has 0 characters" },
        { "a//b", "segment 2 has 0 characters" },       { "a/b/", "segment 3 has 0 characters" },
        { ".", "segment 1 is \".\" or \"..\"" },        { "..", "segment 1 is \".\" or \"..\"" },
        { "a/..", "segment 2 is \".\" or \"..\"" },     { "../a", "segment 1 is \".\" or \"..\"" },
        { "a/./b", "segment 2 is \".\" or \"..\"" },    { "%2e%2e", "not allowed" },
        { "a%2Fb", "not allowed" },                     { "%", "not allowed" },
        { "a b", "not allowed" },                       { "a\nb", "not allowed" },
        { "a\n1800000000", "not allowed" },             { "a?b", "not allowed" },
        { "a#b", "not allowed" },                       { "a&sig=x", "not allowed" },
        { "a\\b", "not allowed" },                      { "a;b", "not allowed" },
        { "\xc3\xa9", "not allowed" },                  { "a\x7f", "not allowed" },
        { "messages/events/\xe2\x80\xae", "not allowed" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        expect_scope(bad[i].scope, bad[i].wrong);
}

static void
test_every_scope_byte(void)
{
    for (int byte = 1; byte < 256; byte++) {
        const char scope[3] = { 'x', (char)byte, '\0' };
        bool legal = g_ascii_isalnum(byte) || strchr("-._~!$'()*+,=:@", byte);
        expect_scope(scope, legal ? NULL : byte == '/' ? "segment 2 has 0" : "not allowed");
    }
}

static void
test_scope_lengths(void)
{
    g_autofree char *segment = g_strnfill(SAS_SCOPE_SEGMENT_MAX, 'x'),
                    *long_segment = g_strnfill(SAS_SCOPE_SEGMENT_MAX + 1, 'x');
    g_autofree char *longest = g_strconcat(segment, "/", segment + 1, NULL); /* 128 + 1 + 127 = 256 */
    g_autofree char *too_long = g_strconcat(segment, "/", segment, NULL);
    g_autofree char *huge = g_strnfill(60000, 'x');
    g_assert_cmpuint(strlen(longest), ==, SAS_SCOPE_MAX);
    expect_scope("", NULL);
    expect_scope("a", NULL);
    expect_scope("messages/events", NULL);
    expect_scope("...", NULL);
    expect_scope("a/.../b", NULL);
    expect_scope(".a/a.", NULL);
    expect_scope(segment, NULL);
    expect_scope(longest, NULL);
    expect_scope(long_segment, "segment 1 has 129 characters, 1 to 128");
    expect_scope(too_long, "257 bytes, at most 256");
    expect_scope(huge, "60000 bytes, at most 256");
}

static void
test_within(void)
{
    static const struct {
        const char *scope, *prefix;
        bool within;
    } rows[] = {
        { "", "/", true },          { "a", "/", true },      { "a/b", "/", true },     { "", "a", false },
        { "a", "a", true },         { "a/b", "a", true },    { "a/b/c", "a/b", true }, { "ab", "a", false },
        { "a", "a/b", false },      { "ab/c", "a/b", false }, { "A", "a", false },     { "a.b", "a", false },
        { "messages/events2", "messages/events", false },    { "messages/events/x", "messages/events", true },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        g_assert_cmpint(sas_scope_within(rows[i].scope, rows[i].prefix), ==, rows[i].within);
}

/* ---- tokens ---- */

static void
hmac(const uint8_t *key, size_t len, const char *text, uint8_t mac[32])
{
    g_autoptr(GHmac) digest = g_hmac_new(G_CHECKSUM_SHA256, key, len);
    gsize n = 32;
    g_hmac_update(digest, (const guchar *)text, -1);
    g_hmac_get_digest(digest, mac, &n);
}

/* KEY RESOURCE SCOPE SE SKN SIG */
static void
check_vector(char **fields)
{
    uint8_t key[256], mac[32];
    size_t len;
    const char *scope = strcmp(fields[2], "-") == 0 ? "" : fields[2];
    const char *key_name = strcmp(fields[4], "-") == 0 ? NULL : fields[4];
    if (g_str_has_prefix(fields[0], "b64:")) {
        const char *text = fields[0] + strlen("b64:");
        g_assert_true(text_base64_decode(text, strlen(text), key, &len, NULL));
    } else {
        g_assert_true(g_str_has_prefix(fields[0], "text:"));
        len = strlen(fields[0]) - strlen("text:");
        memcpy(key, fields[0] + strlen("text:"), len);
    }
    g_autofree char *resource = g_uri_escape_string(fields[1], NULL, FALSE);
    g_autofree char *text = sas_string_to_sign(resource, scope, g_ascii_strtoull(fields[3], NULL, 10));
    hmac(key, len, text, mac);
    g_autofree char *token = sas_token(text, mac, key_name);

    /* The token once more, put together by GLib alone. */
    g_autofree char *plain = *scope ? g_strdup_printf("%s/%s", fields[1], scope) : g_strdup(fields[1]);
    g_autofree char *sr = g_uri_escape_string(plain, NULL, FALSE), *sig = g_uri_escape_string(fields[5], NULL, FALSE);
    g_autofree char *wanted = g_strdup_printf("SharedAccessSignature sr=%s&sig=%s&se=%s%s%s", sr, sig, fields[3],
                                              key_name ? "&skn=" : "", key_name ? key_name : "");
    g_assert_cmpstr(token, ==, wanted);
}

static void
test_vectors(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "sas-vectors.txt", NULL), *text = NULL;
    g_autoptr(GError) error = NULL;
    int checked = 0;
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (**line == '#' || **line == '\0')
            continue;
        g_auto(GStrv) fields = g_strsplit(*line, "\t", -1);
        g_assert_cmpuint(g_strv_length(fields), ==, 6);
        check_vector(fields);
        checked++;
    }
    g_assert_cmpint(checked, >=, 7);
}

/* Every character that a device ID or a scope may have, and what it becomes. */
static void
test_special_characters(void)
{
    g_autofree char *resource = text_percent("h.azure-devices.net/devices/Az09-:.+%_#*?!(),=@$'");
    g_autofree char *text = sas_string_to_sign(resource, "m-._~!$'()*+,=:@/e", 1800000000);
    g_assert_cmpstr(text, ==, "h.azure-devices.net%2Fdevices%2FAz09-%3A.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%24%27"
                              "%2Fm-._~%21%24%27%28%29%2A%2B%2C%3D%3A%40%2Fe\n1800000000");
    const uint8_t mac[32] = { 0xfb, 0xff, 0xfe }; /* base64 with +, / and = */
    g_autofree char *token = sas_token(text, mac, "key name&");
    g_assert_true(g_str_has_suffix(token,
                                   "%2Fe&sig=%2B%2F%2F%2BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&se=1800000000"
                                   "&skn=key%20name%26"));
}

static void
test_token_id(void)
{
    char id[SAS_TOKEN_ID_DIGITS + 1];
    sas_token_id("abc", id);
    g_assert_cmpstr(id, ==, "ba7816bf8f01cfea"); /* FIPS 180-4's example, its first half line */
}

/* ---- expiry ---- */

static void
test_expiry(void)
{
    static const struct {
        int64_t now;
        uint32_t ttl, granularity, max_ttl;
        uint64_t expires;
    } rows[] = {
        { 1000, 60, 1, 3600, 1060 },       { 1000, 60, 60, 3600, 1080 },      { 1020, 60, 60, 3600, 1080 },
        { 1000, 3600, 1, 3600, 4600 },     { 1000, 3600, 60, 3600, 4600 },    /* rounded up would be beyond */
        { 1000, 3590, 60, 3600, 4590 },    /* 4620 is beyond, 4560 too short: exactly what was asked for */
        { 1000, 3550, 60, 3600, 4560 },    /* 4550 up to 4560, still within */
        { 1000, 1, 3600, 10, 1001 },       { 1000, 0, 1, 10, 1000 },
        { INT64_C(4102444800), 86400, 3600, 86400, UINT64_C(4102531200) }, /* past 2038 */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        g_assert_cmpuint(sas_expiry(rows[i].now, rows[i].ttl, rows[i].granularity, rows[i].max_ttl), ==,
                         rows[i].expires);
}

/* Never less than what was asked for, never more than what is allowed, whatever the numbers are. */
static void
test_expiry_bounds(void)
{
    static const uint32_t granularities[] = { 1, 2, 7, 60, 3600 }, limits[] = { 1, 59, 60, 61, 3599, 3600, 86400 };
    for (int64_t now = 1800000000; now < 1800000130; now++)
        for (size_t g = 0; g < G_N_ELEMENTS(granularities); g++)
            for (size_t m = 0; m < G_N_ELEMENTS(limits); m++)
                for (uint32_t ttl = 1; ttl <= limits[m]; ttl += 1 + limits[m] / 17) {
                    uint64_t expires = sas_expiry(now, ttl, granularities[g], limits[m]);
                    g_assert_cmpuint(expires, >=, (uint64_t)now + ttl);
                    g_assert_cmpuint(expires, <=, (uint64_t)now + limits[m]);
                    g_assert_cmpuint(expires, <, (uint64_t)now + ttl + granularities[g]);
                }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sas/scope/bad", test_bad_scopes);
    g_test_add_func("/sas/scope/every-byte", test_every_scope_byte);
    g_test_add_func("/sas/scope/lengths", test_scope_lengths);
    g_test_add_func("/sas/scope/within", test_within);
    g_test_add_func("/sas/token/vectors", test_vectors);
    g_test_add_func("/sas/token/special-characters", test_special_characters);
    g_test_add_func("/sas/token/id", test_token_id);
    g_test_add_func("/sas/expiry/table", test_expiry);
    g_test_add_func("/sas/expiry/bounds", test_expiry_bounds);
    return g_test_run();
}
