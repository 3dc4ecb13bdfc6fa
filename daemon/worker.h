/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The one thread that may wait for the TPM. Jobs go in from the main thread and what is finished comes back to it,
 * both in fair turns of the users (daemon/turns.h). The main thread keeps the deadlines, because a TPM can block for
 * ever whatever timeout it was given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

/* Embed as the first member. Whoever submits it frees it in done, in drop, or after worker_withdraw. */
struct worker_job {
    void (*run)(struct worker_job *job);    /* worker thread */
    void (*done)(struct worker_job *job);   /* main thread, after run; always, unless withdrawn or dropped */
    void (*drop)(struct worker_job *job);   /* main thread, from worker_stop, in place of run and done; may be NULL */
    void (*expire)(struct worker_job *job); /* main thread, once, when the deadline has passed; done still follows */
    int64_t limit_us;                       /* from submission to expiry */

    /* private */
    uid_t uid;
    int64_t deadline_us;
    int state;
    GList turn, outstanding; /* nodes, so that queueing allocates nothing */
};

struct worker;

struct worker *worker_new(GMainContext *context);

/* idle is called on the worker thread whenever no job waits after one has run, and at the end. */
void worker_on_idle(struct worker *worker, void (*idle)(void *data), void *data);

/* uid is whose turn the job takes. */
void worker_submit(struct worker *worker, uid_t uid, struct worker_job *job);

/* From expire: the job is given limit_us from now on, after which expire is called again. */
void worker_extend(struct worker *worker, struct worker_job *job, int64_t limit_us);

/* True where the job had not begun: it is out, done will not be called. */
bool worker_withdraw(struct worker *worker, struct worker_job *job);

/* uid waits for the job as well: it takes that user's turn where it comes round earlier. */
void worker_join(struct worker *worker, uid_t uid, struct worker_job *job);

/* For how long the job that runs now has been running, 0 where none does. Microseconds. */
int64_t worker_busy_us(struct worker *worker);

unsigned worker_depth(struct worker *worker); /* jobs submitted and not done */

/* Lets the running job end, joins the thread, calls done of what has run and drop of what has not, and frees. False
 * where the job does not end within limit_us: the thread is then still inside the TPM and nothing of it may be freed.
 */
bool worker_stop(struct worker *worker, int64_t limit_us);
