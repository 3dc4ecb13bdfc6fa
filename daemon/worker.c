/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/worker.h"
#include "daemon/turns.h"
#include "common/clock.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib-unix.h>

#define TOLD_A_TURN 2 /* of what has finished, or one of each user; then the connections have their turn of the loop */
#define CHECK_INTERVAL_US (250 * 1000) /* how often deadlines are looked at while jobs are outstanding */

enum { WAITING = 1, RUNNING, FINISHED };

struct worker {
    GThread *thread;
    GMainContext *context;
    GSource *finished_source, *deadline_source;
    int finished_fd;
    bool deadline_armed;
    GQueue outstanding; /* main thread only, in order of submission */

    GMutex lock;
    GCond changed;
    struct turns waiting, finished; /* of jobs; the main thread can be slower than the TPM */
    int64_t running_since;          /* 0: idle */
    bool stopping, stopped;
    void (*idle)(void *data);
    void *idle_data;
    bool tidied; /* idle was called after the last job */
};

static void
wake_main(struct worker *worker)
{
    if (eventfd_write(worker->finished_fd, 1) != 0)
        g_error("eventfd: %s", g_strerror(errno));
}

static void
finish(struct worker *worker, struct worker_job *job)
{
    bool wake = turns_users(&worker->finished) == 0;
    job->state = FINISHED;
    turns_push(&worker->finished, job->uid, &job->turn);
    if (wake)
        wake_main(worker);
}

/* Runs job, or idle where there is none, without the lock. */
static void
run_unlocked(struct worker *worker, struct worker_job *job)
{
    worker->running_since = clock_monotonic_us();
    g_mutex_unlock(&worker->lock);
    if (job)
        job->run(job);
    else
        worker->idle(worker->idle_data);
    g_mutex_lock(&worker->lock);
    worker->running_since = 0;
    worker->tidied = !job;
}

static gpointer
work(gpointer data)
{
    struct worker *worker = data;
    g_mutex_lock(&worker->lock);
    while (!worker->stopping) {
        GList *node = turns_take(&worker->waiting);
        if (node) {
            struct worker_job *job = node->data;
            job->state = RUNNING;
            run_unlocked(worker, job);
            turns_end(&worker->waiting);
            finish(worker, job);
        } else if (worker->idle && !worker->tidied) {
            run_unlocked(worker, NULL);
        } else {
            g_cond_wait(&worker->changed, &worker->lock);
        }
    }
    if (worker->idle && !worker->tidied)
        run_unlocked(worker, NULL);
    worker->stopped = true;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
    return NULL;
}

static struct worker_job *
take_finished(struct worker *worker)
{
    g_mutex_lock(&worker->lock);
    GList *node = turns_take(&worker->finished);
    if (node)
        turns_end(&worker->finished);
    g_mutex_unlock(&worker->lock);
    return node ? node->data : NULL;
}

static void
tell_finished(struct worker *worker, unsigned most)
{
    for (struct worker_job *job; most > 0 && (job = take_finished(worker)); most--) {
        g_queue_unlink(&worker->outstanding, &job->outstanding);
        job->done(job);
    }
}

static unsigned
users_to_tell(struct worker *worker)
{
    g_mutex_lock(&worker->lock);
    unsigned users = turns_users(&worker->finished);
    g_mutex_unlock(&worker->lock);
    return users;
}

static gboolean
deliver_finished(gint fd, GIOCondition condition, gpointer data)
{
    struct worker *worker = data;
    eventfd_t count;
    (void)!eventfd_read(fd, &count);
    tell_finished(worker, MAX(users_to_tell(worker), TOLD_A_TURN));
    if (users_to_tell(worker) > 0)
        wake_main(worker);
    return G_SOURCE_CONTINUE;
}

static void
arm(struct worker *worker)
{
    if (worker->deadline_armed)
        return;
    worker->deadline_armed = true;
    g_source_set_ready_time(worker->deadline_source, g_get_monotonic_time() + CHECK_INTERVAL_US);
}

/* It is told soon, however late the main thread comes to that. */
static bool
has_finished(struct worker *worker, struct worker_job *job)
{
    g_mutex_lock(&worker->lock);
    bool finished = job->state == FINISHED;
    g_mutex_unlock(&worker->lock);
    return finished;
}

static gboolean
check_deadlines(gpointer data)
{
    struct worker *worker = data;
    int64_t now = clock_monotonic_us();
    worker->deadline_armed = false;
    g_source_set_ready_time(worker->deadline_source, -1);
    for (GList *node = worker->outstanding.head, *next; node; node = next) {
        struct worker_job *job = node->data;
        next = node->next;
        if (job->deadline_us > now || has_finished(worker, job))
            continue;
        job->deadline_us = G_MAXINT64;
        job->expire(job);
    }
    if (!g_queue_is_empty(&worker->outstanding))
        arm(worker);
    return G_SOURCE_CONTINUE;
}

static gboolean
dispatch_source(GSource *source, GSourceFunc callback, gpointer data)
{
    return callback(data);
}

static GSourceFuncs timer_funcs = { .dispatch = dispatch_source };

struct worker *
worker_new(GMainContext *context)
{
    struct worker *worker = g_new0(struct worker, 1);
    worker->context = context;
    turns_init(&worker->waiting);
    turns_init(&worker->finished);
    g_mutex_init(&worker->lock);
    g_cond_init(&worker->changed);
    worker->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->finished_fd < 0)
        g_error("eventfd: %s", g_strerror(errno));
    worker->finished_source = g_unix_fd_source_new(worker->finished_fd, G_IO_IN);
    g_source_set_can_recurse(worker->finished_source, TRUE); /* as dbus/loop.c does */
    g_source_set_callback(worker->finished_source, G_SOURCE_FUNC(deliver_finished), worker, NULL);
    g_source_attach(worker->finished_source, context);
    worker->deadline_source = g_source_new(&timer_funcs, sizeof(GSource));
    g_source_set_callback(worker->deadline_source, check_deadlines, worker, NULL);
    g_source_attach(worker->deadline_source, context);

    /* Signals are the main thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->thread = g_thread_new("tpm", work, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return worker;
}

void
worker_on_idle(struct worker *worker, void (*idle)(void *data), void *data)
{
    g_mutex_lock(&worker->lock);
    worker->idle = idle;
    worker->idle_data = data;
    worker->tidied = true;
    g_mutex_unlock(&worker->lock);
}

void
worker_submit(struct worker *worker, uid_t uid, struct worker_job *job)
{
    job->uid = uid;
    job->state = WAITING;
    job->deadline_us = clock_monotonic_us() + job->limit_us;
    job->turn = job->outstanding = (GList){ .data = job };
    g_queue_push_tail_link(&worker->outstanding, &job->outstanding);
    arm(worker);
    g_mutex_lock(&worker->lock);
    turns_push(&worker->waiting, uid, &job->turn);
    g_cond_signal(&worker->changed);
    g_mutex_unlock(&worker->lock);
}

void
worker_extend(struct worker *worker, struct worker_job *job, int64_t limit_us)
{
    job->deadline_us = clock_monotonic_us() + limit_us;
    arm(worker);
}

bool
worker_withdraw(struct worker *worker, struct worker_job *job)
{
    g_mutex_lock(&worker->lock);
    bool waiting = job->state == WAITING;
    if (waiting)
        turns_remove(&worker->waiting, job->uid, &job->turn);
    g_mutex_unlock(&worker->lock);
    if (waiting)
        g_queue_unlink(&worker->outstanding, &job->outstanding);
    return waiting;
}

/* A user's n-th job runs in the n-th round from now, so the place in its user's queue tells how soon that is. */
void
worker_join(struct worker *worker, uid_t uid, struct worker_job *job)
{
    g_mutex_lock(&worker->lock);
    if (job->state == WAITING && job->uid != uid &&
        turns_place(&worker->waiting, job->uid, &job->turn) > turns_places(&worker->waiting, uid)) {
        turns_remove(&worker->waiting, job->uid, &job->turn);
        job->uid = uid;
        turns_push(&worker->waiting, uid, &job->turn);
    }
    g_mutex_unlock(&worker->lock);
}

int64_t
worker_busy_us(struct worker *worker)
{
    g_mutex_lock(&worker->lock);
    int64_t since = worker->running_since;
    g_mutex_unlock(&worker->lock);
    return since ? clock_monotonic_us() - since : 0;
}

unsigned
worker_depth(struct worker *worker)
{
    return g_queue_get_length(&worker->outstanding);
}

bool
worker_stop(struct worker *worker, int64_t limit_us)
{
    int64_t end = g_get_monotonic_time() + limit_us;
    g_mutex_lock(&worker->lock);
    worker->stopping = true;
    g_cond_broadcast(&worker->changed);
    while (!worker->stopped && g_cond_wait_until(&worker->changed, &worker->lock, end))
        ;
    bool stopped = worker->stopped;
    g_mutex_unlock(&worker->lock);
    if (!stopped)
        return false;
    g_thread_join(worker->thread);
    tell_finished(worker, G_MAXUINT);
    for (GList *node; (node = g_queue_pop_head_link(&worker->outstanding));) {
        struct worker_job *job = node->data;
        if (job->drop)
            job->drop(job);
    }
    g_source_destroy(worker->finished_source);
    g_source_unref(worker->finished_source);
    g_source_destroy(worker->deadline_source);
    g_source_unref(worker->deadline_source);
    close(worker->finished_fd);
    turns_clear(&worker->waiting);
    turns_clear(&worker->finished);
    g_mutex_clear(&worker->lock);
    g_cond_clear(&worker->changed);
    g_free(worker);
    return true;
}
