/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Requests for the same slot, scope and expiry are one token, signed once: those that come while it is being made wait
 * for it together, those that come later in the same second get it at once. Whether a caller may have it at all has
 * been decided before it comes here. A token that nobody can be given any more is forgotten at the next request,
 * without one after as long again, and the memory of many goes back to the system then, once a minute at most.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#define SHARING_LIMIT_US (5 * G_USEC_PER_SEC) /* a caller is answered by then, with a token or an error */
#define SHARING_KEPT_MAX 4096 /* finished tokens kept for others of the same second; the oldest of more make room */

struct sharing;
struct slot;
struct slots;
struct worker;
struct limits;

/* What somebody made of a token, kept as long as it is. */
struct sharing_beside {
    void *data;
    GDestroyNotify free;
};

struct sharing_answer {
    const char *token; /* NULL where error is set */
    const char *token_id;
    uint64_t expires;
    bool shared; /* it was made for somebody else as well */
    const GError *error;
    struct sharing_beside *beside; /* at first all zero; NULL where the token is not kept */
};

/* Must not call back into sharing. */
typedef void (*sharing_done_fn)(const struct sharing_answer *answer, void *user);

/* granularity_s: expiries are multiples of it. */
struct sharing *sharing_new(struct slots *slots, struct worker *worker, struct limits *limits, uint32_t granularity_s);
void sharing_set_granularity(struct sharing *sharing, uint32_t granularity_s); /* for requests from now on */
void sharing_free(struct sharing *sharing); /* after the worker has stopped; waiters are dropped */

/* Calls done once: before returning where the token is there, else later. peer names who waits, for sharing_forget.
 * False (Busy) with done not called where uid has too much waiting already. */
bool sharing_request(struct sharing *sharing, const struct slot *slot, const char *scope, uint64_t expires, uid_t uid,
                     const char *peer, sharing_done_fn done, void *user, GError **error);

/* Drops what peer waits for: done is called with error NULL and token NULL, so that user can be freed. */
void sharing_forget(struct sharing *sharing, const char *peer);
