/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A program that has no file descriptor left, for a while.
 */
#pragma once

void starve_begin(void); /* nothing can be opened from now on */
void starve_end(void);
