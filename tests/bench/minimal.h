/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The least that a daemon like hubkeyd can be, to hold it against: libdbus in a GLib loop, and ESYS with slot 0's key.
 * It takes what GetToken takes and answers with as much, the HMAC over its string in hexadecimal digits, and knows
 * nothing of users, rules, scopes, sharing or a log.
 */
#pragma once

#include <sys/types.h>

#include <dbus/dbus.h>

/* In this process, for good; it ends with its parent. ready: see ready_start; -1: nobody waits. */
void minimal_serve(int ready);
/* In a process of its own; ready_stop ends it. */
pid_t minimal_start(void);

/* Calls of it. By a copy of an answer that is there already; by an HMAC of the bus's own thread and ESYS, as anybody
 * would write it; and by one of a thread beside it, as hubkeyd has to, whose bus must not wait for the TPM. The first
 * and the last know hubkeyd's tricks: the System API, the order of a message's fields, one event for many answers. */
DBusMessage *minimal_new_ready(unsigned number);
DBusMessage *minimal_new_inline(unsigned number);
DBusMessage *minimal_new_thread(unsigned number);
