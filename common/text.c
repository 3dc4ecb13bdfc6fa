/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/text.h"
#include "common/error.h"

#include <string.h>

/* All ones where c is one of the n characters from first on, else 0. */
static unsigned
among(char c, char first, unsigned n)
{
    return -(unsigned)((unsigned)(uint8_t)c - (uint8_t)first < n);
}

/* -1 for what is none. Without a branch: it may be a character of a key, and where it is one of ten thousand records,
 * there is hardly a branch that would be predicted. */
static int
base64_value(char c)
{
    unsigned at = (uint8_t)c;
    unsigned value = (among(c, 'A', 26) & (at - 'A' + 1)) | (among(c, 'a', 26) & (at - 'a' + 27)) |
                     (among(c, '0', 10) & (at - '0' + 53)) | (among(c, '+', 1) & 63) | (among(c, '/', 1) & 64);
    return (int)value - 1;
}

static size_t
count_padding(const char *text, size_t len)
{
    return len == 0 || text[len - 1] != '=' ? 0 : text[len - 2] == '=' ? 2 : 1;
}

bool
text_base64_decode(const char *text, size_t len, uint8_t *out, size_t *out_len, GError **error)
{
    if (len % 4 != 0) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "not base64: %zu characters, which is not a multiple of 4; was a part left out when pasting?", len);
        return false;
    }
    size_t padding = count_padding(text, len), n = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        bool pad = i >= len - padding;
        int value = pad ? 0 : base64_value(text[i]);
        if (value < 0) {
            error_set(error, ERROR_INVALID_ARGUMENT, "not base64: character %zu is outside A-Z a-z 0-9 + / =", i + 1);
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 3)
            for (int shift = 16; shift >= 0; shift -= 8)
                out[n++] = (uint8_t)(bits >> shift);
    }
    for (size_t i = n - padding; i < n && padding; i++)
        if (out[i] != 0) {
            error_set(error, ERROR_INVALID_ARGUMENT,
                      "not base64: the last character carries bits that belong to no byte");
            return false;
        }
    *out_len = n - padding;
    return true;
}

static bool
unreserved(char c)
{
    return g_ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void
text_append_percent(GString *out, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *s; s++) {
        if (unreserved(*s)) {
            g_string_append_c(out, *s);
            continue;
        }
        char escape[3] = { '%', hex[(uint8_t)*s >> 4], hex[(uint8_t)*s & 15] };
        g_string_append_len(out, escape, sizeof escape);
    }
}

char *
text_percent(const char *s)
{
    GString *out = g_string_sized_new(strlen(s) * 3 + 1);
    text_append_percent(out, s);
    return g_string_free(out, FALSE);
}

char *
text_hex(const uint8_t *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    char *out = g_malloc(2 * n + 1);
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[2 * n] = '\0';
    return out;
}

bool
text_unhex(const char *hex, uint8_t *out, size_t n)
{
    if (strlen(hex) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = g_ascii_xdigit_value(hex[2 * i]), low = g_ascii_xdigit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool
text_parse_u32(const char *text, uint32_t max, uint32_t *value)
{
    guint64 parsed;
    if (text[0] == '0' && text[1] != '\0')
        return false;
    if (!g_ascii_isdigit(text[0]) || !g_ascii_string_to_unsigned(text, 10, 0, max, &parsed, NULL))
        return false;
    *value = (uint32_t)parsed;
    return true;
}

#define INCOMPLETE ((gunichar)-2) /* g_utf8_get_char_validated */

void
text_copy(char *to, size_t size, const char *from)
{
    g_strlcpy(to, from, size);
    char *last = g_utf8_find_prev_char(to, to + strlen(to));
    if (last && g_utf8_get_char_validated(last, -1) == INCOMPLETE)
        *last = '\0';
}

char *
text_printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *out = g_string_new(NULL);
    for (const char *c = valid; *c; c = g_utf8_next_char(c))
        g_string_append_unichar(out, g_unichar_iscntrl(g_utf8_get_char(c)) ? '?' : g_utf8_get_char(c));
    return g_string_free(out, FALSE);
}
