/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Pure: what an answer means, and how long to wait. Nothing here waits, sends or stores.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/reply.h"

enum retry_action {
    RETRY_DELIVERED, /* take the messages out of the queue */
    RETRY_LATER,     /* wait, then the same again */
    RETRY_SPLIT,     /* one of the messages is at fault */
    RETRY_AUTH,      /* the token was refused */
    RETRY_REJECTED,  /* nothing will help but a change of something; probe */
};

/* Each kind of trouble has a back-off of its own. */
enum retry_family {
    RETRY_NETWORK,
    RETRY_SERVER,
    RETRY_THROTTLE,
    RETRY_QUOTA,
    RETRY_HUBKEYD,
    RETRY_PROBE,
    RETRY_START, /* no failure: the machine has just come up, as others have */
    RETRY_FAMILIES
};

struct retry_verdict {
    enum retry_action action;
    enum retry_family family;
    int32_t state, reason; /* HUBKEY_STATE_*, HUBKEY_REASON_* to show */
    bool maybe_delivered;  /* the hub may have accepted them all the same */
    char text[320];
};

void retry_judge(const struct reply *reply, struct retry_verdict *verdict);

/* Why a token that is fresh was refused: HUBKEY_REASON_KEY, _DEVICE or _HOST, by the hub's code. */
int32_t retry_auth_reason(const struct reply *reply);

struct retry_backoff {
    unsigned failures[RETRY_FAMILIES];
    uint32_t (*random)(void); /* any 32 bits */
};

/* How long to wait after one more failure of a family: a random part (full jitter, so that a fleet that lost its
 * network together does not come back together) of a time that doubles up to a cap; never less than the hub asked for.
 */
int64_t retry_delay_ms(struct retry_backoff *backoff, enum retry_family family, int64_t retry_after_s);

/* Till the daily quota begins anew at 00:00 UTC, and up to five minutes more by chance. */
int64_t retry_quota_delay_ms(const struct retry_backoff *backoff, int64_t now_ms);

/* A request was accepted: everything works. */
void retry_success(struct retry_backoff *backoff);
