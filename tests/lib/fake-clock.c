/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/fake-clock.h"
#include "common/clock.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic int64_t wall, boot, monotonic;

static int64_t
read_wall(void)
{
    return wall;
}

static int64_t
read_boot(void)
{
    return boot;
}

static int64_t
read_monotonic(void)
{
    return monotonic;
}

void
fake_clock_install(void)
{
    static const struct clock_source fake = { read_wall, read_boot, read_monotonic };
    wall = FAKE_CLOCK_START_S * 1000000;
    boot = monotonic = INT64_C(1000000000);
    clock_set_source(&fake);
}

void
fake_clock_remove(void)
{
    clock_set_source(NULL);
}

void
fake_clock_pass(int64_t us)
{
    wall += us;
    boot += us;
    monotonic += us;
}

void
fake_clock_set_wall(int64_t s)
{
    wall = s * 1000000;
}
