/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What is done with the slot table off the main thread: looking at the TPM, and changing a slot.
 */
#include <config.h>

#include "daemon/slot-table.h"
#include "daemon/worker.h"
#include "common/clock.h"
#include "common/error.h"

#define ATTACH_RETRY_MS 1000
#define PENDING_RETRY_MAX_MS 60000
#define LOOK_LIMIT_US (5 * G_USEC_PER_SEC)
#define CHANGE_LIMIT_US (120 * G_USEC_PER_SEC) /* a chip may take a minute to make an RSA SRK */

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

static void
free_job(struct slot_job *job)
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

static void
answer(struct slot_job *job, const GError *error)
{
    slots_done_fn done = g_steal_pointer(&job->done);
    if (done)
        done(error, job->user);
}

static void
note_error(struct slots *slots, const GError *error)
{
    if (!g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_ABSENT) &&
        !g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_FAILED))
        return;
    if (worker_busy_us(slots->worker) >= LOOK_LIMIT_US)
        slots_set_tpm_state(slots, SLOT_TPM_FAILED, error->message); /* it hangs: nothing else tells before it is back */
    /* Whether the whole TPM is out of order or just this command was refused, a fresh look tells. */
    slots_attach(slots);
}

/* hubkeyd stops before the job's turn has come. */
static void
drop(struct worker_job *base)
{
    struct slot_job *job = (struct slot_job *)base;
    g_autoptr(GError) error = NULL;
    error_set(&error, ERROR_BUSY, "hubkeyd is shutting down and has not touched slot %u; retry in 1000 ms", job->number);
    answer(job, error);
    free_job(job);
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
    error_set(&error, ERROR_BUSY, "the TPM is busy with something that takes long, and slot %u was not touched; retry in "
              "5000 ms", job->number);
    answer(job, error);
    free_job(job);
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
    answer(job, error);
    slots_set_tpm_state(job->slots, SLOT_TPM_FAILED, error->message);
}

static void
take_findings(struct slot_job *job)
{
    struct slots *slots = job->slots;
    for (unsigned i = 0; i < job->n_findings; i++)
        slots_apply(slots, job->numbers[i], &job->findings[i]);
}

static struct slot_job *
new_job(struct slots *slots, unsigned n_numbers)
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

/* ---- attach ---- */

/* Which slots a look at the TPM is about: those that can stand in it, and what is not as it should be. The others' keys
 * prove themselves when they are loaded; but all are looked at when the TPM turns out to be another one, or itself again. */
static struct slot_job *
new_look(struct slots *slots)
{
    struct slot_job *job = new_job(slots, SLOT_TPM_COUNT + slots->table->len);
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

static bool
anything_pending(const struct slots *slots)
{
    for (const struct slot *slot = slots_next(slots, 0); slot; slot = slots_next(slots, slot->number + 1))
        if (slot->state == SLOT_PENDING)
            return true;
    return false;
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

/* A TPM that is not there, or not well, is looked for every second; what is pending because the TPM refuses to let it be
 * finished, ever more seldom. */
static void
retry_if_needed(struct slots *slots, bool unwell)
{
    bool pending = !unwell && anything_pending(slots);
    slots->retry_ms = pending ? CLAMP(2 * slots->retry_ms, ATTACH_RETRY_MS, PENDING_RETRY_MAX_MS) : 0;
    if (unwell || pending)
        retry_later(slots, unwell ? ATTACH_RETRY_MS : slots->retry_ms);
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
        take_findings(job);
        adopt_wanted(slots);
    }
    if (job->error)
        g_hash_table_remove_all(slots->not_adopted);
    slots_set_tpm_state(slots, state_after(job), job->error ? job->error->message : NULL);
    if (!slots->surveyed) {
        slots->surveyed = true;
        slots->hooks->surveyed(slots->user);
    }
    if (slots->afresh) /* asked for while this look was under way */
        slots_attach(slots);
    else
        retry_if_needed(slots, job->error != NULL);
    free_job(job);
}

static void
expired_attach(struct worker_job *base)
{
    struct slots *slots = ((struct slot_job *)base)->slots;
    slots_set_tpm_state(slots, SLOT_TPM_FAILED, "it does not answer");
    if (!slots->surveyed) {
        slots->surveyed = true;
        slots->hooks->surveyed(slots->user);
    }
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
    job->job.limit_us = LOOK_LIMIT_US;
    worker_submit(slots->worker, SLOT_ROOT_UID, &job->job);
}

/* ---- a change of one slot ---- */

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
    bool changed = slots->ops->rotate(slots->storage, job->number, job->generation, job->identity, job->key, &job->error);
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
    take_findings(job);
    if (job->error)
        note_error(slots, job->error);
    if (job->unseen)
        note_error(slots, job->unseen);
    answer(job, job->error);
    if (!slots->srk_name || slots->tpm_state != SLOT_TPM_READY || anything_pending(slots))
        slots_attach(slots);
    free_job(job);
}

static void
submit_change(struct slots *slots, struct slot_job *job, uint32_t number, void (*run)(struct worker_job *))
{
    job->number = job->numbers[0] = number;
    job->job.run = run;
    job->job.done = done_change;
    job->job.limit_us = LOOK_LIMIT_US;
    worker_submit(slots->worker, SLOT_ROOT_UID, &job->job);
}

static struct slot_job *
new_change(struct slots *slots, slots_done_fn done, void *user)
{
    struct slot_job *job = new_job(slots, 1);
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

void
slots_look(struct slots *slots)
{
    slots->afresh = true;
    g_hash_table_remove_all(slots->not_adopted);
    drop_retry(slots);
    slots_attach(slots);
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
    struct slot_job *job = new_job(slots, 1);
    job->job.expire = expired_look;
    submit_change(slots, job, number, run_recheck);
}

/* A look costs several TPM commands, and the next signature more than one. */
void
slots_doubt(struct slots *slots, uint32_t number)
{
    int64_t now = clock_boot_us();
    struct slot *slot = slots_find(slots, number);
    if (!slot || (slot->doubted_us && now - slot->doubted_us < SLOT_DOUBT_GAP_S * G_USEC_PER_SEC))
        return;
    slot->doubted_us = now;
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
        note_error(slots, error);
    }
}
