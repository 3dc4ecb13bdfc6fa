/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A connection that arrives while the hub refuses, past the listener already, is reset at once.
 */
#include <config.h>

#include "tests/hub/connection.h"
#include "tests/hub/hub.h"
#include "tests/hub/ledger.h"
#include "tests/hub/wire.h"

struct connection *
connection_new(struct hub *hub, int fd)
{
    struct connection *connection = g_new0(struct connection, 1);

    *connection = (struct connection){ .hub = hub, .number = ledger_connection(hub->ledger), .fd = fd };
    g_hash_table_add(hub->connections, connection);
    if (hub->refusing)
        wire_reset(fd);
    return connection;
}

void
connection_free(struct connection *connection)
{
    g_hash_table_remove(connection->hub->connections, connection);
    g_free(connection);
}

void
connection_carries(struct connection *connection)
{
    if (connection->answered)
        ledger_confirm(connection->hub->ledger, connection->answered);
    connection->answered = 0;
}
