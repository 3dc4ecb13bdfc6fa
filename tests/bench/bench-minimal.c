/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The minimal daemon as a program of its own, for its memory to be held against.
 */
#include <config.h>

#include "tests/bench/minimal.h"

int
main(void)
{
    minimal_serve(-1);
    return 0;
}
