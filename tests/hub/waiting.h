/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Requests that a fault holds: stalled, delayed, or to be accepted after their connection was closed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct hub;

/* The descriptors whose peers must be watched, as struct pollfd appended to fds. Under the lock. */
void waiting_watch(const struct hub *hub, GArray *fds);

int64_t waiting_next(const struct hub *hub); /* monotonic µs, INT64_MAX: none. Under the lock. */

/* Lets go on what is due, ends what has lost its peer; with all, ends everything. Under the lock. */
void waiting_run(struct hub *hub, int64_t now_us, bool all);
