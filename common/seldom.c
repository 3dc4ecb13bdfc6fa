/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/seldom.h"
#include "common/clock.h"

#include <stddef.h>

bool
seldom_due(struct seldom *seldom, int64_t gap_us, unsigned *missed)
{
    int64_t now = clock_boot_us();
    if (seldom->done && now - seldom->done_us < gap_us) {
        seldom->missed++;
        return false;
    }
    if (missed)
        *missed = seldom->missed;
    *seldom = (struct seldom){ .done = true, .done_us = now };
    return true;
}
