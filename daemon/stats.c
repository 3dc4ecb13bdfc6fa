/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/stats.h"

#include <stdlib.h>
#include <string.h>

void
stats_note_latency(struct stats *stats, int64_t us)
{
    stats->latencies_us[stats->latencies++ % STATS_LATENCIES] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int
compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

uint64_t
stats_latency_us(const struct stats *stats, unsigned permille)
{
    uint32_t sorted[STATS_LATENCIES];
    size_t n = stats->latencies < STATS_LATENCIES ? (size_t)stats->latencies : STATS_LATENCIES;
    if (n == 0)
        return 0;
    memcpy(sorted, stats->latencies_us, n * sizeof sorted[0]);
    qsort(sorted, n, sizeof sorted[0], compare);
    return sorted[(n - 1) * permille / 1000];
}
