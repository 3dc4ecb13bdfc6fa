/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Notices when somebody sets the wall clock, and for which slots tokens are about that were made by the old time: those
 * may live too short or too long, and whoever holds one should fetch another. Main thread.
 */
#pragma once

#include <stdint.h>

#define CLOCK_STEP_MIN_MS 1000 /* less does not matter to expiries, which have whole seconds */

struct clock_step;

/* The clock was set, and tokens of the slot are alive. */
typedef void (*clock_stepped_fn)(uint32_t slot, void *user);

struct clock_step *clock_step_new(clock_stepped_fn stepped, void *user);
void clock_step_free(struct clock_step *step); /* NULL is fine */

/* The same, told by fd (taken) in place of the kernel's timer: whenever it is readable, the clock is looked at. */
struct clock_step *clock_step_watch(int fd, clock_stepped_fn stepped, void *user);

/* A token of the slot has been given out. */
void clock_step_note(struct clock_step *step, uint32_t slot, uint64_t expires);
