/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/boot-id.h"

#include <pthread.h>
#include <stddef.h>

#include <glib.h>

static const char *set_id;
static char *real_id;

/* Where /proc is not, every boot looks the same, as it would to a clock that only ever goes on. */
static void
read_id(void)
{
    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &real_id, NULL, NULL))
        g_strstrip(real_id);
    else
        real_id = g_strdup("unknown");
}

const char *
boot_id(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_id);
    return set_id ? set_id : real_id;
}

void
boot_id_set(const char *id)
{
    set_id = id;
}
