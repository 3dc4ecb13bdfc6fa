/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The log: to the journal with fields where stderr is one, else to stderr as "LEVEL: message KEY=value …", a line a
 * record. One structured record per decision. No key, signature or token ever stands in either.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#define AUDIT_NO_SLOT UINT32_MAX /* the event is about no slot, or about a path that is none */

/* Before any thread starts. */
void audit_init_log(void);

struct audit_record {
    const char *event; /* "token", "connection-string", "rejected", "provision", "clear", "reload" … */
    const char *decision; /* "allowed", "denied", "failed" */
    const char *rule;     /* which rule decided; NULL where none did */
    const char *error;    /* name of the error answered; NULL for none */
    const char *scope;    /* NULL where the event has none */
    const char *token_id; /* NULL where no token was given */
    const char *tracking_id; /* what a hub called a refusal; NULL but for "rejected" */
    uint64_t generation;     /* of the rejected tokens; 0 but for "rejected" */
    const char *caller;   /* unique name on the bus */
    uid_t uid;
    uint32_t slot;
    uint32_t ttl;
    unsigned count; /* for records that were held back: how many; 0 for one record */
};

/* Of one user's refusals only so many are written (audit-limit.h); of the others the number, a minute later. */
void audit_write(const struct audit_record *record);
void audit_flush(void); /* writes the numbers now; before the end */
