/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The calls to hubkeyd that the library makes, over a private connection: to hubkeyd's own socket where something
 * listens there, else to the system bus. A refusal on the socket is final; only a failed connect falls back.
 *
 * Used by one thread and without waiting: bus_ask begins, bus_process moves on, bus_take yields the answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "common/identity.h"

/* What a slot says about itself, and a token for it. */
struct bus_answer {
    struct identity *identity;
    char *token; /* secret */
    int64_t expires_s;
    uint64_t generation; /* read before the token was made */
    uint32_t default_ttl_s, max_ttl_s;
};

void bus_answer_clear(struct bus_answer *answer); /* erases the token */

/* What happened at hubkeyd since it was last asked. */
#define BUS_INVALIDATED 1u /* tokens made before are void */
#define BUS_RESTARTED 2u   /* hubkeyd, or the connection to it, went away or came back */
#define BUS_CHANGED 4u     /* the slot changed: what failed before may work now */

struct bus;

/* socket_path as in hubkey_token. Connects only when asked. */
struct bus *bus_new(uint32_t slot, const char *socket_path);
void bus_free(struct bus *bus); /* NULL is fine */

/* Asks for the slot's properties and then for a token. None may be under way. Opening the system bus waits for its
 * first answer, everything else does not wait. */
void bus_ask(struct bus *bus, uint32_t ttl_s);

/* True once for each bus_ask: either answer is filled or error set. */
bool bus_take(struct bus *bus, struct bus_answer *answer, GError **error);

/* Tells hubkeyd that the hub refused a fresh token of this generation. Nobody waits for the answer. */
void bus_report_rejected(struct bus *bus, uint64_t generation, const char *tracking_id);

/* Reads and writes what is there. */
void bus_process(struct bus *bus);

/* What happened since the last call: BUS_*. */
unsigned bus_news(struct bus *bus);

/* To wait for: -1 where there is no connection. deadline: when bus_process must run at the latest (monotonic;
 * INT64_MAX). */
int bus_fd(struct bus *bus, bool *writable, int64_t *deadline_us);

/* ---- For hubkey_token: opens, asks, waits, closes. */
char *bus_get_token(uint32_t slot, const char *socket_path, const char *scope, uint32_t ttl_s, int64_t *expires_s,
                    GError **error);
