/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What hubkeyd's answers are held against: a bare service on the sandbox's bus, libdbus in a GLib loop, in a process of
 * its own, which gives back the string it is called with.
 */
#pragma once

#include <sys/types.h>

#include <dbus/dbus.h>

pid_t echo_start(void); /* for ready_stop */

DBusMessage *echo_new_ping(unsigned number);
/* A string of 250 bytes, about as long as a token. */
DBusMessage *echo_new_call(unsigned number);
