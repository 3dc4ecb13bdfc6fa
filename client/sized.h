/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Structs of the public header that grow: read as far as both sides know them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/* Copies a caller's struct, whose first field is its size, into one of known bytes that is zero. minimum is the size of
 * the first published form. A longer one must end in zeros: the caller would expect what this library cannot do. */
bool sized_read(const char *what, const void *given, void *into, size_t known, size_t minimum, GError **error);

/* Copies from to a caller's struct as far as it reaches; the rest of it becomes zero. The caller's size is kept. */
bool sized_write(const char *what, void *given, const void *from, size_t known, size_t minimum, GError **error);
