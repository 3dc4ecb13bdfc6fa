/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * FILE.state beside a queue: how the sender fares, for whoever asks from outside. key=value lines, replaced as a whole
 * by the holder of FILE.lock; the last word of a sender that was killed stays. Losing it loses nothing but the words.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/pump.h"

struct state_file; /* what the holder last wrote */

struct state_file *state_file_new(const char *queue_path);
void state_file_free(struct state_file *file); /* NULL is fine */

/* Writes where something changed: another state at once, mere progress at most once a second. Returns when to call
 * again at the latest, on the boot clock; INT64_MAX: when the status has changed. */
int64_t state_file_tell(struct state_file *file, const struct pump_status *status);

/* False: there is none, or it is not understood; *status and *pid are as if nobody had ever sent. */
bool state_file_read(const char *queue_path, struct pump_status *status, int32_t *pid);
