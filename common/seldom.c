/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/seldom.h"
#include "common/clock.h"

#include <stddef.h>

int64_t
seldom_left_us(const struct seldom *seldom, int64_t gap_us)
{
    int64_t passed = clock_boot_us() - seldom->done_us;
    return seldom->done && passed < gap_us ? gap_us - passed : 0;
}

bool
seldom_due(struct seldom *seldom, int64_t gap_us, unsigned *missed)
{
    if (seldom_left_us(seldom, gap_us) > 0) {
        seldom->missed++;
        return false;
    }
    if (missed)
        *missed = seldom->missed;
    *seldom = (struct seldom){ .done = true, .done_us = clock_boot_us() };
    return true;
}
