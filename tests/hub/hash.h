/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A 64-bit hash for journal checks and message-id fingerprints. Fast and well mixed, not against an adversary.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t len, uint64_t seed);
