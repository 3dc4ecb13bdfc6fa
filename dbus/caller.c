/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A unique name is never used twice in the life of a bus, and the bus sends a name's NameOwnerChanged after every
 * answer it gave about it. So an answer may be kept until that signal comes, and no older one can overtake it.
 */
#include <config.h>

#include "dbus/caller.h"
#include "common/error.h"
#include "dbus/call.h"
#include "dbus/loop.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKUP_TIMEOUT_MS 10000 /* the bus itself answers, so this is generous */
#define LOOKUPS_MAX 512         /* questions under way */
#define WAITERS_MAX 4096        /* requests that wait for them */
#define WAITERS_OF_ONE_MAX 64   /* of these, of one caller */

#define MATCH                                                                                                          \
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"                                        \
    "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''"

struct caller_cache {
    DBusConnection *connection;
    caller_gone_fn gone;
    void *user;
    GHashTable *callers; /* name -> struct caller */
    GQueue recent;       /* struct caller, most recently used first */
    GHashTable *lookups; /* name -> struct lookup */
    size_t n_waiters;
};

struct waiter {
    caller_found_fn found;
    void *user;
};

struct lookup {
    struct caller_cache *cache;
    char *name;
    struct call *call;
    GArray *waiters; /* struct waiter */
};

struct caller *
caller_ref(struct caller *caller)
{
    caller->references++;
    return caller;
}

void
caller_unref(struct caller *caller)
{
    if (!caller || --caller->references > 0)
        return;
    g_free(caller->name);
    g_free(caller->groups);
    g_free(caller);
}

static int
compare_groups(const void *a, const void *b)
{
    gid_t left = *(const gid_t *)a, right = *(const gid_t *)b;
    return left < right ? -1 : left > right;
}

struct caller *
caller_new(const char *name, uid_t uid, const gid_t *groups, size_t n)
{
    struct caller *caller = g_new0(struct caller, 1);
    *caller = (struct caller){ .name = g_strdup(name), .uid = uid, .n_groups = n, .references = 1 };
    caller->groups = g_memdup2(groups, n * sizeof *groups);
    if (n > 1)
        qsort(caller->groups, n, sizeof *groups, compare_groups);
    return caller;
}

bool
caller_in_group(const struct caller *caller, gid_t group)
{
    return caller->n_groups > 0 &&
           bsearch(&group, caller->groups, caller->n_groups, sizeof group, compare_groups) != NULL;
}

/* ---- what the bus says ---- */

static void
take_groups(struct caller *caller, DBusMessageIter *variant)
{
    DBusMessageIter array;
    const dbus_uint32_t *groups = NULL;
    int n = 0;
    if (dbus_message_iter_get_element_type(variant) != DBUS_TYPE_UINT32)
        return;
    dbus_message_iter_recurse(variant, &array);
    dbus_message_iter_get_fixed_array(&array, &groups, &n);
    caller->n_groups = (size_t)CLAMP(n, 0, CALLER_GROUPS_MAX);
    caller->groups = g_new(gid_t, caller->n_groups + 1);
    for (size_t i = 0; i < caller->n_groups; i++)
        caller->groups[i] = groups[i];
}

/* For a bus that names no groups (dbus before 1.12.18): those that a login of the user would get. */
static void
ask_group_file(struct caller *caller)
{
    struct passwd entry, *found = NULL;
    char text[4096];
    int n = CALLER_GROUPS_MAX;
    if (getpwuid_r(caller->uid, &entry, text, sizeof text, &found) != 0 || !found)
        return;
    caller->groups = g_new(gid_t, CALLER_GROUPS_MAX);
    if (getgrouplist(entry.pw_name, entry.pw_gid, caller->groups, &n) < 0)
        n = 0; /* more than we keep: rather none than some */
    caller->n_groups = (size_t)n;
}

/* Reads the a{sv} of GetConnectionCredentials. NULL where it names no user. */
static struct caller *
caller_from_credentials(const char *name, DBusMessage *reply)
{
    DBusMessageIter top, dict, entry, value;
    bool has_uid = false;
    struct caller *caller = g_new0(struct caller, 1);
    caller->references = 1;
    caller->name = g_strdup(name);

    dbus_message_iter_init(reply, &top);
    for (dbus_message_iter_recurse(&top, &dict); dbus_message_iter_get_arg_type(&dict) == DBUS_TYPE_DICT_ENTRY;
         dbus_message_iter_next(&dict)) {
        const char *key = NULL;
        dbus_message_iter_recurse(&dict, &entry);
        dbus_message_iter_get_basic(&entry, &key);
        dbus_message_iter_next(&entry);
        dbus_message_iter_recurse(&entry, &value);
        int type = dbus_message_iter_get_arg_type(&value);
        if (type == DBUS_TYPE_UINT32 && strcmp(key, "UnixUserID") == 0) {
            dbus_uint32_t uid;
            dbus_message_iter_get_basic(&value, &uid);
            caller->uid = uid;
            has_uid = true;
        } else if (type == DBUS_TYPE_ARRAY && !caller->groups && strcmp(key, "UnixGroupIDs") == 0) {
            take_groups(caller, &value);
        }
    }
    if (!has_uid) {
        caller_unref(caller);
        return NULL;
    }
    if (!caller->groups)
        ask_group_file(caller);
    if (caller->n_groups > 1)
        qsort(caller->groups, caller->n_groups, sizeof *caller->groups, compare_groups);
    return caller;
}

/* ---- the cache ---- */

static void
forget(struct caller_cache *cache, struct caller *caller)
{
    g_hash_table_remove(cache->callers, caller->name);
    g_queue_delete_link(&cache->recent, caller->link);
    caller->link = NULL;
    caller_unref(caller);
}

static void
keep(struct caller_cache *cache, struct caller *caller)
{
    while (cache->recent.length >= CALLER_CACHE_MAX)
        forget(cache, g_queue_peek_tail(&cache->recent));
    caller_ref(caller);
    g_queue_push_head(&cache->recent, caller);
    caller->link = cache->recent.head;
    g_hash_table_insert(cache->callers, caller->name, caller);
}

static void
lookup_free(struct lookup *lookup)
{
    call_cancel(lookup->call);
    g_array_free(lookup->waiters, TRUE);
    g_free(lookup->name);
    g_free(lookup);
}

static GError *
nobody_knows(const char *name, const char *why)
{
    return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                       "the bus does not say who %s is (%s); it may have left the bus", name, why);
}

/* Ends the lookup; each waiter may start a new one, or cause anything else but the end of the cache. */
static void
answer(struct lookup *lookup, struct caller *caller, const GError *error)
{
    struct caller_cache *cache = lookup->cache;
    g_hash_table_steal(cache->lookups, lookup->name);
    cache->n_waiters -= lookup->waiters->len;
    for (guint i = 0; i < lookup->waiters->len; i++) {
        struct waiter *waiter = &g_array_index(lookup->waiters, struct waiter, i);
        waiter->found(caller, error, waiter->user);
    }
    lookup_free(lookup);
}

static void
on_credentials(DBusMessage *reply, const GError *failure, void *user)
{
    struct lookup *lookup = user;
    g_autoptr(GError) error = NULL;
    struct caller *caller = NULL;
    lookup->call = NULL;
    if (reply && dbus_message_has_signature(reply, "a{sv}"))
        caller = caller_from_credentials(lookup->name, reply);
    if (caller)
        keep(lookup->cache, caller);
    else
        error = nobody_knows(lookup->name, failure ? failure->message : "no UnixUserID");
    answer(lookup, caller, error);
    caller_unref(caller);
}

static DBusHandlerResult
on_message(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct caller_cache *cache = user;
    const char *name, *old_owner, *new_owner;
    /* Signals can be sent to us alone by anybody; only the bus can be this sender. */
    if (!dbus_message_is_signal(message, DBUS_INTERFACE_DBUS, "NameOwnerChanged") ||
        !dbus_message_has_sender(message, DBUS_SERVICE_DBUS) ||
        !dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &old_owner, DBUS_TYPE_STRING,
                               &new_owner, DBUS_TYPE_INVALID))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (name[0] == ':' && new_owner[0] == '\0') {
        struct caller *caller = g_hash_table_lookup(cache->callers, name);
        if (caller)
            forget(cache, caller);
        if (cache->gone)
            cache->gone(name, cache->user);
    }
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

struct caller_cache *
caller_cache_new(DBusConnection *connection, caller_gone_fn gone, void *user, GError **error)
{
    DBusError problem = DBUS_ERROR_INIT;
    dbus_bus_add_match(connection, MATCH, &problem);
    if (dbus_error_is_set(&problem)) {
        g_propagate_error(error, call_error(problem.name, problem.message));
        dbus_error_free(&problem);
        return NULL;
    }
    struct caller_cache *cache = g_new0(struct caller_cache, 1);
    cache->connection = dbus_connection_ref(connection);
    cache->gone = gone;
    cache->user = user;
    cache->callers = g_hash_table_new(g_str_hash, g_str_equal);
    cache->lookups = g_hash_table_new(g_str_hash, g_str_equal);
    if (!dbus_connection_add_filter(connection, on_message, cache, NULL))
        g_error("out of memory: a D-Bus filter");
    return cache;
}

void
caller_cache_free(struct caller_cache *cache)
{
    GHashTableIter iter;
    void *lookup;
    if (!cache)
        return;
    dbus_connection_remove_filter(cache->connection, on_message, cache);
    if (dbus_connection_get_is_connected(cache->connection))
        dbus_bus_remove_match(cache->connection, MATCH, NULL); /* without an error to fill it does not wait */
    g_autoptr(GError) error = NULL;
    error_set(&error, ERROR_BUSY, "hubkeyd is shutting down; retry in 1000 ms");
    while (g_hash_table_iter_init(&iter, cache->lookups), g_hash_table_iter_next(&iter, NULL, &lookup))
        answer(lookup, NULL, error);
    while (cache->recent.length > 0)
        forget(cache, g_queue_peek_head(&cache->recent));
    g_hash_table_destroy(cache->lookups);
    g_hash_table_destroy(cache->callers);
    dbus_connection_unref(cache->connection);
    g_free(cache);
}

/* ---- asking ---- */

static struct lookup *
ask(struct caller_cache *cache, const char *name, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(dbus_message_auto) question = dbus_message_new_method_call(
        DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, "GetConnectionCredentials");
    if (!question || !dbus_message_append_args(question, DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID))
        g_error("out of memory: a D-Bus message");
    struct lookup *lookup = g_new0(struct lookup, 1);
    lookup->cache = cache;
    lookup->call = call_send(cache->connection, question, LOOKUP_TIMEOUT_MS, on_credentials, lookup, &failure);
    if (!lookup->call) {
        g_propagate_error(error, nobody_knows(name, failure->message));
        g_free(lookup);
        return NULL;
    }
    lookup->name = g_strdup(name);
    lookup->waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter));
    g_hash_table_insert(cache->lookups, lookup->name, lookup);
    return lookup;
}

static bool
has_room(const struct caller_cache *cache, const struct lookup *lookup, GError **error)
{
    if (cache->n_waiters < WAITERS_MAX &&
        (lookup ? lookup->waiters->len < WAITERS_OF_ONE_MAX : g_hash_table_size(cache->lookups) < LOOKUPS_MAX))
        return true;
    error_set(error, ERROR_BUSY, "too many callers at once whom the bus has not named yet; retry in 100 ms");
    return false;
}

void
caller_lookup(struct caller_cache *cache, const char *name, caller_found_fn found, void *user)
{
    g_autoptr(GError) error = NULL;
    struct caller *caller = name ? g_hash_table_lookup(cache->callers, name) : NULL;
    if (caller) {
        g_queue_unlink(&cache->recent, caller->link);
        g_queue_push_head_link(&cache->recent, caller->link);
        caller_ref(caller); /* found may cause this one to be forgotten */
        found(caller, NULL, user);
        caller_unref(caller);
        return;
    }
    if (!name) {
        error_set(&error, ERROR_NOT_AUTHORIZED, "the message has no sender, so nobody can say who is calling");
        found(NULL, error, user);
        return;
    }
    struct lookup *lookup = g_hash_table_lookup(cache->lookups, name);
    if (!has_room(cache, lookup, &error) || (!lookup && !(lookup = ask(cache, name, &error)))) {
        found(NULL, error, user);
        return;
    }
    struct waiter waiter = { .found = found, .user = user };
    g_array_append_val(lookup->waiters, waiter);
    cache->n_waiters++;
}
