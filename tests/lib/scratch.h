/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For unit tests of the client: a queue in a directory of its own, and clocks that stand still until they are moved.
 */
#pragma once

#include <stdint.h>

#include "client/lock.h"
#include "client/message.h"
#include "client/queue.h"

struct scratch {
    char *dir, *path;
    struct lock *lock;
    struct queue *queue;
};

void scratch_open(struct scratch *scratch);
void scratch_reopen(struct scratch *scratch); /* as a new process would */
void scratch_close(struct scratch *scratch);  /* and removes the directory */

/* A prepared message of a text; message_clear. */
struct message scratch_message(const char *text);

/* Puts messages with these texts into the queue, without commit.c. */
void scratch_post(struct scratch *scratch, const char *const *texts, size_t n);

/* One message that ends in ttl_s seconds. */
void scratch_post_for(struct scratch *scratch, const char *text, uint64_t ttl_s);

struct hubkey_counts scratch_counts(struct scratch *scratch); /* asserts that they add up */

/* Changes the file behind libhubkey's back. */
void scratch_sql(struct scratch *scratch, const char *sql);
void scratch_age(struct scratch *scratch, int form); /* to what an earlier libhubkey, of that form, left */

/* Wall, boot and monotonic time start at 2026-01-01 12:00:00, 1000 s and 1000 s. */
void scratch_clock_start(void);
void scratch_clock_move(int64_t seconds); /* all three */
void scratch_clock_set_wall(int64_t seconds);
void scratch_clock_suspend(int64_t seconds); /* monotonic time stands still */
void scratch_clock_reboot(const char *boot); /* another, of that name: boot and monotonic time start again */
int64_t scratch_clock_us(void); /* boot time */

/* As a post with drop-oldest would: the oldest n above a number. The runs, struct queue_run. */
GArray *scratch_drop(struct scratch *scratch, uint64_t above, uint64_t n);
