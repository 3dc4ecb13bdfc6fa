/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One request on the TLS side, from its first line to its end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "tests/hub/fault.h"
#include "tests/hub/items.h"
#include "tests/hub/request.h"
#include "tests/hub/target.h"
#include "tests/hub/verdict.h"

struct MHD_Connection;
struct connection;
struct hub;

enum exchange_phase {
    EXCHANGE_READING, /* its body is arriving */
    EXCHANGE_WAITING, /* suspended by a fault */
    EXCHANGE_ANSWER,  /* to be answered by verdict */
    EXCHANGE_CLOSE,   /* to be ended without an answer */
};

struct exchange {
    struct hub *hub;
    struct connection *connection;
    struct MHD_Connection *http; /* NULL once the server has let go of it */
    struct target target;
    struct request request;
    struct items items;
    GByteArray *body;
    bool oversized;
    char *method; /* NULL until the header has been read */
    struct verdict verdict;
    struct fault_effect fault;
    enum exchange_phase phase;
    bool good;      /* its messages may be accepted */
    bool stored;    /* its record is in the ledger */
    bool in_flight; /* counts against its device */
    int64_t due_us; /* while it waits: when to go on; INT64_MAX for a stall */
};

/* The request line has arrived. */
struct exchange *exchange_begin(struct connection *connection, struct MHD_Connection *http, const char *uri);
void exchange_append(struct exchange *exchange, const char *data, size_t len);

/* The whole request has arrived: judges it and lets the faults act. The phase says what to do next; in
 * EXCHANGE_WAITING the connection has been suspended. Takes the hub's lock itself. */
void exchange_process(struct exchange *exchange);

/* Writes the record, with the messages if they may be accepted. */
void exchange_store(struct exchange *exchange);

/* Waits until every request that is being answered right now has ended, so that who has read an answer finds it
 * recorded. Under the lock, which it gives up while it waits; not longer than a reader may be slow. */
void exchange_settle(struct hub *hub);

/* The server lets go of it. reply_sent: every byte of an answer went to the socket. */
void exchange_end(struct exchange *exchange, bool reply_sent);
void exchange_free(struct exchange *exchange);
