/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#define MEMORY_S 3.0           /* older figures hardly count for the rate */
#define ETA_MAX_S (99 * 3600.) /* beyond, it is no forecast */
#define RATE_MIN 0.01          /* below, nothing moves */

struct progress {
    int64_t shown_us; /* 0: not yet */
    uint64_t sent;
    double rate;
    bool visible;
};

struct progress *
progress_new(void)
{
    const char *term = g_getenv("TERM");
    if (!isatty(STDERR_FILENO) || !term || strcmp(term, "dumb") == 0)
        return NULL;
    return g_new0(struct progress, 1);
}

void
progress_free(struct progress *progress)
{
    progress_clear(progress);
    g_free(progress);
}

double
progress_rate(double rate, uint64_t more, int64_t elapsed_us)
{
    double seconds = (double)MAX(elapsed_us, 1) / G_USEC_PER_SEC;
    double weight = seconds / (seconds + MEMORY_S);
    return rate + weight * ((double)more / seconds - rate);
}

static char *
eta_text(uint64_t left, double rate)
{
    double seconds = rate < RATE_MIN ? ETA_MAX_S : (double)left / rate;
    if (seconds >= ETA_MAX_S)
        return g_strdup("--:--");
    unsigned whole = (unsigned)(seconds + 0.999);
    return whole < 3600 ? g_strdup_printf("%02u:%02u", whole / 60, whole % 60)
                        : g_strdup_printf("%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
}

char *
progress_text(uint64_t accepted, uint64_t sent, double rate, bool draining)
{
    g_autofree char *eta = draining ? eta_text(accepted - sent, rate) : NULL;
    return g_strdup_printf("%" PRIu64 " accepted, %" PRIu64 " sent, %.*f/s%s%s", accepted, sent,
                           rate < 9.95 && rate >= 0.05, rate, eta ? ", ETA " : "", eta ? eta : "");
}

bool
progress_is_due(const struct progress *progress, int64_t now_us)
{
    return progress && now_us - progress->shown_us >= PROGRESS_MS * 1000;
}

void
progress_show(struct progress *progress, uint64_t accepted, uint64_t sent, bool draining, int64_t now_us)
{
    if (!progress)
        return;
    if (progress->shown_us != 0)
        progress->rate = progress_rate(progress->rate, sent > progress->sent ? sent - progress->sent : 0,
                                       now_us - progress->shown_us);
    progress->shown_us = now_us;
    progress->sent = sent;
    g_autofree char *text = progress_text(accepted, sent, progress->rate, draining);
    fprintf(stderr, "\r%s\033[K", text);
    fflush(stderr);
    progress->visible = true;
}

void
progress_clear(struct progress *progress)
{
    if (!progress || !progress->visible)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->visible = false;
}
