/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Mutexes that a fork waits for. The library's thread, and calls of other threads, use SQLite, libdbus and libcurl only
 * while they hold one: so at the moment of a fork none of those libraries' own locks is taken, and the child can open a
 * client of its own.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct guard {
    pthread_mutex_t mutex;
    bool taken; /* by the fork that is going on */
    struct guard *next;
};

void guard_init(struct guard *guard);
void guard_clear(struct guard *guard);
void guard_lock(struct guard *guard);
void guard_unlock(struct guard *guard);
