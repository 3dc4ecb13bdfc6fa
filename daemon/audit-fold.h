/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One record for many decisions that are the same: a program that asks in a loop is given the token of this second
 * again and again, at the speed of the bus. Above so many records a second of one user, what repeats a decision of the
 * same second is counted, and the exact number is written when the second is over. Event, slot, rule and token say what
 * is the same; ttl and scope do not, as callers choose them at will. A token that nobody of this uid has been given in
 * the second has a record of its own, up to a bound that few TPMs reach; what is above that is counted in one record of
 * the uid. Main thread.
 */
#pragma once

#include "daemon/audit-record.h"

#include <stdbool.h>

#define AUDIT_ALLOWED_PER_SECOND 10 /* of one uid, each written, the same or not */
#define AUDIT_TOKENS_PER_SECOND 100 /* of one uid, those included: each written that is not the same as one before */
#define AUDIT_FOLDS_MAX 1024 /* uids, others are counted as uid -1, together; and decisions that are told apart */

/* Writes a record whose count is set. */
typedef void (*audit_fold_write_fn)(const struct audit_record *record);

/* Whether an allowed decision is counted, and need not be written. Before it answers, it may write those of a second
 * that is over. */
bool audit_fold_take(const struct audit_record *record, audit_fold_write_fn write);

void audit_fold_flush(void); /* writes all that is counted */
