/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * How many refusals of one user stand in the log: whoever asks in vain over and over must not fill the journal, nor
 * push out what it holds of others. What is held back is counted, and its number is told. Main thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define AUDIT_REFUSALS_PER_MINUTE 60 /* of one uid */
#define AUDIT_USERS_MAX 1024         /* uids counted each for itself; others are counted as uid -1, together */

/* Told once a minute is over in which records of uid were held back. */
typedef void (*audit_limit_more_fn)(uid_t uid, unsigned count, void *user);

/* Whether one more refusal of uid is to be written. */
bool audit_limit_pass(uid_t uid, audit_limit_more_fn more, void *user);

void audit_limit_flush(audit_limit_more_fn more, void *user);
