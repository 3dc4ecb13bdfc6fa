/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Tests wait for conditions, never for time.
 */
#pragma once

#include <stdbool.h>

/* Runs the default main context until done says yes; false after 20 s. */
bool await(bool (*done)(void *user), void *user);

/* The same until a counter has reached wanted. */
bool await_count(const int *is, int wanted);

/* Runs what is ready now, without waiting for more. */
void await_idle(void);
