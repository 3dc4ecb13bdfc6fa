/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Text forms of bytes: strict base64, percent-encoding, hexadecimal. Nothing here guesses or repairs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* Decodes standard-alphabet, padded base64 (RFC 4648 section 4), no white space, no bits set in the padding.
 * out must hold 3 * (len / 4) bytes. Never puts the input into the error text. */
bool text_base64_decode(const char *text, size_t len, uint8_t *out, size_t *out_len, GError **error);

/* Appends s with every byte but RFC 3986 unreserved (A-Z a-z 0-9 - . _ ~) as %XX, upper-case hex: the one way of
 * percent-encoding that hubkey uses, everywhere. */
void text_append_percent(GString *out, const char *s);
char *text_percent(const char *s);

/* Lower-case hex of n bytes, NUL-terminated, caller frees with g_free. */
char *text_hex(const uint8_t *bytes, size_t n);

/* Exactly n bytes from 2n hex digits of either case. */
bool text_unhex(const char *hex, uint8_t *out, size_t n);

/* As much of from as fits into size bytes with a NUL, and no part of a UTF-8 character at its end: also where from was
 * cut off inside of one before. */
void text_copy(char *to, size_t size, const char *from);

/* text with what is not UTF-8 replaced, and a question mark for each control character, which a terminal would take for
 * a command. g_free. */
char *text_printable(const char *text);

/* Canonical decimal (no sign, no leading zero but "0" itself) up to max; false otherwise. */
bool text_parse_u32(const char *text, uint32_t max, uint32_t *value);
