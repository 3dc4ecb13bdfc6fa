/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Where the file of a queue goes that was found damaged, with its log: FILE.salvage-N while its messages are still to
 * be carried over into the fresh FILE, FILE.damaged-N afterwards, for people. N grows. The names on disk are all there
 * is to remember, so that being killed at any point loses nothing: the next one goes on from what he finds.
 *
 * Everything here under lock_setup_begin.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#define DAMAGED_KEPT 3    /* FILE.damaged-N; older ones are removed */
#define DAMAGED_PENDING 8 /* FILE.salvage-N; a disk that damages more in a row is no place for a queue */

/* Finishes what was cut short. */
bool damaged_settle(const char *path, GError **error);

/* FILE and its log become FILE.salvage-N. Nothing is at FILE afterwards. */
bool damaged_set_aside(const char *path, GError **error);

/* The file whose messages are to be carried over next: the lowest N above a number; 0: none. */
unsigned damaged_pending(const char *path, unsigned above);
unsigned damaged_newest_pending(const char *path);

/* All of FILE.salvage-N is carried over: it becomes FILE.damaged-N. */
bool damaged_done(const char *path, unsigned n, GError **error);

unsigned damaged_kept(const char *path); /* how many FILE.damaged-N there are */

char *damaged_pending_path(const char *path, unsigned n);
char *damaged_kept_path(const char *path, unsigned n);
