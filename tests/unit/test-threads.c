/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What hubkey.h says of threads: every function, from every thread, at the same time, on the same client; and clients
 * side by side on one queue. Most useful under ThreadSanitizer, see CONTRIBUTING.md.
 */
#include <config.h>

#include "client/hubkey.h"
#include "tests/lib/folder.h"

#include <stdbool.h>

#include <glib.h>

#define POSTS 20 /* of each thread */

struct shared {
    char *folder;
    struct hubkey_options options;
    hubkey_client *client; /* NULL: each thread opens one */
    uint8_t *seen;         /* by number: how often it was given away; atomic */
    guint called;          /* atomic */
};

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    g_atomic_int_inc(&((struct shared *)user)->called);
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    g_atomic_int_inc(&((struct shared *)user)->called);
}

static void
on_log(int32_t level, const char *text, void *user)
{
    g_atomic_int_inc(&((struct shared *)user)->called);
}

static void
shared_open(struct shared *shared, guint n_threads)
{
    *shared = (struct shared){ .folder = folder_new(), .options = { .size = sizeof shared->options } };
    shared->options.queue_path = g_build_filename(shared->folder, "queue", NULL);
    shared->options.socket_path = "";
    shared->seen = g_new0(uint8_t, n_threads * POSTS + 1);
}

static void
shared_close(struct shared *shared)
{
    g_free((char *)shared->options.queue_path);
    g_free(shared->seen);
    folder_remove(shared->folder);
}

static void
post(struct shared *shared, hubkey_client *client)
{
    const struct hubkey_property property = { "kind", "test" };
    struct hubkey_message message = {
        .size = sizeof message, .body = "{}", .len = 2, .n_properties = 1, .properties = &property
    };
    uint64_t seq = 0;
    g_assert_cmpint(hubkey_client_post(client, &message, 10000, &seq, NULL), ==, 0);
    __atomic_fetch_add(&shared->seen[seq], 1, __ATOMIC_RELAXED);
    g_assert_cmpint(hubkey_client_wait_seq(client, seq, 0), ==, HUBKEY_E_TIMEOUT);
}

static void
look(hubkey_client *client)
{
    struct hubkey_stats stats = { .size = sizeof stats };
    struct hubkey_error error;
    g_assert_cmpint(hubkey_client_stats(client, &stats), ==, 0);
    g_assert_cmpuint(stats.counts.accepted, ==, stats.counts.waiting);
    g_assert_cmpint(hubkey_client_flush(client, 0, &error), ==, HUBKEY_E_TIMEOUT);
    g_assert_cmpint(hubkey_client_fd(client), >=, 0);
}

/* Every call there is but close. */
static gpointer
use_all(gpointer user)
{
    struct shared *shared = user;
    for (int i = 0; i < POSTS; i++) {
        struct hubkey_queue_info info = { .size = sizeof info };
        post(shared, shared->client);
        look(shared->client);
        g_assert_cmpint(hubkey_client_set_callbacks(shared->client, on_state, on_gone, on_log, shared), ==, 0);
        g_assert_cmpint(hubkey_client_dispatch(shared->client), >=, 0);
        g_assert_cmpint(hubkey_client_wait(shared->client, 1), >=, 0);
        g_assert_cmpint(hubkey_queue_status(shared->options.queue_path, &info, NULL), ==, 0);
    }
    return NULL;
}

/* A client of its own for the same queue, opened and closed while others use theirs. */
static gpointer
use_own(gpointer user)
{
    struct shared *shared = user;
    for (int i = 0; i < POSTS; i++) {
        hubkey_client *client;
        struct hubkey_error error;
        g_assert_cmpint(hubkey_client_open(&shared->options, &client, &error), ==, 0);
        hubkey_client_set_callbacks(client, on_state, on_gone, on_log, shared);
        post(shared, client);
        look(client);
        hubkey_client_wait(client, 0);
        g_assert_cmpint(hubkey_client_close(client, 0), ==, HUBKEY_E_TIMEOUT);
    }
    return NULL;
}

static void
run(struct shared *shared, guint n, GThreadFunc function)
{
    g_autofree GThread **threads = g_new(GThread *, n);
    for (guint i = 0; i < n; i++)
        threads[i] = g_thread_new("host", function, shared);
    for (guint i = 0; i < n; i++)
        g_thread_join(threads[i]);
    for (guint seq = 1; seq <= n * POSTS; seq++)
        g_assert_cmpuint(shared->seen[seq], ==, 1); /* each number was given once, none left out */
}

static void
test_one_client(gconstpointer number)
{
    struct shared shared;
    guint n = GPOINTER_TO_UINT(number);
    shared_open(&shared, n);
    g_assert_cmpint(hubkey_client_open(&shared.options, &shared.client, NULL), ==, 0);
    run(&shared, n, use_all);
    g_assert_cmpuint(shared.called, >, 0);
    g_assert_cmpint(hubkey_client_close(shared.client, 0), ==, HUBKEY_E_TIMEOUT);
    shared_close(&shared);
}

static void
test_many_clients(void)
{
    struct shared shared;
    shared_open(&shared, 8);
    run(&shared, 8, use_own);
    shared_close(&shared);
}

/* Many that wait for room at once. */
static gpointer
wait_for_room(gpointer user)
{
    struct hubkey_message message = { .size = sizeof message };
    return GINT_TO_POINTER(hubkey_client_post(user, &message, 200, NULL, NULL));
}

static void
test_blocked(void)
{
    struct shared shared;
    GThread *threads[8];
    shared_open(&shared, 1);
    shared.options.policy = HUBKEY_POLICY_BLOCK;
    shared.options.max_messages = 1;
    g_assert_cmpint(hubkey_client_open(&shared.options, &shared.client, NULL), ==, 0);
    post(&shared, shared.client);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("blocked", wait_for_room, shared.client);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(threads[i])), ==, HUBKEY_E_FULL);
    g_assert_cmpint(hubkey_client_close(shared.client, 0), ==, HUBKEY_E_TIMEOUT);
    shared_close(&shared);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* Nobody is there, and nobody on this machine is disturbed. */
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", TRUE);
    g_unsetenv("HUBKEY_CA_FILE");
    g_unsetenv("HUBKEY_CONNECT_TO");
    g_test_add_data_func("/threads/1", GUINT_TO_POINTER(1), test_one_client);
    g_test_add_data_func("/threads/32", GUINT_TO_POINTER(32), test_one_client);
    g_test_add_func("/threads/many-clients", test_many_clients);
    g_test_add_func("/threads/blocked", test_blocked);
    return g_test_run();
}
