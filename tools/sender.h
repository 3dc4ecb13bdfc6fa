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
#include "tools/progress.h"

struct sender {
    hubkey_client *client;      /* NULL: a dry run, which only checks the lines */
    struct hubkey_message form; /* what all messages have in common */
    bool ack, json;
    bool block;                 /* lines wait for room, until the user stops it */
    uint64_t max_bytes;         /* of the queue */
    uint64_t accepted, refused; /* lines */
    uint64_t bytes;             /* of the accepted ones, as the hub counts; in a dry run only */
    GArray *ranges;             /* struct range: the numbers of the accepted ones */
    guint settled_range;        /* the ranges before this one have left the queue, */
    uint64_t settled_seq;       /* and of this one the numbers up to here */
    struct progress *progress;  /* NULL: nobody watches */
    int fatal;                  /* exit code of an error after which nothing more can be posted, 0 before */
};

void sender_init(struct sender *sender, hubkey_client *client);
void sender_clear(struct sender *sender);

/* Posts n lines, n from 1 to SENDER_BATCH_MAX. Complaints go to stderr by line number. False after a fatal error. */
#define SENDER_BATCH_MAX 2000
bool sender_post(struct sender *sender, const struct line *lines, size_t n);

/* Waits until none of the accepted lines is in the queue any more: 0; HUBKEY_E_TIMEOUT after timeout_ms; an error. */
int sender_await(struct sender *sender, int32_t timeout_ms);

/* Counts what became of the accepted lines: of each HUBKEY_GONE_* how many, and at 0 how many still wait. */
#define SENDER_FATES (HUBKEY_GONE_LOST + 1)
void sender_count(const struct sender *sender, uint64_t fates[SENDER_FATES]);

/* Shows how far it is, where somebody watches and it is time to. */
void sender_show(struct sender *sender, bool draining);
