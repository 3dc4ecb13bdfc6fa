/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * From what the queue keeps of a message back to what its sender gave: the counterpart of message.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/queue.h"

struct stored {
    struct hubkey_message message; /* its pointers are the row's and this struct's */
    struct json_t *object;
    GArray *properties;
};

/* Takes a row's properties apart. False with HUBKEY_E_QUEUE_DAMAGED where they are not what message.h wrote; then, too,
 * stored_clear. */
bool stored_read(struct stored *stored, const struct queue_row *row, GError **error);
void stored_clear(struct stored *stored);
