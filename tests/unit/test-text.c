/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/text.c: strict decoders, and one way of encoding.
 */
#include <config.h>

#include "common/error.h"
#include "common/text.h"

#include <string.h>

/* ---- base64 ---- */

static void
expect_no_base64(const char *text, size_t len)
{
    uint8_t out[64];
    size_t n = 0;
    g_autoptr(GError) error = NULL;
    g_assert_cmpuint(3 * (len / 4), <=, sizeof out);
    g_assert_false(text_base64_decode(text, len, out, &n, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    g_assert_true(g_str_has_prefix(error->message, "not base64: "));
}

static void
test_base64_malformed(void)
{
    static const char *const texts[] = {
        "A",        "AA",       "AAA",      "AAAAA",    "AAAAAA",   "AAAAAAA",             /* parts of a quartet */
        "=",        "==",       "===",      "====",     "A===",     "=AAA",     "A=AA",    /* padding out of place */
        "AA=A",     "AAA=AAAA", "AA==AA==", "AAAA====", "AAAAA===", "AAAA=AAA",
        "AB==",     "AAB=",     "Af==",     "//8=AAA=",                        /* stray bits, then more */
        "AAA\n",    "AAAA\n",   " AAA",     "AA A",     "AAA ",     "A\tAA",    "AAAA\r\n\r\n", /* white space */
        "AA-_",     "AA_A",     "-AAA",                                                    /* the URL alphabet */
        "AAA,",     "AAA\x80",  "\xff\xff\xff\xff", "AAA.", "AAA%",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        expect_no_base64(texts[i], strlen(texts[i]));
    expect_no_base64("AA\0A", 4);
    expect_no_base64("AAA\0", 4);
}

/* Whatever is pasted by mistake stays out of the error text. */
static void
test_base64_silent(void)
{
    static const char *const texts[] = { "MYSECRETx", "MYSECRET!AAA", "MYSECRET====", "MYSECREB====MYSECRET",
                                         "MYSECRETMYSECREB=A==" };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        uint8_t out[64];
        size_t n;
        g_autoptr(GError) error = NULL;
        g_assert_false(text_base64_decode(texts[i], strlen(texts[i]), out, &n, &error));
        g_assert_null(strstr(error->message, "SECRE"));
    }
}

/* Every byte in every place of a quartet: taken where the alphabet has it, and nowhere else. */
static void
test_base64_every_byte(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int place = 0; place < 4; place++)
        for (int byte = 0; byte < 256; byte++) {
            char text[4] = { 'A', 'A', 'A', 'A' };
            uint8_t out[3];
            size_t n = 0;
            text[place] = (char)byte;
            bool wanted = (byte && strchr(alphabet, byte)) || (place == 3 && byte == '=');
            g_assert_cmpint(text_base64_decode(text, 4, out, &n, NULL), ==, wanted);
            if (wanted)
                g_assert_cmpuint(n, ==, byte == '=' ? 2 : 3);
        }
}

static void
test_base64_vectors(void)
{
    /* RFC 4648 section 10. */
    static const char *const vectors[][2] = {
        { "", "" },
        { "Zg==", "f" },
        { "Zm8=", "fo" },
        { "Zm9v", "foo" },
        { "Zm9vYg==", "foob" },
        { "Zm9vYmE=", "fooba" },
        { "Zm9vYmFy", "foobar" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(vectors); i++) {
        uint8_t out[8];
        size_t n = 99;
        g_assert_true(text_base64_decode(vectors[i][0], strlen(vectors[i][0]), out, &n, NULL));
        g_assert_cmpmem(out, n, vectors[i][1], strlen(vectors[i][1]));
    }
}

static void
test_base64_round_trip(void)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        g_autofree char *text = g_base64_encode(bytes, len);
        g_autofree uint8_t *out = g_malloc(3 * (strlen(text) / 4) + 1);
        size_t n = 0;
        g_assert_true(text_base64_decode(text, strlen(text), out, &n, NULL));
        g_assert_cmpmem(out, n, bytes, len);
    }
}

/* ---- the others ---- */

static void
test_percent(void)
{
    for (int byte = 1; byte < 256; byte++) {
        const char text[2] = { (char)byte, '\0' };
        g_autofree char *got = text_percent(text);
        g_autofree char *wanted = g_ascii_isalnum(byte) || strchr("-._~", byte) ? g_strdup(text)
                                                                               : g_strdup_printf("%%%02X", byte);
        g_assert_cmpstr(got, ==, wanted);
    }
    g_autofree char *empty = text_percent("");
    g_assert_cmpstr(empty, ==, "");
    g_autofree char *resource = text_percent("myhub.azure-devices.net/devices/a+b%2f=\xc3\xa9~");
    g_assert_cmpstr(resource, ==, "myhub.azure-devices.net%2Fdevices%2Fa%2Bb%252f%3D%C3%A9~");
    g_autoptr(GString) appended = g_string_new("sr=");
    text_append_percent(appended, "a/b");
    g_assert_cmpstr(appended->str, ==, "sr=a%2Fb");
}

static void
test_hex(void)
{
    uint8_t bytes[256], back[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    g_autofree char *hex = text_hex(bytes, sizeof bytes);
    g_assert_cmpuint(strlen(hex), ==, 512);
    g_assert_true(g_str_has_prefix(hex, "000102") && g_str_has_suffix(hex, "fdfeff"));
    g_assert_true(text_unhex(hex, back, sizeof back));
    g_assert_cmpmem(bytes, sizeof bytes, back, sizeof back);
    g_assert_true(text_unhex("aBCd", back, 2));
    g_assert_cmpmem(back, 2, "\xab\xcd", 2);
    g_assert_true(text_unhex("", back, 0));

    static const char *const bad[] = { "",     "a",    "abc",  "abcde", "abcdef", "abxd",
                                       "xbcd", "ab d", " bcd", "0xab",  "-1ab",   "+1ab" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(text_unhex(bad[i], back, 2));
}

static void
test_u32(void)
{
    uint32_t value = 7;
    static const char *const bad[] = {
        "",           " ",
        "-1",         "+1",
        "00",         "01",
        "007",        "0x10",
        "1 ",         " 1",
        "1\n",        "1.0",
        "1e3",        "a",
        "65536",      "99999999999999999999",
        "4294967296", "18446744073709551616",
        "\xd9\xa1",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(text_parse_u32(bad[i], 65535, &value));
        g_assert_cmpuint(value, ==, 7); /* untouched */
    }
    g_assert_true(text_parse_u32("0", 65535, &value) && value == 0);
    g_assert_true(text_parse_u32("10", 65535, &value) && value == 10);
    g_assert_true(text_parse_u32("65535", 65535, &value) && value == 65535);
    g_assert_true(text_parse_u32("4294967295", UINT32_MAX, &value) && value == UINT32_MAX);
    g_assert_false(text_parse_u32("1", 0, &value));
}

static void
expect_copy(const char *from, size_t size, const char *expected)
{
    char to[16];
    text_copy(to, size, from);
    g_assert_cmpstr(to, ==, expected);
}

static void
test_copy(void)
{
    expect_copy("", 1, "");
    expect_copy("abc", 1, "");
    expect_copy("abc", 3, "ab");
    expect_copy("abc", 4, "abc");
    expect_copy("a\xc3\xa9", 4, "a\xc3\xa9");
    expect_copy("a\xc3\xa9", 3, "a");
    expect_copy("\xe2\x82\xac", 3, "");
    expect_copy("a\xe2\x82", 16, "a"); /* cut off before */
    expect_copy("a\xff", 16, "a\xff"); /* no part of any character */
    expect_copy("\xa9", 16, "\xa9");
}

static void
test_printable(void)
{
    static const char *const texts[][2] = { { "", "" },
                                            { "plain \xc3\xa9", "plain \xc3\xa9" },
                                            { "a\x1b[31mb\r\n\x7f", "a?[31mb???" },
                                            { "\xc2\x9b""2J", "?2J" }, /* CSI as one character */
                                            { "\x9b\xff", "\xef\xbf\xbd\xef\xbf\xbd" } };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *shown = text_printable(texts[i][0]);
        g_assert_cmpstr(shown, ==, texts[i][1]);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/text/base64/malformed", test_base64_malformed);
    g_test_add_func("/text/base64/silent", test_base64_silent);
    g_test_add_func("/text/base64/every-byte", test_base64_every_byte);
    g_test_add_func("/text/base64/vectors", test_base64_vectors);
    g_test_add_func("/text/base64/round-trip", test_base64_round_trip);
    g_test_add_func("/text/percent", test_percent);
    g_test_add_func("/text/hex", test_hex);
    g_test_add_func("/text/u32", test_u32);
    g_test_add_func("/text/copy", test_copy);
    g_test_add_func("/text/printable", test_printable);
    return g_test_run();
}
