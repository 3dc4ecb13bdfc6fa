/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One line on a terminal that is written over and over: how many lines are safe on disk, how many the hub has, how fast
 * it takes them, and, once no more are read, how long it will last.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_MS 200 /* how often the line is written */

struct progress;

/* NULL where stderr is no terminal that can write over a line; the functions below do nothing with NULL. */
struct progress *progress_new(void);
void progress_free(struct progress *progress); /* takes the line away */

/* Whether it is time to show the next figures. */
bool progress_is_due(const struct progress *progress, int64_t now_us);
void progress_show(struct progress *progress, uint64_t accepted, uint64_t sent, bool draining, int64_t now_us);

/* Takes the line away, so that something else can be written. */
void progress_clear(struct progress *progress);

/* ---- the parts, for tests */

/* rate, in lines a second, after more lines within elapsed_us; the last few seconds count. */
double progress_rate(double rate, uint64_t more, int64_t elapsed_us);

/* "12 accepted, 10 sent, 5/s, ETA 00:01"; g_free. */
char *progress_text(uint64_t accepted, uint64_t sent, double rate, bool draining);
