/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The body of a device-to-cloud request into messages: one message, or a batch.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "tests/hub/items.h"
#include "tests/hub/verdict.h"

#define EVENTS_SIZE_MAX 262144 /* 256 KiB: a message, a batch, and either as it comes over the wire */

bool events_is_batch(const GArray *headers);
bool events_single(const GArray *headers, const GByteArray *body, struct items *items, struct verdict *v);
bool events_batch(GByteArray *body, struct items *items, struct verdict *v); /* body may be changed */
