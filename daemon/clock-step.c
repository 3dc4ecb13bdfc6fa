/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/clock-step.h"
#include "common/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <glib-unix.h>

#define NEVER_S ((time_t)G_MAXLONG) /* the timer is to tell of the clock, not to expire */

struct clock_step {
    int fd;
    GSource *source;
    int64_t offset_us; /* of the wall clock from the one that nobody sets */
    GHashTable *alive; /* slot -> when its last token expires, seconds of the clock that nobody sets */
    clock_stepped_fn stepped;
    void *user;
};

static int64_t
offset_now(void)
{
    return clock_wall_us() - clock_boot_us();
}

static void
tell(struct clock_step *step)
{
    GHashTableIter iter;
    gpointer slot, until_s;
    unsigned told = 0;
    g_hash_table_iter_init(&iter, step->alive);
    while (g_hash_table_iter_next(&iter, &slot, &until_s)) {
        if ((int64_t)GPOINTER_TO_SIZE(until_s) * G_USEC_PER_SEC <= clock_boot_us()) {
            g_hash_table_iter_remove(&iter);
            continue;
        }
        told++;
        step->stepped(GPOINTER_TO_UINT(slot), step->user);
    }
    if (told > 0)
        g_message("tokens that %u slot%s gave out before the clock was set are not to be used any more", told,
                  told == 1 ? "" : "s");
}

/* The kernel also says so after a suspend, and when the clock is set to what it shows anyway; so the clocks decide. */
static gboolean
look(gint fd, GIOCondition condition, gpointer data)
{
    struct clock_step *step = data;
    uint64_t ticks;
    (void)!read(fd, &ticks, sizeof ticks); /* ECANCELED: set; the timer goes on being watched */
    int64_t offset_us = offset_now(), moved_us = offset_us - step->offset_us;
    if (llabs(moved_us) < CLOCK_STEP_MIN_MS * 1000)
        return G_SOURCE_CONTINUE;
    step->offset_us = offset_us;
    g_message("the clock was set %s by %" G_GINT64_FORMAT " s", moved_us > 0 ? "forward" : "back",
              (gint64)(llabs(moved_us) / G_USEC_PER_SEC));
    tell(step);
    return G_SOURCE_CONTINUE;
}

struct clock_step *
clock_step_watch(int fd, clock_stepped_fn stepped, void *user)
{
    struct clock_step *step = g_new0(struct clock_step, 1);
    step->fd = fd;
    step->offset_us = offset_now();
    step->alive = g_hash_table_new(NULL, NULL);
    step->stepped = stepped;
    step->user = user;
    if (fd < 0)
        return step;
    step->source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(step->source, G_SOURCE_FUNC(look), step, NULL);
    g_source_attach(step->source, g_main_context_get_thread_default());
    return step;
}

struct clock_step *
clock_step_new(clock_stepped_fn stepped, void *user)
{
    const struct itimerspec never = { .it_value = { .tv_sec = NEVER_S } };
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) != 0) {
        g_warning("whether the clock is set cannot be watched: %s", g_strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    return clock_step_watch(fd, stepped, user);
}

void
clock_step_free(struct clock_step *step)
{
    if (!step)
        return;
    if (step->source) {
        g_source_destroy(step->source);
        g_source_unref(step->source);
        close(step->fd);
    }
    g_hash_table_destroy(step->alive);
    g_free(step);
}

/* The latest of a slot counts; in seconds since boot, whatever happens to the wall clock meanwhile. */
void
clock_step_note(struct clock_step *step, uint32_t slot, uint64_t expires)
{
    int64_t until_s = (int64_t)expires - clock_wall_s() + clock_boot_us() / G_USEC_PER_SEC;
    gpointer key = GUINT_TO_POINTER(slot);
    if (until_s > (int64_t)GPOINTER_TO_SIZE(g_hash_table_lookup(step->alive, key)))
        g_hash_table_insert(step->alive, key, GSIZE_TO_POINTER((gsize)until_s));
}
