/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * UUIDs of version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then random bits, so that they sort by time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define UUID_SIZE 37 /* of the text, with its NUL */

/* False with errno where there are no random bytes; text is "" then. */
bool uuid_make(int64_t now_ms, char text[UUID_SIZE]);
