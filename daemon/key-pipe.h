/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A key that comes in by a file descriptor, read straight into locked memory without the bus thread ever waiting.
 */
#pragma once

#include "common/secret.h"

#define KEY_PIPE_MAX 1024             /* bytes of a raw key */
#define KEY_PIPE_LIMIT_MS 5000        /* within which the writer must be done */

/* key is the callee's; NULL where error is set. */
typedef void (*key_pipe_fn)(struct secret *key, const GError *error, void *user);

/* Takes fd (a pipe, or a file such as a memfd). done comes later, on the main context; user is freed by it. limit_ms:
 * KEY_PIPE_LIMIT_MS. */
void key_pipe_read(int fd, unsigned limit_ms, key_pipe_fn done, void *user);
