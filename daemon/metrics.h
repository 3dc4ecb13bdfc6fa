/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Statistics as a file in the text format of Prometheus, for the textfile collector of its node exporter. Main thread.
 */
#pragma once

#include <stdbool.h>

#define METRICS_INTERVAL_S 15

struct api;
struct metrics;

/* Writes MetricsFile= of api's configuration, where there is one, now and every METRICS_INTERVAL_S. */
struct metrics *metrics_new(const struct api *api);
void metrics_free(struct metrics *metrics); /* writes once more; NULL is fine */

char *metrics_text(const struct api *api); /* g_free */
