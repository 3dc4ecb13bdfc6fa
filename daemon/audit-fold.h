/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One record for many decisions that are the same: a program that asks in a loop is given the token of this second again
 * and again, at the speed of the bus. Above so many records a second of one user, what repeats a decision of the same
 * second is counted, and the exact number is written when the second is over. A token that nobody of this uid has been
 * given in it always has a record of its own; how many of those there can be, the TPM bounds. Main thread.
 */
#pragma once

#include "daemon/audit-record.h"

#include <stdbool.h>

#define AUDIT_ALLOWED_PER_SECOND 10 /* of one uid, each written, the same or not */
#define AUDIT_FOLDS_MAX 1024        /* uids, and decisions counted at a time; with more of either the second ends early */

/* Writes a record whose count is set. */
typedef void (*audit_fold_write_fn)(const struct audit_record *record);

/* Whether an allowed decision is counted, and need not be written. Before it answers, it may write those of a second
 * that is over. */
bool audit_fold_take(const struct audit_record *record, audit_fold_write_fn write);

void audit_fold_flush(void); /* writes all that is counted */
