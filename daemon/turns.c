/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/turns.h"

struct turns_user {
    uid_t uid;
    GQueue entries; /* oldest first */
    GList ring;
};

void
turns_init(struct turns *turns)
{
    *turns = (struct turns){ .users = g_hash_table_new_full(NULL, NULL, NULL, g_free) };
}

void
turns_clear(struct turns *turns)
{
    g_hash_table_destroy(turns->users);
}

static struct turns_user *
find(const struct turns *turns, uid_t uid)
{
    return g_hash_table_lookup(turns->users, GUINT_TO_POINTER(uid));
}

void
turns_push(struct turns *turns, uid_t uid, GList *node)
{
    struct turns_user *user = find(turns, uid);
    if (!user) {
        user = g_new0(struct turns_user, 1);
        user->uid = uid;
        user->ring.data = user;
        g_hash_table_insert(turns->users, GUINT_TO_POINTER(uid), user);
        g_queue_push_tail_link(&turns->ring, &user->ring);
    }
    g_queue_push_tail_link(&user->entries, node);
}

guint
turns_users(const struct turns *turns)
{
    return turns->ring.length;
}

GList *
turns_take(struct turns *turns)
{
    GList *head = g_queue_pop_head_link(&turns->ring);
    if (!head)
        return NULL;
    turns->served = head->data;
    return g_queue_pop_head_link(&turns->served->entries);
}

void
turns_end(struct turns *turns)
{
    struct turns_user *user = g_steal_pointer(&turns->served);
    if (g_queue_is_empty(&user->entries))
        g_hash_table_remove(turns->users, GUINT_TO_POINTER(user->uid));
    else
        g_queue_push_tail_link(&turns->ring, &user->ring);
}

void
turns_remove(struct turns *turns, uid_t uid, GList *node)
{
    struct turns_user *user = find(turns, uid);
    g_queue_unlink(&user->entries, node);
    if (user == turns->served || !g_queue_is_empty(&user->entries))
        return;
    g_queue_unlink(&turns->ring, &user->ring);
    g_hash_table_remove(turns->users, GUINT_TO_POINTER(uid));
}

guint
turns_place(const struct turns *turns, uid_t uid, GList *node)
{
    return (guint)g_queue_link_index(&find(turns, uid)->entries, node);
}

guint
turns_places(const struct turns *turns, uid_t uid)
{
    struct turns_user *user = find(turns, uid);
    return user ? g_queue_get_length(&user->entries) : 0;
}
