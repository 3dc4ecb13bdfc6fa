/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Base64, percent-encoding, hexadecimal, numbers: what is decoded, encoded again by others' code, is the input.
 */
#include <config.h>

#include "common/error.h"
#include "common/text.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

static void
check_base64(const char *text, size_t size)
{
    g_autofree uint8_t *out = g_malloc(3 * (size / 4) + 1);
    size_t len = 0;
    g_autoptr(GError) error = NULL;
    if (!text_base64_decode(text, size, out, &len, &error)) {
        fuzz_expect_error(&error);
        return;
    }
    g_assert_cmpuint(len, <=, 3 * (size / 4));
    g_autofree char *again = g_base64_encode(out, len);
    g_assert_cmpmem(again, strlen(again), text, size);
}

static void
check_percent(const char *text)
{
    g_autofree char *encoded = text_percent(text);
    g_autofree char *expected = g_uri_escape_string(text, NULL, FALSE);
    g_assert_cmpstr(encoded, ==, expected);
}

static void
check_hex(const uint8_t *data, size_t size, const char *text)
{
    g_autofree char *hex = text_hex(data, size);
    g_autofree uint8_t *bytes = g_malloc(size + 1);
    g_assert_true(text_unhex(hex, bytes, size));
    g_assert_cmpmem(bytes, size, data, size);
    if (text && text_unhex(text, bytes, size / 2)) {
        g_autofree char *again = text_hex(bytes, size / 2);
        g_assert_cmpint(g_ascii_strcasecmp(again, text), ==, 0);
    }
}

static void
check_number(const char *text)
{
    uint32_t value;
    if (!text_parse_u32(text, 65535, &value))
        return;
    char again[16];
    g_assert_cmpuint(value, <=, 65535);
    g_snprintf(again, sizeof again, "%u", value);
    g_assert_cmpstr(again, ==, text); /* only the canonical form is taken */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = fuzz_text(data, size);
    check_base64((const char *)data, size);
    check_hex(data, size, text);
    if (text) {
        check_percent(text);
        check_number(text);
    }
    return 0;
}
