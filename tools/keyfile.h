/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Keys from files or stdin into locked memory, and from there to hubkeyd. Never on a command line, never in an error.
 */
#pragma once

#include <glib.h>

#include "common/identity.h"
#include "common/secret.h"

#define KEYFILE_KEY_MAX 1024 /* bytes of a key, as hubkeyd takes them */

/* Reads base64 text as the portal shows it, one trailing newline ignored, and decodes it. path "-" is stdin. */
struct secret *keyfile_read(const char *path, GError **error);

/* The same without decoding: the text's own bytes, as Event Hubs and Service Bus take a key. */
struct secret *keyfile_read_text(const char *path, GError **error);

/* The same for a connection string: whom it is for, and its key. */
struct identity *keyfile_read_connection_string(const char *path, struct secret **key, GError **error);

/* A pipe that holds the key and ends behind it, for the D-Bus type h. Its pages are never swapped, and are gone once
 * read. Close it. -1 on failure. */
int keyfile_to_pipe(const struct secret *key, GError **error);
