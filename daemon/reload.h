/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reading the configuration anew while hubkeyd runs: all of it or nothing. It is read on a thread of its own, because
 * users and groups may come from a directory service that is slow or gone, and the bus must not wait for it.
 */
#pragma once

#include <glib.h>

struct config;
struct reload;

/* A good configuration: config becomes the callee's. */
typedef void (*reload_apply_fn)(struct config *config, void *user);

/* file as for config_load. */
struct reload *reload_new(const char *file, reload_apply_fn apply, void *user);
void reload_free(struct reload *reload); /* waiters are answered with Internal, a reading under way comes to nothing */

/* error NULL: what the files said when reload_begin was called, or later, holds now. InvalidArgument: something is
 * wrong in them, FILE:LINE first, and nothing has changed. */
typedef void (*reload_done_fn)(const GError *error, void *user);

/* Calls done once, later, on the main thread. done may be NULL: the log tells how it ended in any case. */
void reload_begin(struct reload *reload, reload_done_fn done, void *user);
