/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A queue's file and its lock, for the functions that do without a client.
 */
#pragma once

#include <stdbool.h>

#include "client/lock.h"
#include "client/queue.h"

struct opened {
    char *path;
    struct lock *lock;
    struct queue *queue;
    struct queue_salvaged salvaged; /* with OPENED_HOLD; where ended is set, a damaged file was carried over first */
};

/* How it is opened: 0 for looking, which changes nothing, or */
enum {
    OPENED_HOLD = 1, /* take the right to send, so that nobody sends meanwhile */
    OPENED_MAKE = 2, /* make the queue where there is none; only with OPENED_HOLD */
};

/* Whatever comes of it: opened_close afterwards. */
bool opened_open(struct opened *opened, const char *path, unsigned how, GError **error);
void opened_close(struct opened *opened);
