/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The decoder works by table, four characters a step: a batch of events is mostly base64.
 */
#include <config.h>

#include "tests/hub/codec.h"

#include <string.h>

#define BAD 0xffu

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static uint8_t values[256];

static const uint8_t *
value_table(void)
{
    static gsize ready;

    if (g_once_init_enter(&ready)) {
        memset(values, BAD, sizeof values);
        for (unsigned i = 0; i < 64; i++)
            values[(uint8_t)alphabet[i]] = (uint8_t)i;
        g_once_init_leave(&ready, 1);
    }
    return values;
}

/* The last four characters, of which one or two may be padding. */
static bool
decode_tail(const uint8_t *v, const char *at, uint8_t *out, size_t *out_len)
{
    const uint8_t a = v[(uint8_t)at[0]], b = v[(uint8_t)at[1]];
    const bool two = at[2] == '=';
    const uint8_t c = two ? 0 : v[(uint8_t)at[2]];

    if (at[3] != '=' || (a | b | c) & 0xc0u || (two ? b & 0x0f : c & 0x03))
        return false;
    out[(*out_len)++] = (uint8_t)(a << 2 | b >> 4);
    if (!two)
        out[(*out_len)++] = (uint8_t)(b << 4 | c >> 2);
    return true;
}

bool
codec_base64_decode(const char *text, size_t len, uint8_t *out, size_t *out_len)
{
    const uint8_t *v = value_table();
    const bool padded = len && text[len - 1] == '=';
    const size_t whole = padded ? len - 4 : len;
    uint8_t seen = 0;
    size_t n = 0;

    *out_len = 0;
    if (len % 4)
        return false;
    for (size_t i = 0; i < whole; i += 4) {
        const uint8_t a = v[(uint8_t)text[i]], b = v[(uint8_t)text[i + 1]];
        const uint8_t c = v[(uint8_t)text[i + 2]], d = v[(uint8_t)text[i + 3]];
        seen |= a | b | c | d;
        out[n++] = (uint8_t)(a << 2 | b >> 4);
        out[n++] = (uint8_t)(b << 4 | c >> 2);
        out[n++] = (uint8_t)(c << 6 | d);
    }
    if (seen & 0xc0u || (padded && !decode_tail(v, text + whole, out, &n)))
        return false;
    *out_len = n;
    return true;
}

char *
codec_base64_encode(const uint8_t *bytes, size_t len)
{
    return g_base64_encode(bytes, len);
}

static int
hex(char c)
{
    return g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) : -1;
}

char *
codec_percent_decode(const char *text, size_t len, bool plus)
{
    g_autofree char *out = g_malloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%') {
            const int high = i + 2 < len ? hex(text[i + 1]) : -1;
            const int low = high < 0 ? -1 : hex(text[i + 2]);
            if (low < 0 || (high | low) == 0)
                return NULL;
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = plus && text[i] == '+' ? ' ' : text[i];
        }
    }
    out[n] = '\0';
    return g_steal_pointer(&out);
}
