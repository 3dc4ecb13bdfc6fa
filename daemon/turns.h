/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Fair turns: what users wait for, oldest first of each, one of each user in turn (round robin). Whose entry was taken
 * stands again at the end of the ring only once turns_end is called, so that whoever comes meanwhile goes before the
 * same user's next.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

struct turns {
    GHashTable *users; /* uid -> struct turns_user, only those who wait or are served */
    GQueue ring;       /* of struct turns_user; the head is next */
    struct turns_user *served;
};

void turns_init(struct turns *turns);
void turns_clear(struct turns *turns);

/* node is its caller's and must live until it is taken or removed. */
void turns_push(struct turns *turns, uid_t uid, GList *node);

/* How many users wait. */
guint turns_users(const struct turns *turns);

/* NULL where nobody waits. To be followed by turns_end before the next. */
GList *turns_take(struct turns *turns);
void turns_end(struct turns *turns);

void turns_remove(struct turns *turns, uid_t uid, GList *node);

/* How many rounds pass until node, which is uid's, is taken; and what it would be for a new one of uid. */
guint turns_place(const struct turns *turns, uid_t uid, GList *node);
guint turns_places(const struct turns *turns, uid_t uid);
