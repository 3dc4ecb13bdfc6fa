/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The admin port: what a test tells the hub and asks it, plain HTTP on loopback.
 */
#pragma once

struct MHD_Daemon;
struct hub;

struct MHD_Daemon *admin_start(struct hub *hub, int listen_fd); /* NULL on error */
void admin_stop(struct MHD_Daemon *daemon);
