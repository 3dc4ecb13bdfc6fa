/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Everything the hub remembers of requests and messages: numbers, sequence, duplicates, all of it in the journal first.
 * 
 * A message is explained when it arrives again if no earlier acceptance of its id was confirmed. An acceptance is
 * confirmed once its request was fully answered and its connection then carried a further request: only then did the
 * sender certainly read the answer and go on. Not thread-safe, but for the two readers at the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <jansson.h>

#include "tests/hub/items.h"
#include "tests/hub/request.h"

#define LEDGER_REQUESTS_MAX 10000000u /* in one state directory */
#define LEDGER_MESSAGES_MAX 20000000u /* between two DELETE /messages */

struct ledger;

struct ledger_counts {
    uint64_t requests;
    uint64_t accepted; /* requests of which messages were stored */
    uint64_t refused;  /* requests answered by an error */
    uint64_t messages; /* messages stored */
    uint64_t duplicates;
    uint64_t unexplained;
    uint64_t connections;
};

typedef void (*ledger_device_fn)(void *user, const json_t *device);

/* Replays the journal at path; every device that was ever registered goes to put_device, in order. */
struct ledger *ledger_open(const char *path, ledger_device_fn put_device, void *user, GError **error);
void ledger_close(struct ledger *ledger);

uint64_t ledger_connection(struct ledger *ledger); /* the number of a new connection, from 1 */

/* Gives request its number. Both stay borrowed, for GET /requests, until stored. False: the ledger is full. */
bool ledger_begin(struct ledger *ledger, struct request *request, const struct items *items);

/* When the request has been read and found good: how many of its messages are unexplained duplicates. */
void ledger_arrived(struct ledger *ledger, struct request *request, const struct items *items);

/* Writes request down; with accept, its messages too, on disk at return. False: the disk or the bound refused. */
bool ledger_store(struct ledger *ledger, struct request *request, const struct items *items, bool accept);

void ledger_finish(struct ledger *ledger, uint64_t number, int64_t end_us, bool reply_sent);
void ledger_confirm(struct ledger *ledger, uint64_t number);
void ledger_in_flight(struct ledger *ledger, const char *device, uint32_t count);
bool ledger_put_device(struct ledger *ledger, const json_t *device);
bool ledger_forget_messages(struct ledger *ledger);

void ledger_counts(const struct ledger *ledger, struct ledger_counts *counts);
json_t *ledger_max_in_flight(const struct ledger *ledger); /* {DEVICE: n} */

/* Where the record of a request or of a run of messages stands in the journal. */
struct ledger_place {
    uint64_t number;
    uint64_t first_seq;
    uint64_t offset;
    int64_t end_us;
    bool reply_sent;
    GBytes *live; /* the packed head of a request not stored yet, instead of offset */
};

GArray *ledger_requests(const struct ledger *ledger, uint64_t after, uint32_t limit);                     /* of places */
GArray *ledger_messages(const struct ledger *ledger, uint64_t after, const char *device, uint32_t limit); /* of places */

/* Any thread. The packed head, or head and bodies, at a place; NULL: unreadable. */
GBytes *ledger_read_head(const struct ledger *ledger, const struct ledger_place *place);
GBytes *ledger_read(const struct ledger *ledger, const struct ledger_place *place);
