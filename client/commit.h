/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Posting: on the caller's thread, through one write connection. Whoever finds it free leads: it commits everything
 * that has been handed in by then in one transaction, with one flush, and wakes the others. A lone poster is a leader
 * with one message and never waits for company.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "client/lock.h"
#include "client/message.h"
#include "client/queue.h"

struct commit_limits {
    uint64_t max_messages; /* UINT64_MAX: none */
    uint64_t max_bytes;
    uint64_t min_free_bytes; /* 0: none */
    uint32_t policy;         /* HUBKEY_POLICY_* */
};

/* Called by the leader after its transaction (damaged: before it), without any lock held; dropped once for each run of
 * numbers. NULL where nobody listens. */
struct commit_hooks {
    void (*posted)(void *user);
    void (*dropped)(uint64_t first, uint64_t last, int how, void *user); /* HUBKEY_GONE_DROPPED or _EXPIRED */
    void (*damaged)(const char *text, void *user); /* the file was, and a fresh one has taken its place */
    void *user;
};

struct commit;

/* queue, path and lock stay the caller's and outlive the commit. */
struct commit *commit_new(struct queue *queue, const char *path, struct lock *lock, const struct commit_limits *limits,
                          const struct commit_hooks *hooks);
void commit_free(struct commit *commit); /* no post may be running; NULL is fine */

/* Accepts n messages, all or none. deadline_us on the monotonic clock, INT64_MAX: never. */
bool commit_post(struct commit *commit, const struct message *messages, size_t n, int64_t deadline_us,
                 uint64_t *first_seq, GError **error);

/* Whom the messages are for, as far as it is known: recorded with the first post into a queue that belongs to nobody.
 */
void commit_set_identity(struct commit *commit, const struct identity *identity);

/* There may be room again: blocked posts look. */
void commit_room(struct commit *commit);

/* Refuses all posts from now on with HUBKEY_E_CLOSED, blocked ones too. */
void commit_shut(struct commit *commit);
