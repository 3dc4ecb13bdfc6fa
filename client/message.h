/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * From the caller's message to what the queue keeps: checked against IoT Hub's rules, given an id and a creation time,
 * its properties written as the JSON object that a batch carries, so that making a batch is concatenation.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/hubkey.h"

#define MESSAGE_MANY_MAX 10000 /* at once */

struct message {
    const void *body; /* the caller's */
    size_t len;
    char *properties; /* JSON object, names as the headers of a single message have them */
    size_t properties_len;
    uint32_t counted; /* bytes as IoT Hub counts them */
    int64_t created_ms;
    uint64_t ttl_s; /* 0: none */
};

/* out is only touched on success. */
bool message_prepare(const struct hubkey_message *in, struct message *out, GError **error);
void message_clear(struct message *message);

/* The same of n, from 1 to MESSAGE_MANY_MAX; ttl_s for those that have none. NULL on failure, with the message at fault
 * named by its place. Free with message_free_all. */
struct message *message_prepare_all(const struct hubkey_message *const *messages, size_t n, uint64_t ttl_s,
                                    GError **error);
void message_free_all(struct message *messages, size_t n); /* NULL is fine */
