/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Looking at the TPM with all of its slots: at the start, as it comes and goes, when somebody asks for it. What is
 * found and wanted by the configuration is adopted.
 */
#include <config.h>

#include "daemon/slot-job.h"
#include "common/error.h"

#define ATTACH_RETRY_MS 1000
#define PENDING_RETRY_MAX_MS 60000

/* Which slots a look at the TPM is about: those that can stand in it, and what is not as it should be. The others' keys
 * prove themselves when they are loaded; but all are looked at when the TPM turns out to be another one, or itself
 * again. */
static struct slot_job *
new_look(struct slots *slots)
{
    struct slot_job *job = slot_job_new(slots, SLOT_TPM_COUNT + slots->table->len);
    unsigned n = 0;
    for (; n < SLOT_TPM_COUNT; n++)
        job->numbers[n] = n;
    for (const struct slot *slot = slots_next(slots, n); slot; slot = slots_next(slots, slot->number + 1))
        if (slot->state != SLOT_READY)
            job->numbers[n++] = slot->number;
    job->n_numbers = n;
    for (const struct slot *slot = slots_next(slots, SLOT_TPM_COUNT); slot; slot = slots_next(slots, slot->number + 1))
        if (slot->state == SLOT_READY)
            job->numbers[n++] = slot->number;
    job->n_all = n;
    job->was_cleared = slots->cleared;
    return job;
}

static void
run_attach(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    if (!slots->ops->attach(slots->storage, job->afresh, &job->medium, &job->error))
        return;
    unsigned n = job->medium.cleared == job->was_cleared ? job->n_numbers : job->n_all;
    for (; job->n_findings < n; job->n_findings++)
        if (!slots->ops->survey(slots->storage, job->numbers[job->n_findings], &job->findings[job->n_findings],
                                &job->error))
            return;
}

static gboolean
retry_attach(gpointer data)
{
    struct slots *slots = data;
    g_clear_pointer(&slots->retry, g_source_unref);
    slots_attach(slots);
    return G_SOURCE_REMOVE;
}

static void
drop_retry(struct slots *slots)
{
    if (slots->retry)
        g_source_destroy(slots->retry);
    g_clear_pointer(&slots->retry, g_source_unref);
}

static void
retry_later(struct slots *slots, unsigned gap_ms)
{
    slots->retry = g_timeout_source_new(gap_ms);
    g_source_set_callback(slots->retry, retry_attach, slots, NULL);
    g_source_attach(slots->retry, g_main_context_get_thread_default());
}

static enum slot_tpm_state
state_after(const struct slot_job *job)
{
    if (job->error)
        return job->error->code == ERROR_TPM_ABSENT ? SLOT_TPM_ABSENT : SLOT_TPM_FAILED;
    return job->medium.cleared ? SLOT_TPM_CLEARED : SLOT_TPM_READY;
}

struct adoption {
    struct slots *slots;
    uint32_t number;
};

/* One that fails is not tried over and over: only at the next look that is asked for, or when the TPM comes back. */
static void
adopted(const GError *error, void *user)
{
    struct adoption *adoption = user;
    struct slots *slots = adoption->slots;
    if (error) {
        g_warning("slot %u is not adopted as the configuration says: %s", adoption->number, error->message);
        if (error->code != ERROR_TPM_ABSENT)
            g_hash_table_add(slots->not_adopted, GUINT_TO_POINTER(adoption->number));
    }
    if (slots->hooks->adopted)
        slots->hooks->adopted(adoption->number, error, slots->user);
    g_free(adoption);
}

static bool
is_wanted(struct slots *slots, const struct slot *slot)
{
    if (slot->state != SLOT_FOUND || !slots->hooks->wanted ||
        g_hash_table_contains(slots->not_adopted, GUINT_TO_POINTER(slot->number)))
        return false;
    const struct identity *wanted = slots->hooks->wanted(slot->number, slots->user);
    return wanted && identity_equal(wanted, slot->identity);
}

/* Adoption by configuration: only what is found, and only for the very identity that is wanted there. */
static void
adopt_wanted(struct slots *slots)
{
    for (const struct slot *slot = slots_next(slots, 0); slot; slot = slots_next(slots, slot->number + 1)) {
        if (!is_wanted(slots, slot))
            continue;
        struct adoption *adoption = g_new(struct adoption, 1);
        *adoption = (struct adoption){ slots, slot->number };
        const struct slot_expected expected = { identity_copy(slot->identity), g_strdup(slot->tpm_name) };
        slots_adopt(slots, slot->number, expected, adopted, adoption);
    }
}

/* A TPM that is not there, or not well, is looked for every second; what is pending because the TPM refuses to let it
 * be finished, ever more seldom. */
static void
retry_if_needed(struct slots *slots, bool unwell)
{
    bool pending = !unwell && slots_any_pending(slots);
    slots->retry_ms = pending ? CLAMP(2 * slots->retry_ms, ATTACH_RETRY_MS, PENDING_RETRY_MAX_MS) : 0;
    if (unwell || pending)
        retry_later(slots, unwell ? ATTACH_RETRY_MS : slots->retry_ms);
}

/* Once: that what stands in the TPM is known, or that it does not answer. */
static void
tell_surveyed(struct slots *slots)
{
    if (slots->surveyed)
        return;
    slots->surveyed = true;
    slots->hooks->surveyed(slots->user);
}

static void
done_attach(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    struct slots *slots = job->slots;
    slots->attaching = false;
    if (!job->error) {
        slots->cleared = job->medium.cleared;
        slots_set_srk(slots, g_steal_pointer(&job->medium.srk_name));
        slot_job_take_findings(job);
        adopt_wanted(slots);
    }
    if (job->error)
        g_hash_table_remove_all(slots->not_adopted);
    slots_set_tpm_state(slots, state_after(job), job->error ? job->error->message : NULL);
    tell_surveyed(slots);
    if (slots->afresh) /* asked for while this look was under way */
        slots_attach(slots);
    else
        retry_if_needed(slots, job->error != NULL);
    slot_job_free(job);
}

static void
expired_attach(struct worker_job *base)
{
    struct slots *slots = ((struct slot_job *)base)->slots;
    slots_set_tpm_state(slots, SLOT_TPM_FAILED, "it does not answer");
    tell_surveyed(slots);
}

void
slots_attach(struct slots *slots)
{
    /* For a TPM that is unwell the next look is a second away at most; for what is pending it may be a minute. */
    if (slots->attaching || (slots->retry && slots->retry_ms == 0))
        return;
    drop_retry(slots);
    struct slot_job *job = new_look(slots);
    slots->attaching = true;
    job->afresh = slots->afresh;
    slots->afresh = false;
    job->job.run = run_attach;
    job->job.done = done_attach;
    job->job.expire = expired_attach;
    job->job.limit_us = SLOT_JOB_LOOK_LIMIT_US;
    worker_submit(slots->worker, SLOT_ROOT_UID, &job->job);
}

void
slots_look(struct slots *slots)
{
    slots->afresh = true;
    g_hash_table_remove_all(slots->not_adopted);
    drop_retry(slots);
    slots_attach(slots);
}
