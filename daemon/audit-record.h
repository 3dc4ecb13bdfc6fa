/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What is recorded of one decision.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AUDIT_NO_SLOT UINT32_MAX /* the event is about no slot, or about a path that is none */

struct audit_record {
    const char *event;    /* "token", "connection-string", "rejected", "provision", "clear", "reload" …; static */
    const char *decision; /* "allowed", "denied", "failed"; static */
    const char *rule;     /* which rule decided; NULL where none did; static */
    const char *error;    /* name of the error answered; NULL for none; static */
    const char *scope;    /* NULL where the event has none */
    const char *token_id; /* NULL where no token was given */
    const char *tracking_id; /* what a hub called a refusal; NULL but for "rejected" */
    uint64_t generation;     /* of the rejected tokens; 0 but for "rejected" */
    const char *caller;   /* unique name on the bus */
    uid_t uid;
    uint32_t slot;
    uint32_t ttl;
    unsigned count; /* for records that were held back: how many; 0 for one record */
    bool ttls_differ; /* in what is counted: ttl is none */
};
