/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/health.h"
#include "daemon/limits.h"
#include "daemon/slot.h"
#include "daemon/tpm-info.h"
#include "daemon/worker.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>

struct waiter {
    uid_t uid;
    health_told_fn told;
    void *user;
};

struct health {
    struct worker_job job; /* one look at a time */
    struct tpm_info seen;  /* by the look under way */
    GError *error;
    bool looking, late; /* under way; for longer than anybody waits */
    struct worker *worker;
    struct slots *slots;
    struct limits *limits;
    health_read_fn read;
    void *source;
    void (*changed)(void *user);
    void *user;
    struct tpm_info info; /* as seen last */
    int64_t seen_us;      /* 0: never */
    bool looked;          /* once, well or not */
    GArray *waiters;
    GSource *again;
};

/* ---- what it means ---- */

static const char *
owner_advice(enum tpm_owner owner)
{
    static const char *const texts[] = {
        [TPM_OWNER_NOT_GIVEN] = "put it into a file and name that by OwnerAuthFile= in hubkeyd.conf",
        [TPM_OWNER_UNREADABLE] = "the file that OwnerAuthFile= names is missing, empty or cannot be read",
        [TPM_OWNER_REFUSED] = "the TPM has refused the one in OwnerAuthFile=; put the right one there",
    };
    return texts[owner];
}

const char *
health_state(const struct health *health)
{
    enum slot_tpm_state state = slots_tpm_state(health->slots);
    if (state != SLOT_TPM_READY)
        return slot_tpm_state_name(state);
    if (!health->looked)
        return slot_tpm_state_name(SLOT_TPM_STARTING);
    return health->info.lockout                    ? "lockout"
           : health->info.owner != TPM_OWNER_KNOWN ? "auth-required"
                                                   : slot_tpm_state_name(state);
}

static void
log_change(const struct health *health, const struct tpm_info *before)
{
    const struct tpm_info *now = &health->info;
    if (now->lockout && !before->lockout)
        g_warning("the TPM is in lockout after wrong passwords; tokens go on, keys of hubkeyd are exempt; it ends by "
                  "itself, or with: tpm2_dictionarylockout --clear-lockout");
    else if (!now->lockout && before->lockout)
        g_message("the TPM is out of lockout");
    if (now->owner != before->owner && now->owner != TPM_OWNER_KNOWN)
        g_warning("the TPM's owner has a password that hubkeyd does not know; tokens go on, but slots 0 to 9 cannot be "
                  "changed: %s", owner_advice(now->owner));
    else if (now->owner != before->owner)
        g_message("the TPM's owner is no obstacle any more");
}

/* ---- looking ---- */

static void
tell_all(struct health *health, const struct tpm_info *info, const GError *error)
{
    g_autoptr(GArray) waiters = g_steal_pointer(&health->waiters);
    health->waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter));
    for (guint i = 0; i < waiters->len; i++) {
        const struct waiter *waiter = &g_array_index(waiters, struct waiter, i);
        limits_leave(health->limits, waiter->uid);
        waiter->told(info, error, waiter->user);
    }
}

static void
run(struct worker_job *job)
{
    struct health *health = (struct health *)job;
    health->read(health->source, &health->seen, &health->error);
}

static void
stop_timer(struct health *health)
{
    if (!health->again)
        return;
    g_source_destroy(health->again);
    g_clear_pointer(&health->again, g_source_unref);
}

static gboolean
look_again(gpointer data)
{
    struct health *health = data;
    g_clear_pointer(&health->again, g_source_unref);
    health_look(health);
    return G_SOURCE_REMOVE;
}

static void
look_later(struct health *health)
{
    health->again = g_timeout_source_new_seconds(HEALTH_AGAIN_S);
    g_source_set_callback(health->again, look_again, health, NULL);
    g_source_attach(health->again, g_main_context_get_thread_default());
}

static void
done(struct worker_job *job)
{
    struct health *health = (struct health *)job;
    g_autoptr(GError) error = g_steal_pointer(&health->error);
    const char *state = health_state(health);
    const struct tpm_info before = health->info;
    health->looking = health->late = false;
    health->looked = true;
    if (!error) {
        health->info = health->seen;
        health->seen_us = clock_boot_us();
        log_change(health, &before);
    }
    if (strcmp(health_state(health), state) != 0)
        health->changed(health->user);
    if (health->info.lockout || health->info.owner != TPM_OWNER_KNOWN)
        look_later(health);
    tell_all(health, error ? NULL : &health->info, error);
    if (error)
        slots_note_failure(health->slots, 0, error);
}

static void
set_silent(GError **error)
{
    error_set(error, ERROR_TPM_FAILED, "the TPM has not answered for %d s", (int)(HEALTH_LIMIT_US / G_USEC_PER_SEC));
}

static void
expire(struct worker_job *job)
{
    struct health *health = (struct health *)job;
    g_autoptr(GError) error = NULL;
    set_silent(&error);
    health->late = true;
    tell_all(health, NULL, error);
}

void
health_look(struct health *health)
{
    if (health->looking)
        return;
    stop_timer(health);
    health->looking = true;
    health->job = (struct worker_job){ .run = run, .done = done, .expire = expire, .limit_us = HEALTH_LIMIT_US };
    worker_submit(health->worker, SLOT_ROOT_UID, &health->job);
}

void
health_tpm_changed(struct health *health)
{
    if (slots_tpm_state(health->slots) == SLOT_TPM_READY)
        health_look(health);
}

/* ---- asking ---- */

static bool
is_fresh(const struct health *health)
{
    return health->seen_us != 0 && clock_boot_us() - health->seen_us < HEALTH_KEPT_MS * 1000 &&
           slots_tpm_state(health->slots) == SLOT_TPM_READY;
}

void
health_ask(struct health *health, uid_t uid, health_told_fn told, void *user)
{
    const struct waiter waiter = { uid, told, user };
    g_autoptr(GError) error = NULL;
    if (health->late)
        set_silent(&error);
    else if (is_fresh(health)) {
        told(&health->info, NULL, user);
        return;
    }
    if (error || !limits_enter(health->limits, uid, &error)) {
        told(NULL, error, user);
        return;
    }
    g_array_append_val(health->waiters, waiter);
    health_look(health);
}

struct health *
health_new(struct worker *worker, struct slots *slots, struct limits *limits, health_read_fn read, void *source,
           void (*changed)(void *user), void *user)
{
    struct health *health = g_new0(struct health, 1);
    health->worker = worker;
    health->slots = slots;
    health->limits = limits;
    health->read = read;
    health->source = source;
    health->changed = changed;
    health->user = user;
    health->waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter));
    return health;
}

void
health_free(struct health *health)
{
    g_autoptr(GError) error = NULL;
    if (!health)
        return;
    error_set(&error, ERROR_BUSY, "hubkeyd is shutting down; retry in 1000 ms");
    tell_all(health, NULL, error);
    stop_timer(health);
    g_clear_error(&health->error);
    g_array_unref(health->waiters);
    g_free(health);
}
