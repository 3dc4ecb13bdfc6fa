/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Numbers and text to bytes and back, in this machine's byte order: the journal never leaves the machine.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

void pack_u32(GByteArray *out, uint32_t value);
void pack_u64(GByteArray *out, uint64_t value);
void pack_bytes(GByteArray *out, const void *data, size_t len);
void pack_text(GByteArray *out, const char *text); /* NULL stays NULL */

/* Reads from a span; once anything is short, bad stays set and every value is zero or empty. */
struct unpack {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

uint32_t unpack_u32(struct unpack *in);
uint64_t unpack_u64(struct unpack *in);
const uint8_t *unpack_bytes(struct unpack *in, size_t *len); /* borrowed from the span; NULL for packed NULL text */
char *unpack_text(struct unpack *in);                        /* caller frees; may be NULL */
