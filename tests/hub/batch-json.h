/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Any JSON into a batch, by the JSON library.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/hub/batch.h"
#include "tests/hub/verdict.h"

/* False: the reason is in v. */
bool batch_json(const char *text, size_t len, struct batch *batch, struct verdict *v);
