/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A fast reader for the JSON that clients in fact send.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/hub/batch.h"

/* True: the text was a well-formed batch, all in plain ASCII without escapes, and batch is filled; texts in it were
 * NUL-terminated in place. False says nothing about the text, which is unchanged: ask the JSON library. */
bool batch_plain(char *text, size_t len, struct batch *batch);
