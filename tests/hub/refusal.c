/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The listener closes and every connection is reset before the admin port has answered.
 */
#include <config.h>

#include "tests/hub/refusal.h"
#include "tests/hub/connection.h"
#include "tests/hub/fault.h"
#include "tests/hub/hub.h"
#include "tests/hub/listener.h"
#include "tests/hub/wire.h"

#include <errno.h>

static void
reset_all(struct hub *hub)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, hub->connections);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        wire_reset(((const struct connection *)key)->fd);
}

void
refusal_apply(struct hub *hub, int64_t now_us)
{
    bool refuse;

    fault_expire(hub->faults, now_us);
    refuse = fault_refuses_connections(hub->faults);
    if (refuse == hub->refusing)
        return;
    if (refuse) {
        listener_refuse(hub->listen_fd);
        reset_all(hub);
    } else if (!listener_resume(hub->listen_fd)) {
        g_printerr("hubkey-testhub: cannot listen again: %s\n", g_strerror(errno));
        return;
    }
    hub->refusing = refuse;
}
