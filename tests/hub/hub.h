/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the hub's two faces and its timer share. Everything here is read and changed under the lock.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

struct hub {
    GMutex lock;
    GCond ended; /* an exchange has ended */
    const char *host;
    unsigned port; /* of the TLS side */
    GHashTable *devices;
    GPtrArray *faults;
    struct ledger *ledger;
    GHashTable *connections; /* set of struct connection: the TLS side's */
    GHashTable *exchanges;   /* set of struct exchange: requests that have begun and not ended */
    GQueue waiting;          /* of struct exchange: suspended, or to be accepted later */
    int listen_fd;           /* of the TLS side */
    bool refusing;           /* refuse-connect is in force */
    int wake_fd;             /* an eventfd: something here changed that the timer must look at */
};

void hub_wake(const struct hub *hub);
