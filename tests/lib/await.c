/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/await.h"

#include <glib.h>

#define PATIENCE_MS 20000
#define TURNS_MAX 10000

static gboolean
set_flag(gpointer flag)
{
    *(bool *)flag = true;
    return G_SOURCE_REMOVE;
}

bool
await(bool (*done)(void *user), void *user)
{
    bool late = false;
    guint timer = g_timeout_add(PATIENCE_MS, set_flag, &late);
    while (!done(user) && !late)
        g_main_context_iteration(NULL, TRUE);
    if (!late)
        g_source_remove(timer);
    return !late;
}

struct count {
    const int *is;
    int wanted;
};

static bool
is_reached(void *user)
{
    const struct count *count = user;
    return *count->is >= count->wanted;
}

bool
await_count(const int *is, int wanted)
{
    struct count count = { is, wanted };
    return await(is_reached, &count);
}

void
await_idle(void)
{
    for (int turn = 0; turn < TURNS_MAX && g_main_context_iteration(NULL, FALSE); turn++)
        ;
}
