/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The record of one request, as GET /requests tells it, and its form in the journal.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "tests/hub/items.h"
#include "tests/hub/pack.h"

struct request {
    uint64_t number;
    uint64_t connection;
    int64_t start_us; /* monotonic */
    int64_t end_us;   /* 0: not ended */
    int64_t token_expiry;
    int64_t accepted_ms; /* wall clock, 0: not accepted */
    uint64_t first_seq;  /* of the accepted messages */
    uint32_t items;
    uint32_t bytes;
    uint32_t status;      /* 0: no answer was made */
    uint32_t duplicates;  /* messages accepted although their id had been accepted; counted anew at replay */
    uint32_t unexplained; /* messages that arrived although their sender knew them accepted */
    bool accepted;
    bool reply_sent;
    char *device;
    char *module;
    char *path;
    char *api_version;
    char *content_type;
    char *token_id;
    char *sr_raw;
    char *fault;
};

void request_clear(struct request *request);

/* Head: length in 32 bits, record, ids. Bodies follow outside. */
void request_pack(const struct request *request, const GByteArray *ids, GByteArray *out);

/* in spans at least the head. ids: where the packed ids stand. False when it is not a record. */
bool request_unpack(struct unpack *in, struct request *request, struct unpack *ids);
