/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the callbacks will be told, kept until somebody dispatches. Bounded: nobody has to dispatch. Any thread adds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/hubkey.h"

#define EVENTS_MAX 1024

struct events;

struct events *events_new(GError **error);
void events_free(struct events *events); /* NULL is fine */

void events_set_callbacks(struct events *events, hubkey_state_fn state, hubkey_gone_fn gone, hubkey_log_fn log,
                          void *user);

/* Each does nothing where its callback is not set. A state replaces one that waits as the last event; a range of
 * messages joins the range before it that left the same way. Beyond EVENTS_MAX the oldest is lost, but never the last
 * state. */
void events_state(struct events *events, int32_t state, int32_t reason, const char *text);
void events_gone(struct events *events, uint64_t first, uint64_t last, int32_t how, const char *text);
void events_log(struct events *events, int32_t level, const char *format, ...) G_GNUC_PRINTF(3, 4);

int events_fd(struct events *events);
uint64_t events_lost(struct events *events);

/* Runs the next callback outside of all locks. False when there was none. */
bool events_run_one(struct events *events);
