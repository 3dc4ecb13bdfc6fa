/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/clock.h"

#include <time.h>

static int64_t
read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t
real_wall(void)
{
    return read_us(CLOCK_REALTIME);
}

static int64_t
real_boot(void)
{
    return read_us(CLOCK_BOOTTIME);
}

static int64_t
real_monotonic(void)
{
    return read_us(CLOCK_MONOTONIC);
}

static const struct clock_source real = { real_wall, real_boot, real_monotonic };
static const struct clock_source *source = &real;

void
clock_set_source(const struct clock_source *replacement)
{
    source = replacement ? replacement : &real;
}

int64_t
clock_wall_us(void)
{
    return source->wall_us();
}

int64_t
clock_wall_s(void)
{
    int64_t us = source->wall_us();
    return us / 1000000 - (us % 1000000 < 0);
}

int64_t
clock_boot_us(void)
{
    return source->boot_us();
}

int64_t
clock_monotonic_us(void)
{
    return source->monotonic_us();
}
