/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/audit-fold.h"
#include "common/clock.h"

#include <glib.h>

#define SECOND_MS 1000

/* A decision that was written, and how often it came again. Callers and reported tokens may differ: what is not the same
 * in all of them is left out. */
struct fold {
    struct audit_record record;
    char *scope, *token_id, *tracking_id, *caller;
};

static GHashTable *folds;   /* struct fold, a set */
static GHashTable *written; /* uid -> how many records of it were written in this second */
static int64_t since_us;
static guint timer;
static audit_fold_write_fn tell;

/* ---- one decision ---- */

static guint
hash_fold(gconstpointer data)
{
    const struct audit_record *record = &((const struct fold *)data)->record;
    return g_str_hash(record->event) ^ (record->uid * 2654435761u) ^ (record->slot * 40503u) ^ record->ttl ^
           (record->token_id ? g_str_hash(record->token_id) : 0);
}

static gboolean
equal_folds(gconstpointer left, gconstpointer right)
{
    const struct audit_record *a = &((const struct fold *)left)->record, *b = &((const struct fold *)right)->record;
    return a->uid == b->uid && a->slot == b->slot && a->ttl == b->ttl && g_str_equal(a->event, b->event) &&
           g_strcmp0(a->rule, b->rule) == 0 && g_strcmp0(a->scope, b->scope) == 0 &&
           g_strcmp0(a->token_id, b->token_id) == 0;
}

static void
free_fold(gpointer data)
{
    struct fold *fold = data;
    g_free(fold->scope);
    g_free(fold->token_id);
    g_free(fold->tracking_id);
    g_free(fold->caller);
    g_free(fold);
}

static void
start_fold(const struct audit_record *record)
{
    struct fold *fold = g_new0(struct fold, 1);
    fold->record = *record;
    fold->record.scope = fold->scope = g_strdup(record->scope);
    fold->record.token_id = fold->token_id = g_strdup(record->token_id);
    fold->record.tracking_id = fold->tracking_id = g_strdup(record->tracking_id);
    fold->record.caller = fold->caller = g_strdup(record->caller);
    g_hash_table_add(folds, fold);
}

static void
count_in(struct fold *fold, const struct audit_record *record)
{
    fold->record.count++;
    if (g_strcmp0(fold->record.caller, record->caller) != 0)
        fold->record.caller = NULL;
    if (g_strcmp0(fold->record.tracking_id, record->tracking_id) != 0)
        fold->record.tracking_id = NULL;
    if (fold->record.generation != record->generation)
        fold->record.generation = 0;
}

/* ---- one second ---- */

static void
end_second(void)
{
    GHashTableIter iter;
    gpointer fold;
    if (!folds)
        return;
    for (g_hash_table_iter_init(&iter, folds); g_hash_table_iter_next(&iter, &fold, NULL);)
        if (((struct fold *)fold)->record.count > 0)
            tell(&((struct fold *)fold)->record);
    g_clear_pointer(&folds, g_hash_table_destroy);
    g_clear_pointer(&written, g_hash_table_destroy);
}

static gboolean
on_end(gpointer unused)
{
    timer = 0;
    end_second();
    return G_SOURCE_REMOVE;
}

static void
begin_second(void)
{
    folds = g_hash_table_new_full(hash_fold, equal_folds, free_fold, NULL);
    written = g_hash_table_new(NULL, NULL);
    since_us = clock_boot_us();
    if (timer == 0)
        timer = g_timeout_add(SECOND_MS, on_end, NULL);
}

static bool
is_over(void)
{
    return clock_boot_us() - since_us >= SECOND_MS * 1000 || g_hash_table_size(folds) >= AUDIT_FOLDS_MAX ||
           g_hash_table_size(written) >= AUDIT_FOLDS_MAX;
}

bool
audit_fold_take(const struct audit_record *record, audit_fold_write_fn write)
{
    gpointer uid = GUINT_TO_POINTER(record->uid);
    tell = write;
    if (folds && is_over())
        end_second();
    if (!folds)
        begin_second();
    unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(written, uid));
    const struct fold wanted = { .record = *record };
    struct fold *fold = g_hash_table_lookup(folds, &wanted);
    if (n >= AUDIT_ALLOWED_PER_SECOND && fold) {
        count_in(fold, record);
        return true;
    }
    g_hash_table_insert(written, uid, GUINT_TO_POINTER(n + 1));
    if (!fold)
        start_fold(record);
    return false;
}

void
audit_fold_flush(void)
{
    end_second();
    if (timer != 0)
        g_source_remove(timer);
    timer = 0;
}
