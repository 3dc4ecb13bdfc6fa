/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the measuring programs share: one row of samples, printed as ./run bench reads it.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* How many times a row is measured: HUBKEY_BENCH_SAMPLES, where a machine is too slow for as many as usual. */
static inline size_t
timing_samples(size_t usual)
{
    const char *text = getenv("HUBKEY_BENCH_SAMPLES");
    unsigned long wanted = text ? strtoul(text, NULL, 10) : 0;
    return wanted > 0 && wanted < usual ? wanted : usual;
}

static inline int64_t
timing_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int
timing_compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* "ROW MEDIAN P99 us", or ms, of n durations in nanoseconds; sorts them. Behind it, where HUBKEY_BENCH_PERCENTILES is
 * set, from the shortest to the longest those that 0, 1 ... 100 per cent did not exceed. */
static inline void
timing_print_in(const char *row, int64_t *samples_ns, size_t n, const char *unit, double unit_ns)
{
    qsort(samples_ns, n, sizeof samples_ns[0], timing_compare);
    printf("%s %.2f %.2f %s", row, (double)samples_ns[n / 2] / unit_ns, (double)samples_ns[n * 99 / 100] / unit_ns,
           unit);
    for (size_t i = 0; i <= 100 && getenv("HUBKEY_BENCH_PERCENTILES"); i++)
        printf(" %.2f", (double)samples_ns[(n - 1) * i / 100] / unit_ns);
    printf("\n");
}

static inline void
timing_print(const char *row, int64_t *samples_ns, size_t n)
{
    timing_print_in(row, samples_ns, n, "us", 1e3);
}

static inline void
timing_print_ms(const char *row, int64_t *samples_ns, size_t n)
{
    timing_print_in(row, samples_ns, n, "ms", 1e6);
}
