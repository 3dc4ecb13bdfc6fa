/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Grammar: scheme, one space, then sr, sig, se and skn in any order, names without case, each at most once.
 * The signature is HMAC-SHA256 over the raw sr, a line feed, and the raw se.
 */
#include <config.h>

#include "tests/hub/token.h"
#include "tests/hub/codec.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define SCHEME "SharedAccessSignature "
#define SE_DIGITS_MAX 12

static bool
refuse(struct verdict *v, const char *reason)
{
    return verdict_refuse(v, "IotHubUnauthorizedAccess", "Unauthorized: %s", reason);
}

static void
set_id(struct token *token, const char *authorization)
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    EVP_Digest(authorization, strlen(authorization), digest, NULL, EVP_sha256(), NULL);
    for (unsigned i = 0; i < 8; i++)
        snprintf(token->id + 2 * i, 3, "%02x", digest[i]);
}

/* Splits the fields into their four places; false for an unknown or repeated one. */
static bool
split(const char *text, char *fields[4])
{
    static const char *const names[] = { "sr", "sig", "se", "skn" };
    g_auto(GStrv) parts = g_strsplit(text, "&", -1);

    for (char **part = parts; *part; part++) {
        char *value = strchr(*part, '=');
        unsigned i = 0;
        if (!value)
            return false;
        *value++ = '\0';
        while (i < 4 && g_ascii_strcasecmp(names[i], *part) != 0)
            i++;
        if (i == 4 || fields[i])
            return false;
        fields[i] = g_strdup(value);
    }
    return true;
}

static bool
parse_expiry(const char *se, int64_t *expiry)
{
    const size_t len = strlen(se);

    if (len < 1 || len > SE_DIGITS_MAX || strspn(se, "0123456789") != len)
        return false;
    *expiry = g_ascii_strtoll(se, NULL, 10);
    return true;
}

static bool
parse_signature(const char *sig, uint8_t signature[32])
{
    g_autofree char *text = codec_percent_decode(sig, strlen(sig), true);
    g_autofree uint8_t *bytes = g_malloc(strlen(sig) + 1);
    size_t len;

    if (!text || !codec_base64_decode(text, strlen(text), bytes, &len) || len != 32)
        return false;
    memcpy(signature, bytes, 32);
    return true;
}

static bool
fill(struct token *token, char *fields[4], struct verdict *v)
{
    token->sr_raw = g_strdup(fields[0]);
    token->se_raw = g_strdup(fields[2]);
    token->has_policy = fields[3] && *fields[3];
    if (!fields[0] || !*fields[0] || !fields[1] || !fields[2])
        return refuse(v, "the token needs sr, sig and se");
    if (!parse_expiry(fields[2], &token->expiry))
        return refuse(v, "se is not a decimal number of seconds");
    if (!parse_signature(fields[1], token->signature))
        return refuse(v, "sig is not the URL-encoded base64 of 32 bytes");
    return true;
}

bool
token_parse(const char *authorization, struct token *token, struct verdict *v)
{
    char *fields[4] = { NULL };
    bool ok;

    *token = (struct token){ 0 };
    set_id(token, authorization);
    if (!g_str_has_prefix(authorization, SCHEME))
        return refuse(v, "the scheme must be SharedAccessSignature and one space");
    if (strpbrk(authorization + strlen(SCHEME), " \t"))
        return refuse(v, "white space within the token");
    ok = split(authorization + strlen(SCHEME), fields) ? fill(token, fields, v)
                                                       : refuse(v, "a field is unknown, repeated or has no value");
    for (unsigned i = 0; i < 4; i++)
        g_free(fields[i]);
    return ok;
}

void
token_clear(struct token *token)
{
    g_free(token->sr_raw);
    g_free(token->se_raw);
    *token = (struct token){ 0 };
}

/* prefix covers whole when it ends where a segment ends. */
static bool
is_segment_prefix(const char *prefix, const char *whole)
{
    const size_t n = strlen(prefix);

    return g_ascii_strncasecmp(prefix, whole, n) == 0 && (whole[n] == '\0' || whole[n] == '/');
}

static bool
names_host(const char *sr, const char *host)
{
    return is_segment_prefix(host, sr);
}

/* .NET and Node encode the ID once by itself and once with the rest: one and two decodings are tried. */
bool
token_covers(const struct token *token, const char *host, const char *identity, const char *resource, struct verdict *v)
{
    g_autofree char *once = codec_percent_decode(token->sr_raw, strlen(token->sr_raw), true);
    g_autofree char *twice = once ? codec_percent_decode(once, strlen(once), true) : NULL;
    char *const texts[] = { once, twice };

    if (!once)
        return refuse(v, "sr has a broken escape");
    if (!names_host(once, host))
        return refuse(v, "sr names another host");
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
        if (texts[i] && is_segment_prefix(texts[i], resource) && is_segment_prefix(identity, texts[i]))
            return true;
    return refuse(v, "sr does not cover this resource, or is wider than the device's own key may sign");
}

bool
token_is_signed_by(const struct token *token, const uint8_t *key, size_t key_len)
{
    g_autofree char *text = g_strdup_printf("%s\n%s", token->sr_raw, token->se_raw);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    return HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), digest, &len) && len == 32 &&
           CRYPTO_memcmp(digest, token->signature, 32) == 0;
}
