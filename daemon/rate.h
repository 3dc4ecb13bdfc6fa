/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * RequestsPerMinute=: how often each user may ask each slot. A bucket that holds a minute's requests and fills up
 * evenly, on the clock that counts suspend and that nobody can set.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#define RATE_KEPT_MAX 65536 /* users times slots that have asked within the last minute */

struct rate;

struct rate *rate_new(void);
void rate_free(struct rate *rate);

/* One request of uid to slot, of which per_minute are allowed, 0 for any number. Busy with the time to wait where it
 * comes too soon; it is not counted then. */
bool rate_take(struct rate *rate, uid_t uid, uint32_t slot, uint32_t per_minute, GError **error);
