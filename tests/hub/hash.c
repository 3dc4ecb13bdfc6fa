/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Eight bytes a step, each mixed by a multiplication and a shift; the length takes part, so that zeros at the end
 * count.
 */
#include <config.h>

#include "tests/hub/hash.h"

#include <string.h>

#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

static uint64_t
mix(uint64_t state, uint64_t word)
{
    state = (state ^ word) * MULTIPLIER;
    return state ^ (state >> 29);
}

uint64_t
hash64(const void *data, size_t len, uint64_t seed)
{
    const uint8_t *at = data;
    uint64_t state = mix(seed, len);
    uint64_t word;

    for (size_t left = len; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        state = mix(state, word);
    }
    word = 0;
    if (len % sizeof word)
        memcpy(&word, at, len % sizeof word);
    state = mix(state, word);
    return mix(state, state >> 32);
}
