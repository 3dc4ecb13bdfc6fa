/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A text or byte string is its length in 32 bits and its bytes; the greatest length stands for NULL.
 */
#include <config.h>

#include "tests/hub/pack.h"

#include <string.h>

#define NO_TEXT UINT32_MAX

void
pack_u32(GByteArray *out, uint32_t value)
{
    g_byte_array_append(out, (const guint8 *)&value, sizeof value);
}

void
pack_u64(GByteArray *out, uint64_t value)
{
    g_byte_array_append(out, (const guint8 *)&value, sizeof value);
}

void
pack_bytes(GByteArray *out, const void *data, size_t len)
{
    pack_u32(out, (uint32_t)len);
    if (len)
        g_byte_array_append(out, data, (guint)len);
}

void
pack_text(GByteArray *out, const char *text)
{
    if (text)
        pack_bytes(out, text, strlen(text));
    else
        pack_u32(out, NO_TEXT);
}

static bool
take(struct unpack *in, void *to, size_t len)
{
    memset(to, 0, len);
    if (in->bad || (size_t)(in->end - in->at) < len) {
        in->bad = true;
        return false;
    }
    memcpy(to, in->at, len);
    in->at += len;
    return true;
}

uint32_t
unpack_u32(struct unpack *in)
{
    uint32_t value;

    take(in, &value, sizeof value);
    return value;
}

uint64_t
unpack_u64(struct unpack *in)
{
    uint64_t value;

    take(in, &value, sizeof value);
    return value;
}

const uint8_t *
unpack_bytes(struct unpack *in, size_t *len)
{
    const uint32_t n = unpack_u32(in);
    const uint8_t *at = in->at;

    *len = 0;
    if (in->bad || n == NO_TEXT)
        return NULL;
    if ((size_t)(in->end - in->at) < n) {
        in->bad = true;
        return NULL;
    }
    in->at += n;
    *len = n;
    return at;
}

char *
unpack_text(struct unpack *in)
{
    size_t len;
    const uint8_t *at = unpack_bytes(in, &len);

    return at ? g_strndup((const char *)at, len) : NULL;
}
