/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * How much one user may have waiting. Nobody can fill the queue for the others.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#define LIMITS_WAITING_PER_UID 512
#define LIMITS_WAITING_TOTAL 8192
#define LIMITS_RETRY_MS 100

struct limits;

struct limits *limits_new(void);
void limits_free(struct limits *limits);

/* One more request of uid waits; Busy with the time to retry where there are too many. */
bool limits_enter(struct limits *limits, uid_t uid, GError **error);
void limits_leave(struct limits *limits, uid_t uid);
