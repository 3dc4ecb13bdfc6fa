/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A system that refuses things, as sandboxes and limits do. For the calling process; what cannot be taken back, in a
 * child of its own.
 */
#pragma once

#include <stdbool.h>

/* No getrandom, by a seccomp filter. False where filters cannot be set here. */
bool refuse_getrandom(void);

/* No descriptors from this number on but those that are open; 0: none at all. What it returns gives them back. */
unsigned refuse_descriptors(unsigned from);

/* How many are open. */
unsigned refuse_count_descriptors(void);

/* Runs body in a child and returns whether it returned true and nothing ended the child before. */
bool refuse_in_child(bool (*body)(void));
