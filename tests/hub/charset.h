/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which characters may stand in identifiers and properties.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CHARSET_ID_MAX 128

bool charset_is_id(const char *s, size_t len);         /* device and module IDs, 1 to 128 */
bool charset_is_message_id(const char *s, size_t len); /* 1 to 128 */
bool charset_is_app(const char *s, size_t len);        /* application property names and values, any length */
bool charset_is_printable(const char *s, size_t len);  /* ASCII 0x20 to 0x7e */
