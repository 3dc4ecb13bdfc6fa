/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the ledger keeps in memory: one entry a request, one a stored request's messages, the ids, and the counts.
 * Changed by the same functions at run time and at replay, so that a restart changes nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "tests/hub/pack.h"
#include "tests/hub/request.h"

#define HISTORY_REQUESTS_MAX 10000000u /* in one state directory */
#define HISTORY_MESSAGES_MAX 20000000u /* between two DELETE /messages */

struct history;

struct history_counts {
    uint64_t requests;
    uint64_t accepted; /* requests of which messages were stored */
    uint64_t refused;  /* requests answered by an error */
    uint64_t messages; /* messages stored */
    uint64_t duplicates;
    uint64_t unexplained;
    uint64_t connections;
};

struct history_entry {
    uint64_t offset; /* of its record in the journal, once stored */
    int64_t end_us;
    bool stored;
    bool reply_sent;
    bool confirmed;
};

struct history_run { /* the messages of one request */
    uint64_t first_seq;
    uint64_t number;
    const char *device; /* interned */
};

struct history *history_new(void);
void history_free(struct history *history);

uint64_t history_begin(struct history *history); /* the number of a new request; 0: there may be no more */
uint64_t history_connection(struct history *history);

/* How many of these ids belong to an acceptance that was confirmed. */
uint32_t history_unexplained(const struct history *history, const struct request *request, struct unpack ids);
bool history_has_room(const struct history *history, uint32_t messages);

/* The record of request stands at offset. Fills duplicates. */
void history_store(struct history *history, struct request *request, struct unpack ids, uint64_t offset);
void history_finish(struct history *history, uint64_t number, int64_t end_us, bool reply_sent);
void history_confirm(struct history *history, uint64_t number);
void history_forget(struct history *history,
                    uint64_t next_seq); /* all messages and ids; sequence numbers go on from there */
bool history_in_flight(struct history *history, const char *device, uint32_t n); /* false: it was as many before */

/* All borrowed. */
const struct history_counts *history_counts(const struct history *history);
uint64_t history_next_seq(const struct history *history);
GHashTable *history_max_in_flight(const struct history *history);                          /* device -> count */
const struct history_entry *history_entry(const struct history *history, uint64_t number); /* NULL: none has it yet */

/* By index, in order of sequence numbers; NULL at the end. */
const struct history_run *history_run(const struct history *history, guint index);
guint history_find_run(const struct history *history, uint64_t seq); /* the run with seq, or the first one after it */
