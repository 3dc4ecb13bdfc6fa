/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/guard.h"

#include <time.h>

#define PATIENCE_S 2 /* a fork is not held up longer, whatever hangs; its child then takes its chance */

static struct guard *all;
static pthread_mutex_t all_mutex = PTHREAD_MUTEX_INITIALIZER;

static void
before_fork(void)
{
    struct timespec until;
    pthread_mutex_lock(&all_mutex);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    for (struct guard *guard = all; guard; guard = guard->next)
        guard->taken = pthread_mutex_clocklock(&guard->mutex, CLOCK_MONOTONIC, &until) == 0;
}

static void
after_fork(void)
{
    for (struct guard *guard = all; guard; guard = guard->next)
        if (guard->taken)
            pthread_mutex_unlock(&guard->mutex);
    pthread_mutex_unlock(&all_mutex);
}

static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

void
guard_init(struct guard *guard)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_init(&guard->mutex, NULL);
    pthread_mutex_lock(&all_mutex);
    guard->next = all;
    all = guard;
    pthread_mutex_unlock(&all_mutex);
}

void
guard_clear(struct guard *guard)
{
    pthread_mutex_lock(&all_mutex);
    struct guard **at = &all;
    while (*at != guard)
        at = &(*at)->next;
    *at = guard->next;
    pthread_mutex_unlock(&all_mutex);
    pthread_mutex_destroy(&guard->mutex);
}

void
guard_lock(struct guard *guard)
{
    pthread_mutex_lock(&guard->mutex);
}

void
guard_unlock(struct guard *guard)
{
    pthread_mutex_unlock(&guard->mutex);
}
