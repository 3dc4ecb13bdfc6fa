/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shared by client.c, which serves a client's calls, and client-open.c, which puts one together and takes it apart.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#include "client/bus.h"
#include "client/commit.h"
#include "client/events.h"
#include "client/guard.h"
#include "client/http.h"
#include "client/hubkey.h"
#include "client/lock.h"
#include "client/pump.h"
#include "client/queue.h"
#include "client/state-file.h"
#include "common/clock.h"

struct hubkey_client {
    pid_t pid;
    char *path;
    char *found; /* what was wrong with the file when it was opened, until somebody can be told; NULL: nothing */
    uint64_t max_age_s; /* of messages without a ttl_s; 0: none */
    struct lock *lock;
    struct guard gate, reading, sending; /* of writes; of the reader; of the thread, unless it sleeps */
    struct queue *writer, *sender, *reader;
    struct commit *commit;
    struct events *events;

    /* NULL with HUBKEY_FLAG_QUEUE_ONLY; the thread's own, but for http_wake, pump_hurry and pump_get_status */
    struct http *http;
    struct bus *bus;
    struct pump *pump;
    struct state_file *state_file;
    pthread_t thread;
    bool has_thread;
    int stopping; /* atomic */
    int hungry;   /* atomic: a post should wake the thread */

    int closing; /* atomic */
    GMutex dispatch_mutex;
    GMutex mutex; /* of what follows */
    GCond progress;
    uint64_t turn; /* grows with every progress */
    bool dispatching;
    pthread_t dispatcher;
};

void client_tell_damage(struct hubkey_client *client, const char *text);
int client_drain(struct hubkey_client *client, int32_t timeout_ms, struct hubkey_error *error);
void *client_thread(void *client);

/* Ends the thread; posts are refused from then on. */
void client_stop(struct hubkey_client *client);
void client_free(struct hubkey_client *client);
