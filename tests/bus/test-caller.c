/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * dbus/caller.c: what the bus says about names, and when it is forgotten.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/caller.h"
#include "dbus/loop.h"
#include "tests/lib/await.h"
#include "tests/lib/private-bus.h"

#include <string.h>
#include <unistd.h>

struct fixture {
    struct private_bus *bus;
    DBusConnection *service;
    struct caller_cache *cache;
    int gone; /* names that left */
    char *last_gone;
};

static void
on_gone(const char *name, void *user)
{
    struct fixture *fixture = user;
    fixture->gone++;
    g_free(fixture->last_gone);
    fixture->last_gone = g_strdup(name);
}

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    fixture->bus = private_bus_start();
    fixture->service = private_bus_connect(fixture->bus);
    fixture->cache = caller_cache_new(fixture->service, on_gone, fixture, &error);
    g_assert_no_error(error);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    caller_cache_free(fixture->cache);
    loop_close(fixture->service);
    private_bus_stop(fixture->bus);
    g_free(fixture->last_gone);
}

struct found {
    int answers, known, refused, busy;
    struct caller *caller;
};

static void
on_found(struct caller *caller, const GError *error, void *user)
{
    struct found *found = user;
    g_assert_true((caller == NULL) != (error == NULL));
    found->answers++;
    if (caller) {
        found->known++;
        caller_unref(found->caller);
        found->caller = caller_ref(caller);
    } else if (error->code == ERROR_BUSY) {
        found->busy++;
        g_assert_nonnull(strstr(error->message, "retry in "));
    } else {
        g_assert_error(error, ERROR_DOMAIN, ERROR_NOT_AUTHORIZED);
        found->refused++;
    }
}

static bool
has_answers(void *user)
{
    struct found *found = user;
    return found->answers > 0;
}

static void
test_unknown_name(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    caller_lookup(fixture->cache, ":1.99999", on_found, &found);
    g_assert_cmpint(found.answers, ==, 0);
    g_assert_true(await(has_answers, &found));
    g_assert_cmpint(found.refused, ==, 1);
    caller_lookup(fixture->cache, NULL, on_found, &found);
    g_assert_cmpint(found.refused, ==, 2);
}

static bool
all_answered(void *user)
{
    return ((struct found *)user)->answers == 2000;
}

/* More questions than the bound: the rest is told to come back, and nothing is lost. */
static void
test_bound(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    for (int i = 0; i < 2000; i++) {
        char name[32];
        g_snprintf(name, sizeof name, ":9.%d", i);
        caller_lookup(fixture->cache, name, on_found, &found);
    }
    g_assert_cmpint(found.busy, >, 0);
    g_assert_true(await(all_answered, &found));
    g_assert_cmpint(found.refused, >, 100);
    g_assert_cmpint(found.refused + found.busy, ==, 2000);
    /* And the bound is not eaten up by those that were answered. */
    struct found again = { 0 };
    caller_lookup(fixture->cache, ":1.88888", on_found, &again);
    g_assert_true(await(has_answers, &again));
    g_assert_cmpint(again.busy, ==, 0);
}

static void
test_bus_dies(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    caller_lookup(fixture->cache, ":1.99999", on_found, &found);
    private_bus_kill(fixture->bus);
    g_assert_true(await(has_answers, &found));
    caller_lookup(fixture->cache, ":1.99998", on_found, &found);
    g_assert_cmpint(found.answers, ==, 2);
    g_assert_cmpint(found.known, ==, 0);
}

static bool
somebody_left(void *user)
{
    struct fixture *fixture = user;
    return fixture->gone > 0;
}

static void
test_free_while_asking(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    caller_lookup(fixture->cache, dbus_bus_get_unique_name(fixture->service), on_found, &found);
    caller_cache_free(fixture->cache);
    g_assert_cmpint(found.answers, ==, 1);
    g_assert_cmpint(found.known, ==, 0);
    g_autoptr(GError) error = NULL;
    fixture->cache = caller_cache_new(fixture->service, on_gone, fixture, &error);
    /* Somebody comes and goes: by then the first answer would have been there. */
    loop_close(private_bus_connect(fixture->bus));
    g_assert_true(await(somebody_left, fixture));
    g_assert_cmpint(found.answers, ==, 1);
}

static void
test_credentials(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    gid_t groups[CALLER_GROUPS_MAX];
    int n = getgroups(CALLER_GROUPS_MAX, groups);
    g_assert_cmpint(n, >=, 0);
    caller_lookup(fixture->cache, dbus_bus_get_unique_name(fixture->service), on_found, &found);
    g_assert_true(await(has_answers, &found));
    g_assert_cmpint(found.known, ==, 1);
    g_assert_cmpuint(found.caller->uid, ==, getuid());
    g_assert_true(caller_in_group(found.caller, getgid()));
    for (int i = 0; i < n; i++)
        g_assert_true(caller_in_group(found.caller, groups[i]));
    g_assert_false(caller_in_group(found.caller, 987654321));
    for (size_t i = 1; i < found.caller->n_groups; i++)
        g_assert_cmpuint(found.caller->groups[i - 1], <=, found.caller->groups[i]);
    caller_unref(found.caller);
}

static bool
three_answers(void *user)
{
    return ((struct found *)user)->answers == 3;
}

/* One question for all who ask at once; later ones are answered at once, until the name leaves. */
static void
test_cached_until_gone(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    DBusConnection *client = private_bus_connect(fixture->bus);
    g_autofree char *name = g_strdup(dbus_bus_get_unique_name(client));
    for (int i = 0; i < 3; i++)
        caller_lookup(fixture->cache, name, on_found, &found);
    g_assert_true(await(three_answers, &found));
    struct caller *first = caller_ref(found.caller);
    caller_lookup(fixture->cache, name, on_found, &found);
    g_assert_cmpint(found.answers, ==, 4);
    g_assert_true(found.caller == first);
    g_assert_cmpint(fixture->gone, ==, 0);

    loop_close(client);
    g_assert_true(await(somebody_left, fixture));
    g_assert_cmpstr(fixture->last_gone, ==, name);
    g_assert_cmpstr(first->name, ==, name); /* a reference outlives the cache's */
    struct found after = { 0 };
    caller_lookup(fixture->cache, name, on_found, &after);
    g_assert_cmpint(after.answers, ==, 0);
    g_assert_true(await(has_answers, &after));
    g_assert_cmpint(after.refused, ==, 1);
    caller_unref(first);
    caller_unref(found.caller);
}

/* Any peer can send us a signal of that name; only the bus's counts. */
static void
test_forged_signal(struct fixture *fixture, gconstpointer unused)
{
    struct found found = { 0 };
    DBusConnection *client = private_bus_connect(fixture->bus);
    const char *name = dbus_bus_get_unique_name(fixture->service), *none = "";
    caller_lookup(fixture->cache, name, on_found, &found);
    g_assert_true(await(has_answers, &found));

    g_autoptr(dbus_message_auto)
        forged = dbus_message_new_signal(DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, "NameOwnerChanged");
    dbus_message_append_args(forged, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &none,
                             DBUS_TYPE_INVALID);
    dbus_message_set_destination(forged, name);
    dbus_connection_send(client, forged, NULL);
    dbus_connection_flush(client);
    loop_close(client);
    g_assert_true(await(somebody_left, fixture)); /* the client itself, after its signal */
    g_assert_cmpint(fixture->gone, ==, 1);
    g_assert_cmpstr(fixture->last_gone, !=, name);
    caller_lookup(fixture->cache, name, on_found, &found);
    g_assert_cmpint(found.known, ==, 2);
    caller_unref(found.caller);
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/caller/unknown-name", test_unknown_name);
    ADD("/caller/bound", test_bound);
    ADD("/caller/bus-dies", test_bus_dies);
    ADD("/caller/free-while-asking", test_free_while_asking);
    ADD("/caller/forged-signal", test_forged_signal);
    ADD("/caller/credentials", test_credentials);
    ADD("/caller/cached-until-gone", test_cached_until_gone);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
