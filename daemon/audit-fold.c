/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/audit-fold.h"
#include "common/clock.h"

#include <glib.h>

#define SECOND_MS 1000
#define OTHERS ((uid_t)-1) /* the uids above AUDIT_FOLDS_MAX, together */

/* Decisions that one record tells of, and how many. What is not the same in all of them is left out. */
struct fold {
    struct audit_record record;
    char *scope, *token_id, *tracking_id, *caller;
};

/* What one uid did in this second. */
struct user {
    unsigned written;  /* records */
    struct fold *rest; /* what is neither written nor like anything that was; NULL: nothing */
};

static GHashTable *folds; /* struct fold, a set: each was written, and count is how often it came again */
static GHashTable *users; /* uid -> struct user */
static int64_t since_us;
static guint timer;
static audit_fold_write_fn tell;

/* ---- decisions that are alike ---- */

static guint
hash_fold(gconstpointer data)
{
    const struct audit_record *record = &((const struct fold *)data)->record;
    return g_str_hash(record->event) ^ (record->uid * 2654435761u) ^ (record->slot * 40503u) ^
           (record->token_id ? g_str_hash(record->token_id) : 0);
}

static gboolean
equal_folds(gconstpointer left, gconstpointer right)
{
    const struct audit_record *a = &((const struct fold *)left)->record, *b = &((const struct fold *)right)->record;
    return a->uid == b->uid && a->slot == b->slot && g_str_equal(a->event, b->event) &&
           g_strcmp0(a->rule, b->rule) == 0 && g_strcmp0(a->token_id, b->token_id) == 0;
}

static void
free_fold(gpointer data)
{
    struct fold *fold = data;
    if (!fold)
        return;
    g_free(fold->scope);
    g_free(fold->token_id);
    g_free(fold->tracking_id);
    g_free(fold->caller);
    g_free(fold);
}

static struct fold *
new_fold(const struct audit_record *record)
{
    struct fold *fold = g_new0(struct fold, 1);
    fold->record = *record;
    fold->record.scope = fold->scope = g_strdup(record->scope);
    fold->record.token_id = fold->token_id = g_strdup(record->token_id);
    fold->record.tracking_id = fold->tracking_id = g_strdup(record->tracking_id);
    fold->record.caller = fold->caller = g_strdup(record->caller);
    return fold;
}

static void
keep_if_same(const char **kept, const char *text)
{
    if (g_strcmp0(*kept, text) != 0)
        *kept = NULL;
}

static void
count_in(struct fold *fold, const struct audit_record *record)
{
    struct audit_record *all = &fold->record;
    all->count++;
    keep_if_same(&all->scope, record->scope);
    keep_if_same(&all->token_id, record->token_id);
    keep_if_same(&all->tracking_id, record->tracking_id);
    keep_if_same(&all->caller, record->caller);
    all->ttls_differ |= all->ttl != record->ttl;
    if (all->generation != record->generation)
        all->generation = 0;
    if (all->slot != record->slot)
        all->slot = AUDIT_NO_SLOT;
    if (!g_str_equal(all->event, record->event))
        all->event = "grants";
}

static void
count_in_rest(struct user *user, uid_t uid, const struct audit_record *record)
{
    if (!user->rest) {
        user->rest = new_fold(record);
        user->rest->record.uid = uid;
        user->rest->record.rule = "log-limit";
    }
    count_in(user->rest, record);
}

static void
free_user(gpointer data)
{
    struct user *user = data;
    free_fold(user->rest);
    g_free(user);
}

/* *uid becomes the one that the record is counted under. */
static struct user *
user_of(uid_t *uid)
{
    struct user *user = g_hash_table_lookup(users, GUINT_TO_POINTER(*uid));
    if (!user && g_hash_table_size(users) >= AUDIT_FOLDS_MAX) {
        *uid = OTHERS;
        user = g_hash_table_lookup(users, GUINT_TO_POINTER(*uid));
    }
    if (user)
        return user;
    user = g_new0(struct user, 1);
    g_hash_table_insert(users, GUINT_TO_POINTER(*uid), user);
    return user;
}

/* ---- one second ---- */

static void
tell_fold(const struct fold *fold)
{
    if (fold && fold->record.count > 0)
        tell(&fold->record);
}

static void
end_second(void)
{
    GHashTableIter iter;
    gpointer each;
    if (!folds)
        return;
    for (g_hash_table_iter_init(&iter, folds); g_hash_table_iter_next(&iter, &each, NULL);)
        tell_fold(each);
    for (g_hash_table_iter_init(&iter, users); g_hash_table_iter_next(&iter, NULL, &each);)
        tell_fold(((struct user *)each)->rest);
    g_clear_pointer(&folds, g_hash_table_destroy);
    g_clear_pointer(&users, g_hash_table_destroy);
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
    users = g_hash_table_new_full(NULL, NULL, NULL, free_user);
    since_us = clock_boot_us();
    if (timer == 0)
        timer = g_timeout_add(SECOND_MS, on_end, NULL);
}

bool
audit_fold_take(const struct audit_record *record, audit_fold_write_fn write)
{
    tell = write;
    if (folds && clock_boot_us() - since_us >= SECOND_MS * 1000)
        end_second();
    if (!folds)
        begin_second();
    uid_t uid = record->uid;
    struct user *user = user_of(&uid);
    const struct fold wanted = { .record = *record };
    struct fold *fold = g_hash_table_lookup(folds, &wanted);
    bool has_room = g_hash_table_size(folds) < AUDIT_FOLDS_MAX;
    if (user->written >= AUDIT_ALLOWED_PER_SECOND && fold) {
        count_in(fold, record);
        return true;
    }
    if (user->written >= AUDIT_ALLOWED_PER_SECOND && (user->written >= AUDIT_TOKENS_PER_SECOND || !has_room)) {
        count_in_rest(user, uid, record);
        return true;
    }
    user->written++;
    if (!fold && has_room)
        g_hash_table_add(folds, new_fold(record));
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
