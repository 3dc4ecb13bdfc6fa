/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The three clocks, behind pointers that tests can set. Wall time may be wrong or jump; boot time counts suspend;
 * monotonic time does not.
 */
#pragma once

#include <stdint.h>

struct clock_source {
    int64_t (*wall_us)(void);      /* CLOCK_REALTIME, microseconds since 1970 */
    int64_t (*boot_us)(void);      /* CLOCK_BOOTTIME, microseconds */
    int64_t (*monotonic_us)(void); /* CLOCK_MONOTONIC, microseconds */
};

/* Replaces the clocks for a test; NULL puts the real ones back. Not for use while other threads run. */
void clock_set_source(const struct clock_source *source);

int64_t clock_wall_us(void);
int64_t clock_wall_s(void); /* rounded down */
int64_t clock_boot_us(void);
int64_t clock_monotonic_us(void);
