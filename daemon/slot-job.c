/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A job on its way: waiting, given up, answered, taken over.
 */
#include <config.h>

#include "daemon/slot-job.h"
#include "common/error.h"

#define CHANGE_LIMIT_US (120 * G_USEC_PER_SEC) /* a chip may take a minute to make an RSA SRK */

void
slot_job_free(struct slot_job *job)
{
    for (unsigned i = 0; i < job->n_findings; i++)
        slot_finding_clear(&job->findings[i]);
    g_free(job->findings);
    g_free(job->numbers);
    g_free(job->medium.srk_name);
    identity_free(job->identity);
    identity_free(job->expected.identity);
    g_free(job->expected.tpm_name);
    secret_free(job->key);
    g_clear_error(&job->error);
    g_clear_error(&job->unseen);
    g_free(job);
}

void
slot_job_answer(struct slot_job *job, const GError *error)
{
    slots_done_fn done = g_steal_pointer(&job->done);
    if (done)
        done(error, job->user);
}

void
slots_note_trouble(struct slots *slots, const GError *error)
{
    if (!g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_ABSENT) &&
        !g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_FAILED))
        return;
    if (worker_busy_us(slots->worker) >= SLOT_JOB_LOOK_LIMIT_US)
        slots_set_tpm_state(slots, SLOT_TPM_FAILED, error->message); /* nothing else tells before it is back */
    /* Whether the whole TPM is out of order or just this command was refused, a fresh look tells. */
    slots_attach(slots);
}

/* hubkeyd stops before the job's turn has come. */
static void
drop(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    g_autoptr(GError) error = NULL;
    error_set(&error, ERROR_BUSY, "hubkeyd is shutting down and has not touched slot %u; retry in 1000 ms",
              job->number);
    slot_job_answer(job, error);
    slot_job_free(job);
}

/* Behind a command that does not come back nobody waits for long; what has begun is given its time. */
static void
give_up_waiting(struct slot_job *job)
{
    g_autoptr(GError) error = NULL;
    if (!worker_withdraw(job->slots->worker, &job->job)) {
        worker_extend(job->slots->worker, &job->job, CHANGE_LIMIT_US);
        return;
    }
    error_set(&error, ERROR_BUSY,
              "the TPM is busy with something that takes long, and slot %u was not touched; retry in 5000 ms",
              job->number);
    slot_job_answer(job, error);
    slot_job_free(job);
}

static void
expired(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    g_autoptr(GError) error = NULL;
    if (!job->extended) {
        job->extended = true;
        give_up_waiting(job);
        return;
    }
    error_set(&error, ERROR_TPM_FAILED, "the TPM has not answered for %d s; whether slot %u was changed is known when "
              "it answers again", (int)(CHANGE_LIMIT_US / G_USEC_PER_SEC), job->number);
    slot_job_answer(job, error);
    slots_set_tpm_state(job->slots, SLOT_TPM_FAILED, error->message);
}

void
slot_job_take_findings(struct slot_job *job)
{
    struct slots *slots = job->slots;
    for (unsigned i = 0; i < job->n_findings; i++)
        slots_apply(slots, job->numbers[i], &job->findings[i]);
}

struct slot_job *
slot_job_new(struct slots *slots, unsigned n_numbers)
{
    struct slot_job *job = g_new0(struct slot_job, 1);
    job->slots = slots;
    job->n_numbers = n_numbers;
    job->numbers = g_new0(uint32_t, n_numbers);
    job->findings = g_new0(struct slot_finding, n_numbers);
    job->job.expire = expired;
    job->job.drop = drop;
    return job;
}
