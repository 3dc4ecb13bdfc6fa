/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shared by the files of the pump: pump.c decides what to do next, pump-reply.c what an answer of the hub means for the
 * queue, pump-slot.c what hubkeyd's means, pump-salvage.c looks after a damaged file.
 */
#pragma once

#include "client/batch.h"
#include "client/pump.h"
#include "client/retry.h"
#include "client/token.h"
#include "client/window.h"

#define RECORD_GAP_US 1000000 /* the disk refused: how often to try again */

enum pump_phase { PUMP_IDLE, PUMP_ASKING, PUMP_SENDING };

/* What has been tried against a 401 of the message at hand. */
enum pump_auth { AUTH_UNTRIED, AUTH_FRESH, AUTH_LONGER };

struct pump {
    struct queue *queue;
    struct lock *lock;
    struct pump_options options;
    struct pump_ops ops;
    struct pump_hooks hooks;

    enum pump_phase phase;
    struct window window;
    struct batch *current; /* under way, or about to be */
    struct batch *next;    /* made meanwhile */
    size_t batch_max;      /* bytes of a batch that the way to the hub carries, as far as is known */
    struct retry_backoff backoff;

    /* a pause: nothing is begun before; all times are boot time, which counts suspend */
    int64_t not_before_us;
    enum retry_family pause; /* its kind */
    bool pause_is_ordered;   /* the hub asked for it */
    int64_t last_try_us, last_hurry_us;
    int64_t compare_until_us; /* how long a suspect waits for another message to be compared with */

    bool has_backlog;          /* of an earlier process, and nothing was tried yet */

    /* identity and token */
    struct identity *identity; /* the slot's; NULL: not read yet */
    bool owner_checked;        /* the queue belongs to it */
    char *url, *gateway;       /* where to send; gateway in libcurl's form, NULL without one */
    struct token token;
    uint32_t default_ttl_s, max_ttl_s;
    int64_t extra_ttl_s; /* our clock is behind the hub's by so much */
    bool stale;          /* what hubkeyd is being asked for is void already */

    enum pump_auth auth;
    char *refused;        /* the token that the hub did not take, pump_forget_refused; NULL: none */
    unsigned other_tries; /* to get another one */
    uint64_t reported;    /* generation whose rejection hubkeyd knows of */

    unsigned salvage; /* the damaged file that is being carried over, as told; 0: none */

    GArray *unrecorded; /* struct batch_run: delivered, but the disk did not take it yet */
    int64_t record_again_us;
    bool holds_back; /* the disk refuses to drop what has come to its time, which is passed over */
    int64_t expire_again_us;

    double credit; /* requests that a replay may make now */
    int64_t credit_us;

    GMutex mutex; /* of what follows */
    struct pump_status status;
    bool hurry;
};

/* pump.c */
void pump_show(struct pump *pump, int32_t state, int32_t reason, const char *text);
/* Erases the refused token. */
void pump_forget_refused(struct pump *pump);

void pump_log(struct pump *pump, int32_t level, const char *format, ...) G_GNUC_PRINTF(3, 4);
void pump_pause(struct pump *pump, enum retry_family family, int64_t delay_ms);
void pump_reject(struct pump *pump, int32_t reason, const char *text); /* and probe later */
void pump_queue_trouble(struct pump *pump, const GError *error);

/* pump-reply.c */
void pump_on_reply(struct pump *pump, const struct reply *reply);
bool pump_record(struct pump *pump,
                 GError **error); /* takes delivered messages out of the queue; false: the disk refuses */

/* pump-salvage.c */
/* Carries over some of a damaged file: 1 there may be more, 0 there is none, -1 an error. */
int pump_salvage(struct pump *pump, GError **error);

/* Where the queue is damaged: true when a fresh one has taken its place, and what failed can be tried again. */
bool pump_replace_queue(struct pump *pump, const GError *why, GError **error);

/* pump-slot.c */
void pump_ask(struct pump *pump);
void pump_on_answer(struct pump *pump, struct bus_answer *answer, const GError *error);
bool pump_check_owner(struct pump *pump); /* false: rejected, or paused */
void pump_heed_news(struct pump *pump);
