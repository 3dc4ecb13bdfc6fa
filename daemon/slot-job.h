/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The jobs that the slot table gives to the worker: what slot-attach.c and slot-change.c share.
 */
#pragma once

#include "daemon/slot-table.h"
#include "daemon/worker.h"

#define SLOT_JOB_LOOK_LIMIT_US (5 * G_USEC_PER_SEC)

/* One kind of job for all: what it found is taken over on the main thread. */
struct slot_job {
    struct worker_job job;
    struct slots *slots;
    uint32_t number;
    uint64_t generation;       /* rotate, undo: of the slot as the caller saw it */
    struct identity *identity; /* provision, rotate */
    struct secret *key;
    bool file; /* provision */
    bool extended; /* its first deadline, for waiting, has passed while it was running */
    struct slot_expected expected; /* adopt */
    slots_done_fn done;
    void *user;
    struct slot_medium medium; /* attach */
    bool afresh, was_cleared;
    uint32_t *numbers; /* whose findings these are, or will be */
    struct slot_finding *findings;
    unsigned n_numbers, n_all, n_findings; /* n_all: where the TPM turns out to be another one */
    GError *error, *unseen; /* of the job itself, and of the look afterwards */
};

/* With room for the findings of n_numbers slots. Where it expires or is dropped it is answered as a change is;
 * job.expire and job.drop can be set to something else. */
struct slot_job *slot_job_new(struct slots *slots, unsigned n_numbers);
void slot_job_free(struct slot_job *job);

void slot_job_answer(struct slot_job *job, const GError *error); /* calls done, once */
void slot_job_take_findings(struct slot_job *job);
