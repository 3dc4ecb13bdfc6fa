/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * GET /messages, /requests and /stats as JSON.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

struct hub;

#define ADMIN_LIMIT_DEFAULT 1000
#define ADMIN_LIMIT_MAX 10000

/* Each takes the hub's lock itself, but not while it reads the journal. device NULL: all. */
json_t *admin_messages(struct hub *hub, const char *device, uint64_t after, uint32_t limit);
json_t *admin_requests(struct hub *hub, uint64_t after, uint32_t limit);
json_t *admin_stats(struct hub *hub);
