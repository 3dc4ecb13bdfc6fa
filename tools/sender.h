/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What `send` does with lines: posts those that are there together, remembers which numbers they got, and tells at the
 * end what became of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/hubkey.h"
#include "tools/lines.h"

struct sender {
    hubkey_client *client;
    struct hubkey_message form; /* what all messages have in common */
    bool ack, json;
    uint64_t accepted, refused; /* lines */
    GArray *ranges;             /* struct range: the numbers of the accepted ones */
    int fatal;                  /* exit code of an error after which nothing more can be posted, 0 before */
};

void sender_init(struct sender *sender, hubkey_client *client);
void sender_clear(struct sender *sender);

/* Posts n lines, n from 1 to SENDER_BATCH_MAX. Complaints go to stderr by line number. False after a fatal error. */
#define SENDER_BATCH_MAX 2000
bool sender_post(struct sender *sender, const struct line *lines, size_t n);

/* How many of the accepted left the queue without being delivered. */
uint64_t sender_count_gone(const struct sender *sender);
