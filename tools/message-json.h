/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Messages of a queue as JSON objects: what `queue export` writes and `queue import` reads.
 *     {"seq":5,"id":"...","created":1764000000000,"body":"<base64>","properties":{"unit":"K"},
 *      "correlation_id":"...","content_type":"...","content_encoding":"..."}
 * The last three stand where the message has them. A dead one has buried, status and reason besides.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>
#include <jansson.h>

#include "client/hubkey.h"

/* With body false, bytes (its length) stands for body. */
json_t *message_to_json(const struct hubkey_queue_row *row, bool body);

/* A message, and what it points to. */
struct message_read {
    struct hubkey_message message;
    json_t *object;
    guchar *body;
    GArray *properties;
};

/* Reads one object; seq and what is known of a dead message's end are ignored. NULL, or what is wrong with it: g_free.
 * message_read_clear either way. Whether the hub would take the message is not looked at. */
char *message_read(struct message_read *read, const char *text, size_t len);
void message_read_clear(struct message_read *read);
