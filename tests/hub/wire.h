/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What faults do to a connection below HTTP, on the socket itself.
 */
#pragma once

#include <stdbool.h>

struct MHD_Connection;

void wire_reset(int fd);   /* RST, now */
void wire_close(int fd);   /* FIN without a TLS close_notify */
bool wire_is_gone(int fd); /* the peer closed or reset it */

/* Sends text as TLS application data past the HTTP server, which must not have answered yet. */
void wire_send(struct MHD_Connection *connection, const char *text);

/* The server name of the client's hello, or NULL. Caller frees. */
char *wire_server_name(struct MHD_Connection *connection);
