/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Changing one slot, and looking at it again.
 */
#include <config.h>

#include "daemon/slot-job.h"
#include "common/error.h"

/* After a change, well or not, the slot is looked at again: what is there counts, not what was meant. Where the TPM
 * goes away in just that moment, a change that went through is what disk tells of it until the TPM is back. */
static void
survey_after(struct slot_job *job, bool changed)
{
    struct slots *slots = job->slots;
    bool seen = slots->ops->survey(slots->storage, job->number, &job->findings[0], &job->unseen);
    if (!seen)
        slot_finding_clear(&job->findings[0]);
    if (!seen && changed)
        slots->ops->load(slots->storage, job->number, &job->findings[0]);
    if (seen || changed)
        job->n_findings = 1;
}

static void
run_provision(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    bool changed = slots->ops->provision(slots->storage, job->number, job->file, job->identity, job->key, &job->error);
    g_clear_pointer(&job->key, secret_free);
    survey_after(job, changed);
}

static void
run_rotate(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    bool changed = slots->ops->rotate(slots->storage, job->number, job->generation, job->identity, job->key,
                                      &job->error);
    g_clear_pointer(&job->key, secret_free);
    survey_after(job, changed);
}

static void
run_undo(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    survey_after(job, slots->ops->undo(slots->storage, job->number, job->generation, &job->error));
}

static void
run_adopt(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    survey_after(job, slots->ops->adopt(slots->storage, job->number, &job->expected, &job->error));
}

static void
run_clear(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    survey_after(job, slots->ops->clear(slots->storage, job->number, &job->error));
}

static void
run_recheck(struct worker_job *base)
{
    survey_after((struct slot_job *)base, false);
}

/* A change may have made the SRK, or forgotten it: attaching again finds out. */
static void
done_change(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    if (job->job.run == run_recheck)
        g_hash_table_remove(slots->rechecking, GUINT_TO_POINTER(job->number));
    slot_job_take_findings(job);
    if (job->error)
        slots_note_trouble(slots, job->error);
    if (job->unseen)
        slots_note_trouble(slots, job->unseen);
    slot_job_answer(job, job->error);
    if (!slots->srk_name || slots->tpm_state != SLOT_TPM_READY || slots_any_pending(slots))
        slots_attach(slots);
    slot_job_free(job);
}

static void
submit_change(struct slots *slots, struct slot_job *job, uint32_t number, void (*run)(struct worker_job *))
{
    job->number = job->numbers[0] = number;
    job->job.run = run;
    job->job.done = done_change;
    job->job.limit_us = SLOT_JOB_LOOK_LIMIT_US;
    worker_submit(slots->worker, SLOT_ROOT_UID, &job->job);
}

static struct slot_job *
new_change(struct slots *slots, slots_done_fn done, void *user)
{
    struct slot_job *job = slot_job_new(slots, 1);
    job->done = done;
    job->user = user;
    return job;
}

void
slots_provision(struct slots *slots, uint32_t number, bool file, struct identity *identity, struct secret *key,
                slots_done_fn done, void *user)
{
    struct slot_job *job = new_change(slots, done, user);
    job->file = file;
    job->identity = identity;
    job->key = key;
    submit_change(slots, job, number, run_provision);
}

void
slots_rotate(struct slots *slots, uint32_t number, uint64_t generation, struct identity *identity, struct secret *key,
             slots_done_fn done, void *user)
{
    struct slot_job *job = new_change(slots, done, user);
    job->generation = generation;
    job->identity = identity;
    job->key = key;
    submit_change(slots, job, number, run_rotate);
}

void
slots_undo(struct slots *slots, uint32_t number, uint64_t generation, slots_done_fn done, void *user)
{
    struct slot_job *job = new_change(slots, done, user);
    job->generation = generation;
    submit_change(slots, job, number, run_undo);
}

void
slots_adopt(struct slots *slots, uint32_t number, struct slot_expected expected, slots_done_fn done, void *user)
{
    struct slot_job *job = new_change(slots, done, user);
    job->expected = expected;
    submit_change(slots, job, number, run_adopt);
}

void
slots_clear(struct slots *slots, uint32_t number, slots_done_fn done, void *user)
{
    submit_change(slots, new_change(slots, done, user), number, run_clear);
}

static void
expired_look(struct worker_job *base)
{
    slots_set_tpm_state(((struct slot_job *)base)->slots, SLOT_TPM_FAILED, "it does not answer");
}

/* Callers can ask for this as often as they like, so one look that is under way serves all of them. */
void
slots_recheck(struct slots *slots, uint32_t number)
{
    if (!g_hash_table_add(slots->rechecking, GUINT_TO_POINTER(number)))
        return;
    struct slot_job *job = slot_job_new(slots, 1);
    job->job.expire = expired_look;
    submit_change(slots, job, number, run_recheck);
}

/* A look costs several TPM commands, and the next signature more than one. */
void
slots_doubt(struct slots *slots, uint32_t number)
{
    struct slot *slot = slots_find(slots, number);
    if (slot && seldom_due(&slot->doubted, SLOT_DOUBT_GAP_S * G_USEC_PER_SEC, NULL))
        slots_recheck(slots, number);
}

void
slots_note_failure(struct slots *slots, uint32_t number, const GError *error)
{
    if (g_error_matches(error, ERROR_DOMAIN, ERROR_TAMPERED) || g_error_matches(error, ERROR_DOMAIN, ERROR_FOREIGN) ||
        g_error_matches(error, ERROR_DOMAIN, ERROR_DAMAGED)) {
        slots_recheck(slots, number);
        if (g_error_matches(error, ERROR_DOMAIN, ERROR_TAMPERED))
            slots_attach(slots); /* perhaps the whole TPM was cleared */
    } else {
        slots_note_trouble(slots, error);
    }
}
