/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One TLS connection of a device.
 */
#pragma once

#include <stdint.h>

struct hub;

struct connection {
    struct hub *hub;
    uint64_t number;
    int fd;
    uint64_t answered; /* the last accepted request that was fully answered here, not confirmed yet; 0: none */
};

/* All under the hub's lock. */
struct connection *connection_new(struct hub *hub, int fd);
void connection_free(struct connection *connection);
void connection_carries(struct connection *connection); /* a further request begins: what was answered is confirmed */
