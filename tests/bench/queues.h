/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Queues that are measured: opening and filling them, which ends the program where it fails.
 */
#pragma once

#include "client/hubkey.h"

#include <stddef.h>

hubkey_client *queues_open(const struct hubkey_options *options);

/* Its sender has nothing to do: it waits for a hubkeyd on a bus that is not there. For the rest of the process. */
hubkey_client *queues_open_offline(const char *path);

/* n messages with this body, many at a time. */
void queues_fill(hubkey_client *client, const void *body, size_t len, size_t n);
