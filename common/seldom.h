/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What somebody else can make us do as often as he likes, and what once in a while is enough for: a complaint, tidying
 * up. All zero it has never been done. By boot time; not for two threads at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct seldom {
    bool done;
    int64_t done_us;
    unsigned missed; /* times that it was not due since */
};

/* Whether it is due: never done before, or gap_us ago. Then it counts as done now, and *missed (which may be NULL)
 * tells how often it was not due since the last time. */
bool seldom_due(struct seldom *seldom, int64_t gap_us, unsigned *missed);
