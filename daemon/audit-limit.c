/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/audit-limit.h"
#include "common/clock.h"

#include <glib.h>

#define MINUTE_US ((int64_t)60 * G_USEC_PER_SEC)

/* One user's minute. It begins with a refusal, and is forgotten when it is over. */
struct minute {
    int64_t since_us;
    unsigned written, more;
};

static GHashTable *minutes; /* uid -> struct minute */
static guint timer;
static audit_limit_more_fn tell;
static void *tell_user;

static gboolean
end_minute(gpointer uid, gpointer value, gpointer all)
{
    const struct minute *minute = value;
    if (!all && clock_boot_us() - minute->since_us < MINUTE_US)
        return FALSE;
    if (minute->more > 0)
        tell((uid_t)GPOINTER_TO_UINT(uid), minute->more, tell_user);
    return TRUE;
}

static gboolean
look(gpointer unused)
{
    g_hash_table_foreach_remove(minutes, end_minute, NULL);
    bool goes_on = g_hash_table_size(minutes) > 0;
    if (!goes_on)
        timer = 0;
    return goes_on ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static struct minute *
minute_of(uid_t uid)
{
    gpointer key = GUINT_TO_POINTER(uid);
    struct minute *minute = g_hash_table_lookup(minutes, key);
    if (minute && !end_minute(key, minute, NULL))
        return minute;
    if (!minute && g_hash_table_size(minutes) >= AUDIT_USERS_MAX && uid != (uid_t)-1)
        return minute_of((uid_t)-1);
    minute = g_new0(struct minute, 1);
    minute->since_us = clock_boot_us();
    g_hash_table_insert(minutes, key, minute);
    return minute;
}

bool
audit_limit_pass(uid_t uid, audit_limit_more_fn more, void *user)
{
    if (!minutes)
        minutes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    tell = more;
    tell_user = user;
    struct minute *minute = minute_of(uid);
    if (timer == 0)
        timer = g_timeout_add_seconds(60, look, NULL);
    if (minute->written < AUDIT_REFUSALS_PER_MINUTE) {
        minute->written++;
        return true;
    }
    minute->more++;
    return false;
}

void
audit_limit_flush(audit_limit_more_fn more, void *user)
{
    tell = more;
    tell_user = user;
    if (minutes)
        g_hash_table_foreach_remove(minutes, end_minute, GINT_TO_POINTER(TRUE));
    g_clear_pointer(&minutes, g_hash_table_destroy);
    if (timer != 0)
        g_source_remove(timer);
    timer = 0;
}
