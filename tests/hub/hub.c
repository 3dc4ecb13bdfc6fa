/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The timer sleeps on wake_fd among others.
 */
#include <config.h>

#include "tests/hub/hub.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

void
hub_wake(const struct hub *hub)
{
    const uint64_t one = 1;

    if (write(hub->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        g_printerr("hubkey-testhub: cannot wake the timer: %s\n", g_strerror(errno));
}
