/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What GetStatistics tells, counted since the daemon started. Main thread only.
 */
#pragma once

#include <stdint.h>

#define STATS_LATENCIES 1024 /* the most recent answers whose latency is known */

struct stats {
    uint64_t tokens_issued; /* given to callers */
    uint64_t tokens_shared; /* of these, made for somebody else as well */
    uint64_t tokens_denied;
    uint32_t latencies_us[STATS_LATENCIES];
    uint64_t latencies;
};

void stats_note_latency(struct stats *stats, int64_t us);

/* The latency that permille of the recent answers did not exceed; 0 where there were none. */
uint64_t stats_latency_us(const struct stats *stats, unsigned permille);
