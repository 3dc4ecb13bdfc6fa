/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Where a queue's file lies, and whether it may lie there: directories made 0700, the file 0600, no symbolic link as
 * the file itself, no network file system (filesystem.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define PLACE_LOCK ".lock" /* what stands beside a queue as long as it is used, lock.h */

/* The path of a slot's queue by the environment, see hubkey_queue_path. */
char *place_default(uint32_t slot, GError **error);

/* The absolute path with its directory resolved, so that the last part alone is left to be checked for symbolic links.
 * With create, makes the directory and an empty file where they are missing; without, a missing file is an error. */
char *place_prepare(const char *path, bool create, GError **error);

/* Gives an open file the owner, group and mode of another one, where that is there and as far as this process may: what
 * root does to a user's queue must not take it from him. */
void place_resemble(int fd, const char *model);

/* An empty file where none is, safe on disk, that resembles model. */
bool place_make_file(const char *path, const char *model, GError **error);

/* What was made, renamed and removed in a directory is safe on disk. */
bool place_sync(const char *directory);

/* Bytes of the file itself, or of what stands beside it under a suffix; 0 where there is none. */
int64_t place_size(const char *path, const char *suffix);

/* Bytes that unprivileged programs can still write to the file system of path; UINT64_MAX where it cannot be told. */
uint64_t place_free_bytes(const char *path);
