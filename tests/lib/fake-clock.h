/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Clocks that stand still until the test moves them. Other threads may read them meanwhile.
 */
#pragma once

#include <stdint.h>

#define FAKE_CLOCK_START_S INT64_C(1800000000) /* wall time at first; after any release */

void fake_clock_install(void); /* all three start anew */
void fake_clock_remove(void);  /* the real ones again */

void fake_clock_pass(int64_t us);     /* time goes by: all three move on */
void fake_clock_set_wall(int64_t s);  /* somebody sets the clock: wall time alone */
