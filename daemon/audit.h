/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The log: to the journal with fields where stderr is one, else to stderr as "LEVEL: message KEY=value …", a line a
 * record. One structured record per decision. No key, signature or token ever stands in either.
 */
#pragma once

#include "daemon/audit-record.h"

/* Before any thread starts. */
void audit_init_log(void);

/* Of one user's refusals only so many are written (audit-limit.h); of the others the number, a minute later. So it is
 * with what is allowed to one user again and again within a second (audit-fold.h). */
void audit_write(const struct audit_record *record);
void audit_flush(void); /* writes the numbers now; before the end */
