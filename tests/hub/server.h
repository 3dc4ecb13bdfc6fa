/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The TLS side: libmicrohttpd's callbacks, one thread, any number of connections.
 */
#pragma once

#include <stdbool.h>

struct MHD_Daemon;
struct hub;

/* certificate and key are PEM text, borrowed until server_stop. NULL on error. */
struct MHD_Daemon *server_start(struct hub *hub, const char *certificate, const char *key);
void server_accept(struct MHD_Daemon *daemon, int listen_fd); /* takes what waits on the listening socket */
void server_stop(struct MHD_Daemon *daemon);
