/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who is calling. The bus's word on a unique name (GetConnectionCredentials: UnixUserID, UnixGroupIDs) is the only
 * source; never a process ID, which can be recycled between question and answer. Asked once per unique name, without
 * blocking, and kept in a bounded cache until the name leaves the bus (one NameOwnerChanged match for all).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <dbus/dbus.h>
#include <glib.h>

#define CALLER_CACHE_MAX 4096 /* callers kept; the longest unused goes first */
#define CALLER_GROUPS_MAX 1024

struct caller {
    char *name; /* unique name on the bus, or "socket:N" */
    uid_t uid;
    gid_t *groups; /* sorted */
    size_t n_groups;
    /* private to caller.c */
    int references;
    GList *link;
};

/* groups: n of them, copied and sorted. For callers whom the bus does not know: those of the private socket. */
struct caller *caller_new(const char *name, uid_t uid, const gid_t *groups, size_t n);
struct caller *caller_ref(struct caller *caller);
void caller_unref(struct caller *caller); /* NULL is fine */
bool caller_in_group(const struct caller *caller, gid_t group);

struct caller_cache;

/* A caller left the bus (whether it was in the cache or not). */
typedef void (*caller_gone_fn)(const char *unique_name, void *user);

/* connection must be registered on a bus and attached to a loop. gone may be NULL. */
struct caller_cache *caller_cache_new(DBusConnection *connection, caller_gone_fn gone, void *user, GError **error);
void caller_cache_free(struct caller_cache *cache); /* who waits for an answer is told Busy */

/* caller is borrowed, NULL with error set where the bus does not know the name any more. */
typedef void (*caller_found_fn)(struct caller *caller, const GError *error, void *user);

/* Calls found before returning where the answer is cached, else later. Lookups of one name share one question. */
void caller_lookup(struct caller_cache *cache, const char *unique_name, caller_found_fn found, void *user);
