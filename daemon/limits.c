/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/limits.h"
#include "common/error.h"

struct limits {
    GHashTable *waiting; /* uid -> count, only those above 0 */
    unsigned total;
};

struct limits *
limits_new(void)
{
    struct limits *limits = g_new0(struct limits, 1);
    limits->waiting = g_hash_table_new(NULL, NULL);
    return limits;
}

void
limits_free(struct limits *limits)
{
    if (!limits)
        return;
    g_hash_table_destroy(limits->waiting);
    g_free(limits);
}

bool
limits_enter(struct limits *limits, uid_t uid, GError **error)
{
    gpointer key = GUINT_TO_POINTER(uid);
    unsigned waiting = GPOINTER_TO_UINT(g_hash_table_lookup(limits->waiting, key));
    bool own = waiting >= LIMITS_WAITING_PER_UID;
    if (own || limits->total >= LIMITS_WAITING_TOTAL) {
        error_set(error, ERROR_BUSY, "%u requests of %s wait already, which is the limit; retry in %d ms",
                  own ? waiting : limits->total, own ? "your user" : "all users", LIMITS_RETRY_MS);
        return false;
    }
    g_hash_table_insert(limits->waiting, key, GUINT_TO_POINTER(waiting + 1));
    limits->total++;
    return true;
}

void
limits_leave(struct limits *limits, uid_t uid)
{
    gpointer key = GUINT_TO_POINTER(uid);
    unsigned waiting = GPOINTER_TO_UINT(g_hash_table_lookup(limits->waiting, key));
    g_return_if_fail(waiting > 0);
    if (waiting == 1)
        g_hash_table_remove(limits->waiting, key);
    else
        g_hash_table_insert(limits->waiting, key, GUINT_TO_POINTER(waiting - 1));
    limits->total--;
}
