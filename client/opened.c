/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/opened.h"
#include "client/damaged.h"
#include "client/failure.h"
#include "client/place.h"

#include <unistd.h>

static struct queue *
open_reader(struct opened *opened, GError **error)
{
    lock_setup_watch(opened->lock);
    struct queue *queue = queue_open_reader(opened->path, error);
    lock_setup_end(opened->lock);
    return queue;
}

/* All of a damaged file first: what is done to the messages is done to all of them. */
static bool
salvage(struct opened *opened, struct queue *queue, GError **error)
{
    int more = 1;
    while (more > 0) {
        struct queue_salvaged told = { .runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run)) };
        more = queue_salvage(queue, &told, error);
        g_clear_pointer(&told.runs, g_array_unref);
        if (more >= 0 && told.ended)
            opened->salvaged = told;
    }
    return more == 0;
}

static struct queue *
open_holder(struct opened *opened, GError **error)
{
    if (!lock_take(opened->lock, error))
        return NULL;
    struct queue *queue = queue_open(opened->path, opened->lock, NULL, error);
    if (queue && !salvage(opened, queue, error))
        g_clear_pointer(&queue, queue_close);
    return queue;
}

/* Who sets a damaged file aside can be killed before there is a fresh one. */
static char *
prepare(const char *path, unsigned how, GError **error)
{
    bool between = access(path, F_OK) != 0 && damaged_pending(path, 0) != 0;
    if (!between || (how & OPENED_HOLD))
        return place_prepare(path, between || (how & OPENED_MAKE), error);
    failure_set(
        error, HUBKEY_E_QUEUE_DAMAGED,
        "%s was damaged and is being set aside; whoever opens it to post or to send makes a fresh one and saves "
        "what can be read, as hubkeyctl queue flush SLOT --queue %s does",
        path, path);
    return NULL;
}

bool
opened_open(struct opened *opened, const char *path, unsigned how, GError **error)
{
    bool hold = how & OPENED_HOLD;
    *opened = (struct opened){ 0 };
    if (!path) {
        failure_set(error, HUBKEY_E_INVALID, "path is NULL");
        return false;
    }
    opened->path = prepare(path, how, error);
    opened->lock = opened->path ? lock_open(opened->path, hold, error) : NULL;
    if (opened->lock)
        opened->queue = (hold ? open_holder : open_reader)(opened, error);
    return opened->queue;
}

void
opened_close(struct opened *opened)
{
    queue_close(opened->queue);
    lock_close(opened->lock);
    g_free(opened->path);
}
