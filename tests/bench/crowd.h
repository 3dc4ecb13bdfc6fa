/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Many clients at once: processes with some connections to the sandbox's bus each, and on every connection one call
 * after the other, the next as soon as the last is answered.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <dbus/dbus.h>

struct crowd;

struct crowd_options {
    size_t processes;
    size_t connections;       /* of each of them */
    const char *const *users; /* who they are in turn, ended by NULL; NULL: all of them root */
    DBusMessage *(*make)(unsigned number);
};

/* Returns when each of them has had one answer and asks for the next. An error for an answer ends the program. */
struct crowd *crowd_start(const struct crowd_options *options);
/* How many answers they have had. */
uint64_t crowd_answers(const struct crowd *crowd);
void crowd_stop(struct crowd *crowd);
