/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Listening sockets whose port is chosen once and kept: over restarts, and while connections are refused.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* address is HOST:PORT, IPv4 in numbers; port 0 becomes known, or if that is 0 too, a free one outside the range from
 * which the kernel takes the ports of outgoing connections. -1 on error. */
int listener_open(const char *address, unsigned known, unsigned *port, GError **error);

void listener_refuse(int fd); /* connections in its queue are reset, new ones refused; the port stays ours */
bool listener_resume(int fd);
