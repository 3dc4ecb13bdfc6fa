/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Everything the hub remembers of requests and messages: what happens goes into the journal, and into the history once
 * it stands there.
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

#include "tests/hub/history.h"
#include "tests/hub/items.h"
#include "tests/hub/request.h"

struct ledger;

typedef void (*ledger_device_fn)(void *user, const json_t *device);

/* Replays the journal at path; every device that was ever registered goes to put_device, in order. */
struct ledger *ledger_open(const char *path, ledger_device_fn put_device, void *user, GError **error);
void ledger_close(struct ledger *ledger);

/* To read only; the ledger changes it. */
const struct history *ledger_history(const struct ledger *ledger);
uint64_t ledger_connection(struct ledger *ledger); /* the number of a new connection, from 1 */

/* Gives request its number, 0 when the ledger is full. Both stay borrowed, for GET /requests, until stored. */
void ledger_begin(struct ledger *ledger, struct request *request, const struct items *items);

/* When the request has been read and found good: how many of its messages are unexplained duplicates. */
void ledger_arrived(struct ledger *ledger, struct request *request, const struct items *items);

/* Writes request down; with accept, its messages too, on disk at return. False: the disk or the bound refused. */
bool ledger_store(struct ledger *ledger, struct request *request, const struct items *items, bool accept);

void ledger_finish(struct ledger *ledger, uint64_t number, int64_t end_us, bool reply_sent);
void ledger_confirm(struct ledger *ledger, uint64_t number);
void ledger_in_flight(struct ledger *ledger, const char *device, uint32_t n);
bool ledger_put_device(struct ledger *ledger, const json_t *device);
bool ledger_forget_messages(struct ledger *ledger);

/* Where the record of a request or of a run of messages stands in the journal. */
struct ledger_place {
    uint64_t number;
    uint64_t offset;
    int64_t end_us;
    bool reply_sent;
    GBytes *live; /* the packed head of a request not stored yet, instead of offset */
};

/* Arrays of struct ledger_place. device NULL: all. */
GArray *ledger_requests(const struct ledger *ledger, uint64_t after, uint32_t limit);
GArray *ledger_messages(const struct ledger *ledger, uint64_t after, const char *device, uint32_t limit);

/* Any thread. The packed head, or head and bodies, at a place; NULL: unreadable. */
GBytes *ledger_read_head(const struct ledger *ledger, const struct ledger_place *place);
GBytes *ledger_read(const struct ledger *ledger, const struct ledger_place *place);
