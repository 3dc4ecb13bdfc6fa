/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The fault refuse-connect: no connection is taken, and none is left.
 */
#pragma once

#include <stdint.h>

struct hub;

/* Puts it in force or out of it, as the faults ask. Under the lock. */
void refusal_apply(struct hub *hub, int64_t now_us);
