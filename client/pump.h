/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The sender: what to send next, when, and why not. A state machine that is stepped; the network and hubkeyd are behind
 * functions, so that tests can play both. At any moment it asks hubkeyd, or has one request under way, or neither: a
 * transfer never runs while a token is being replaced.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/bus.h"
#include "client/http.h"
#include "client/lock.h"
#include "client/queue.h"
#include "client/reply.h"

/* The world. Each begins something or says what came of it, none waits. */
struct pump_ops {
    void (*send)(const struct http_request *request, void *context);
    bool (*take_reply)(struct reply *reply, void *context);
    void (*ask)(uint32_t ttl_s, void *context);
    bool (*take_answer)(struct bus_answer *answer, GError **error, void *context);
    void (*report_rejected)(uint64_t generation, const char *tracking_id, void *context);
    unsigned (*news)(void *context); /* BUS_* */
    uint32_t (*random)(void);
    void *context;
};

/* Who wants to know. All called on the thread that steps. */
struct pump_hooks {
    void (*state)(int32_t state, int32_t reason, const char *text, void *user);
    void (*gone)(uint64_t first, uint64_t last, int32_t how, const char *text, void *user);
    void (*log)(int32_t level, const char *text, void *user);
    void (*identity)(const struct identity *identity, void *user); /* the slot's */
    void (*progress)(void *user);                                  /* messages left the queue, or the state changed */
    void *user;
};

struct pump_options {
    uint32_t token_ttl_s;             /* 0: the slot's default */
    uint32_t max_requests_per_minute; /* UINT32_MAX: no limit */
    bool unclean;                     /* the last sender was killed, or the power failed */
};

/* For other threads. */
struct pump_status {
    int32_t state, reason, http_status;
    uint64_t in_flight, requests, requests_failed, batches, token_fetches, duplicates_possible;
    int64_t since_ms; /* of state and reason */
    int64_t next_attempt_ms, last_delivery_ms, clock_skew_s;
    char text[256];
};

struct pump;

/* queue and lock stay the caller's, and are used by stepping only. */
struct pump *pump_new(struct queue *queue, struct lock *lock, const struct pump_options *options,
                      const struct pump_ops *ops, const struct pump_hooks *hooks);
void pump_free(struct pump *pump); /* NULL is fine */

/* Does all that can be done now. Returns when to step again at the latest, on the boot clock (a night of suspend is a
 * part of a pause); earlier when the world has something to say, when a message was posted, or after pump_hurry. */
int64_t pump_step(struct pump *pump);

/* After a step: whether a newly posted message would be sent at once. */
bool pump_is_hungry(const struct pump *pump);

/* ---- Any thread */

/* Somebody waits: do not sit out a pause of our own making. */
void pump_hurry(struct pump *pump);
void pump_get_status(struct pump *pump, struct pump_status *status);

/* ---- The stepping thread, once nothing more is to be sent. */
void pump_stop(struct pump *pump);
