/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma once

#include <stdint.h>

/* What a slow chip has done, in the file that tcti-chip maps; written by one thread, read by whoever maps it, too. */
struct tcti_chip_counts {
    uint64_t commands; /* answered */
    uint64_t busy_ns;  /* that these took in the chip */
};
