/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Generations for slots whose own record is lost. A slot counts its own from 1, or from a number that was taken here:
 * the first of a range in which no slot has counted yet. A mark on disk says which range was the last.
 */
#pragma once

#include "daemon/store.h"

#define GENERATIONS_RANGE (UINT64_C(1) << 28) /* more than one slot could ever go through between two losses */

/* A generation above all that any slot has had or will have before it is asked for again. What it gives is on disk
 * before it returns. */
bool generations_take(struct store *store, uint64_t *generation, GError **error);
