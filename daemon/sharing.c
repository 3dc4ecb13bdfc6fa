/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/sharing.h"
#include "daemon/limits.h"
#include "daemon/sas.h"
#include "daemon/slot.h"
#include "daemon/worker.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/seldom.h"

#include <malloc.h>
#include <string.h>

#define TRIM_FROM 64 /* forgotten tokens, whose memory glibc would keep for good */
#define TRIM_GAP_US (60 * G_USEC_PER_SEC)

struct waiter {
    uid_t uid;
    char *peer;
    sharing_done_fn done;
    void *user;
};

/* One token, being made or made. */
struct share {
    struct worker_job job;
    struct sharing *sharing;
    uint32_t slot;
    uint64_t generation, expires;
    char *scope;
    char *key_name;
    bool listed; /* in the table: newcomers join */
    bool made;
    int64_t made_s;
    char *text; /* what is signed */
    char *token;
    char token_id[SAS_TOKEN_ID_DIGITS + 1];
    GError *error;
    struct sharing_beside beside;
    GList made_link; /* in sharing->made, once it is made */
    GPtrArray *waiters; /* NULL: none, as for every token that is made and kept */
};

struct sharing {
    struct slots *slots;
    struct worker *worker;
    struct limits *limits;
    GHashTable *shares;
    uint32_t granularity_s;
    GQueue made; /* the shares in the table that are made, oldest first */
    int64_t swept_s;
    unsigned freed; /* tokens forgotten since memory went back to the system */
    struct seldom trimmed;
    GSource *tidying; /* NULL: there is nothing to tidy up */
};

static guint
hash_share(gconstpointer data)
{
    const struct share *share = data;
    return g_str_hash(share->scope) ^ (share->slot * 2654435761u) ^ (guint)share->expires ^
           (guint)(share->generation << 16);
}

static gboolean
equal_shares(gconstpointer left, gconstpointer right)
{
    const struct share *a = left, *b = right;
    return a->slot == b->slot && a->expires == b->expires && a->generation == b->generation &&
           strcmp(a->scope, b->scope) == 0;
}

static void
free_waiter(gpointer data)
{
    struct waiter *waiter = data;
    g_free(waiter->peer);
    g_free(waiter);
}

static void
free_share(struct share *share)
{
    g_free(share->scope);
    g_free(share->key_name);
    g_free(share->text);
    g_free(share->token);
    if (share->beside.free)
        share->beside.free(share->beside.data);
    g_clear_error(&share->error);
    g_clear_pointer(&share->waiters, g_ptr_array_unref);
    g_free(share);
}

static void
unlist(struct share *share)
{
    if (!share->listed)
        return;
    g_hash_table_remove(share->sharing->shares, share);
    share->listed = false;
    if (share->made)
        g_queue_unlink(&share->sharing->made, &share->made_link);
}

static void
forget(struct share *share)
{
    unlist(share);
    free_share(share);
}

static guint
n_waiters(const struct share *share)
{
    return share->waiters ? share->waiters->len : 0;
}

static void
tell(struct sharing *sharing, struct waiter *waiter, const struct sharing_answer *answer)
{
    limits_leave(sharing->limits, waiter->uid);
    waiter->done(answer, waiter->user);
    free_waiter(waiter);
}

/* Callbacks may come back with new requests, so the list is taken off first. */
static void
tell_all(struct share *share, const struct sharing_answer *answer)
{
    g_autoptr(GPtrArray) waiters = g_steal_pointer(&share->waiters);
    struct sharing *sharing = share->sharing;
    for (guint i = 0; waiters && i < waiters->len; i++)
        tell(sharing, waiters->pdata[i], answer);
}

static void
run(struct worker_job *job)
{
    struct share *share = (struct share *)job;
    uint8_t mac[SLOT_MAC_BYTES];
    if (!slots_sign(share->sharing->slots, share->slot, share->generation, share->text, strlen(share->text), mac,
                    &share->error))
        return;
    share->token = sas_token(share->text, mac, share->key_name);
    sas_token_id(share->token, share->token_id);
}

/* Tokens made longer ago than the granularity of expiries can be asked for no more: the expiry would be another. */
static bool
is_old(const struct share *share, int64_t now_s)
{
    int64_t age_s = now_s - share->made_s;
    return age_s < 0 || age_s >= share->sharing->granularity_s;
}

static void
sweep(struct sharing *sharing)
{
    int64_t now_s = clock_wall_s();
    if (now_s == sharing->swept_s)
        return;
    sharing->swept_s = now_s;
    for (struct share *share; (share = g_queue_peek_head(&sharing->made)) && is_old(share, now_s); sharing->freed++)
        forget(share);
}

/* When the tokens of a burst are not asked for any more, their memory goes back to the system; not after each burst: a
 * walk over all of the heap is something that callers could keep us busy with. */
static gboolean
tidy(gpointer data)
{
    struct sharing *sharing = data;
    sweep(sharing);
    if (sharing->freed >= TRIM_FROM && sharing->made.length < TRIM_FROM &&
        seldom_due(&sharing->trimmed, TRIM_GAP_US, NULL)) {
        malloc_trim(0);
        sharing->freed = 0;
    }
    if (sharing->made.length > 0 || sharing->freed >= TRIM_FROM)
        return G_SOURCE_CONTINUE;
    g_clear_pointer(&sharing->tidying, g_source_unref);
    return G_SOURCE_REMOVE;
}

static void
tidy_later(struct sharing *sharing)
{
    if (sharing->tidying)
        return;
    sharing->tidying = g_timeout_source_new_seconds(sharing->granularity_s + 1);
    g_source_set_callback(sharing->tidying, tidy, sharing, NULL);
    g_source_attach(sharing->tidying, g_main_context_get_thread_default());
}

/* So that others of the same second get it at once. */
static void
keep(struct share *share)
{
    struct sharing *sharing = share->sharing;
    if (sharing->made.length >= SHARING_KEPT_MAX)
        forget(g_queue_peek_head(&sharing->made));
    share->made = true;
    share->made_s = clock_wall_s();
    share->made_link = (GList){ .data = share };
    g_queue_push_tail_link(&sharing->made, &share->made_link);
    g_clear_pointer(&share->text, g_free);
    tidy_later(sharing);
}

static void
done(struct worker_job *job)
{
    struct share *share = (struct share *)job;
    struct sharing *sharing = share->sharing;
    bool kept = share->listed && !share->error, shared = n_waiters(share) > 1;
    struct sharing_answer answer = {
        .token = share->token,
        .token_id = share->token_id,
        .expires = share->expires,
        .shared = shared,
        .error = share->error,
        .beside = kept && shared ? &share->beside : NULL,
    };
    if (kept)
        keep(share);
    else
        unlist(share);
    if (share->error)
        slots_note_failure(sharing->slots, share->slot, share->error);
    tell_all(share, &answer);
    if (!kept)
        free_share(share);
}

/* The bus thread keeps the promise of an answer, whatever the chip does. */
static void
expire(struct worker_job *job)
{
    struct share *share = (struct share *)job;
    struct sharing *sharing = share->sharing;
    g_autoptr(GError) error = NULL;
    int seconds = SHARING_LIMIT_US / G_USEC_PER_SEC;
    bool hangs = worker_busy_us(sharing->worker) >= SHARING_LIMIT_US;
    if (hangs)
        error_set(&error, ERROR_TPM_FAILED, "the TPM has not answered for %d s", seconds);
    else
        error_set(&error, ERROR_BUSY, "the TPM was busy with others for %d s; retry in %d ms", seconds,
                  LIMITS_RETRY_MS);
    unlist(share);
    if (hangs)
        slots_note_failure(sharing->slots, share->slot, error);
    tell_all(share, &(struct sharing_answer){ .error = error });
    if (worker_withdraw(sharing->worker, &share->job))
        free_share(share);
}

/* What is listed, sharing_free tells and frees. */
static void
drop(struct worker_job *job)
{
    struct share *share = (struct share *)job;
    if (!share->listed)
        free_share(share);
}

static struct share *
new_share(struct sharing *sharing, const struct slot *slot, const char *scope, uint64_t expires)
{
    struct share *share = g_new0(struct share, 1);
    share->job.run = run;
    share->job.done = done;
    share->job.expire = expire;
    share->job.drop = drop;
    share->job.limit_us = SHARING_LIMIT_US;
    share->sharing = sharing;
    share->slot = slot->number;
    share->generation = slot->generation;
    share->expires = expires;
    share->scope = g_strdup(scope);
    share->key_name = g_strdup(slot->identity->key_name);
    share->text = sas_string_to_sign(slot->resource, scope, expires);
    share->waiters = g_ptr_array_new();
    share->listed = true;
    g_hash_table_add(sharing->shares, share);
    return share;
}

bool
sharing_request(struct sharing *sharing, const struct slot *slot, const char *scope, uint64_t expires, uid_t uid,
                const char *peer, sharing_done_fn fn, void *user, GError **error)
{
    const struct share wanted = { .slot = slot->number, .generation = slot->generation, .expires = expires,
                                  .scope = (char *)scope };
    sweep(sharing);
    struct share *share = g_hash_table_lookup(sharing->shares, &wanted);
    if (share && share->made) {
        fn(&(struct sharing_answer){ .token = share->token, .token_id = share->token_id, .expires = expires,
                                     .shared = true, .beside = &share->beside }, user);
        return true;
    }
    if (!limits_enter(sharing->limits, uid, error))
        return false;
    bool fresh = !share;
    if (fresh)
        share = new_share(sharing, slot, scope, expires);
    struct waiter *waiter = g_new(struct waiter, 1);
    *waiter = (struct waiter){ .uid = uid, .peer = g_strdup(peer), .done = fn, .user = user };
    g_ptr_array_add(share->waiters, waiter);
    if (fresh)
        worker_submit(sharing->worker, uid, &share->job);
    else
        worker_join(sharing->worker, uid, &share->job);
    return true;
}

void
sharing_forget(struct sharing *sharing, const char *peer)
{
    GHashTableIter iter;
    gpointer key;
    g_autoptr(GPtrArray) leaving = g_ptr_array_new();
    g_hash_table_iter_init(&iter, sharing->shares);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        struct share *share = key;
        for (guint i = n_waiters(share); i-- > 0;) {
            struct waiter *waiter = share->waiters->pdata[i];
            if (g_strcmp0(waiter->peer, peer) == 0)
                g_ptr_array_add(leaving, g_ptr_array_remove_index_fast(share->waiters, i));
        }
        if (!share->made && n_waiters(share) == 0 && worker_withdraw(sharing->worker, &share->job)) {
            g_hash_table_iter_remove(&iter);
            free_share(share);
        }
    }
    for (guint i = 0; i < leaving->len; i++)
        tell(sharing, leaving->pdata[i], &(struct sharing_answer){ 0 });
}

struct sharing *
sharing_new(struct slots *slots, struct worker *worker, struct limits *limits, uint32_t granularity_s)
{
    struct sharing *sharing = g_new0(struct sharing, 1);
    sharing->slots = slots;
    sharing->worker = worker;
    sharing->limits = limits;
    sharing->granularity_s = granularity_s;
    sharing->shares = g_hash_table_new(hash_share, equal_shares);
    return sharing;
}

void
sharing_set_granularity(struct sharing *sharing, uint32_t granularity_s)
{
    bool changed = sharing->granularity_s != granularity_s;
    sharing->granularity_s = granularity_s;
    if (changed && sharing->tidying) { /* it comes as seldom as the former one wanted */
        g_source_destroy(sharing->tidying);
        g_clear_pointer(&sharing->tidying, g_source_unref);
        tidy_later(sharing);
    }
}

static gboolean
drop_share(gpointer key, gpointer value, gpointer data)
{
    struct share *share = key;
    tell_all(share, &(struct sharing_answer){ 0 });
    free_share(share);
    return TRUE;
}

void
sharing_free(struct sharing *sharing)
{
    if (!sharing)
        return;
    if (sharing->tidying)
        g_source_destroy(sharing->tidying);
    g_clear_pointer(&sharing->tidying, g_source_unref);
    g_hash_table_foreach_remove(sharing->shares, drop_share, NULL);
    g_hash_table_destroy(sharing->shares);
    g_free(sharing);
}
