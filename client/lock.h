/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * FILE.lock beside a queue: whoever holds it sends, everybody else with the right may post. An open-file-description
 * lock, because ordinary POSIX locks of a process vanish when any descriptor of the file is closed; a forked child lets
 * go of its copy at once. The file says who holds it: pid, program, since when.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

struct lock;

struct lock_holder {
    pid_t pid; /* 0: nobody holds it */
    int64_t since_ms;
    char program[64];
};

/* queue_path as place_prepare made it. Does not take the lock. With create false a missing or unwritable file is no
 * error: such a lock can be asked but not taken. */
struct lock *lock_open(const char *queue_path, bool create, GError **error);
void lock_close(struct lock *lock); /* lets go; NULL is fine */

bool lock_try(struct lock *lock); /* true when this lock is held now */
bool lock_is_held(const struct lock *lock);

/* lock_try with an error that says by whom it is held. */
bool lock_take(struct lock *lock, GError **error);

/* Who else holds it. holder->pid 0: nobody, or this lock itself. */
void lock_ask(struct lock *lock, struct lock_holder *holder);

/* A second, short lock around making and migrating the file. Waits for other processes that do the same; watch only
 * keeps them from beginning, and needs no right to write. */
void lock_setup_begin(struct lock *lock);
void lock_setup_watch(struct lock *lock);
void lock_setup_end(struct lock *lock);

/* A third, shared by everybody while he writes. Who has set the queue's file aside drains it: once nobody is left who
 * began to write before, nothing more comes to that file. */
void lock_write_begin(struct lock *lock);
void lock_write_end(struct lock *lock);
bool lock_write_drain(struct lock *lock, int64_t patience_us); /* false: somebody did not end in time */
