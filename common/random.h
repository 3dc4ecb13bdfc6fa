/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Random bytes of the kernel.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Fills all of bytes; early in a boot it waits until the kernel has some. False with errno where neither the system
 * call nor /dev/urandom gives any, as under a seccomp filter that knows neither. */
bool random_fill(void *bytes, size_t len);
