/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Bytes that nobody may see: in pages of their own, locked against swap, left out of core dumps, erased when freed.
 * There is no way to format a secret, on purpose.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

struct secret {
    uint8_t *data;
    size_t len;
    size_t capacity; /* at least what was asked for; data[0..capacity) is writable */
};

/* capacity zero bytes; len is 0. Aborts when memory runs out, as GLib does. Where locking is refused (RLIMIT_MEMLOCK)
 * the secret is still erased and left out of cores. */
struct secret *secret_new(size_t capacity);

/* NULL is fine. Erases the whole capacity. */
void secret_free(struct secret *secret);

/* Reads fd to its end, at most max bytes (an error that names the limit beyond that). Blocks. */
struct secret *secret_read_fd(int fd, size_t max, GError **error);

typedef struct secret secret_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret_auto, secret_free)
