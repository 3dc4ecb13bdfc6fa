/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Strict base64 and percent-decoding, as a hub reads them. Nothing is repaired.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* Standard alphabet, padded, no white space, unused bits zero (RFC 4648 section 4).
 * out must hold 3 * (len / 4) bytes. */
bool codec_base64_decode(const char *text, size_t len, uint8_t *out, size_t *out_len);

char *codec_base64_encode(const uint8_t *bytes, size_t len);

/* NULL for a broken escape or an escaped NUL. plus: '+' means a space, as in forms and SAS fields. Caller frees. */
char *codec_percent_decode(const char *text, size_t len, bool plus);
