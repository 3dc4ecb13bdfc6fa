/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The public API where there is neither hubkeyd nor a hub: everything but delivery works, and nothing waits for them.
 */
#include <config.h>

#include "client/hubkey.h"
#include "tests/lib/refuse.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

struct fixture {
    char *dir, *path;
    struct hubkey_options options;
    hubkey_client *client;
    unsigned states, logs, gone;
    int inner[4]; /* what calls inside a callback answered */
    bool close_inside;
};

static void
fixture_open(struct fixture *fixture, uint32_t flags)
{
    struct hubkey_error error;
    memset(fixture, 0, sizeof *fixture);
    fixture->dir = g_dir_make_tmp("hk-client-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->dir, "sub", "q", NULL);
    fixture->options = (struct hubkey_options){
        .size = sizeof fixture->options, .queue_path = fixture->path, .socket_path = "", .flags = flags
    };
    g_assert_cmpint(hubkey_client_open(&fixture->options, &fixture->client, &error), ==, 0);
    g_assert_cmpstr(error.text, ==, "");
}

static void
remove_files(struct fixture *fixture)
{
    static const char *const names[] = { "sub/q", "sub/q-wal", "sub/q-shm", "sub/q.lock", "sub/q.state", "sub", "" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(fixture->dir, names[i], NULL);
        g_remove(path);
    }
    g_assert_false(g_file_test(fixture->dir, G_FILE_TEST_EXISTS));
    g_free(fixture->dir);
    g_free(fixture->path);
}

static int
post(hubkey_client *client, uint64_t *seq)
{
    struct hubkey_message message = { .size = sizeof message, .body = "x", .len = 1 };
    return hubkey_client_post(client, &message, 0, seq, NULL);
}

static struct hubkey_stats
stats_of(hubkey_client *client)
{
    struct hubkey_stats stats = { .size = sizeof stats };
    g_assert_cmpint(hubkey_client_stats(client, &stats), ==, 0);
    return stats;
}

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    struct fixture *fixture = user;
    fixture->states++;
    fixture->inner[0] = hubkey_client_dispatch(fixture->client);
    fixture->inner[1] = hubkey_client_wait(fixture->client, 0);
    fixture->inner[2] = hubkey_client_flush(fixture->client, 0, NULL);
    fixture->inner[3] = post(fixture->client, NULL);
    if (fixture->close_inside)
        g_assert_cmpint(hubkey_client_close(fixture->client, -1), ==, HUBKEY_E_TIMEOUT);
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    ((struct fixture *)user)->gone++;
}

static void
on_log(int32_t level, const char *text, void *user)
{
    ((struct fixture *)user)->logs++;
}

static void
test_offline(void)
{
    struct fixture fixture;
    struct hubkey_error error;
    uint64_t seq;
    fixture_open(&fixture, 0);
    g_assert_cmpint(post(fixture.client, &seq), ==, 0);
    g_assert_cmpuint(seq, ==, 1);
    g_assert_cmpint(hubkey_client_wait_seq(fixture.client, 1, 0), ==, HUBKEY_E_TIMEOUT);
    g_assert_cmpint(hubkey_client_wait_seq(fixture.client, 2, 0), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_fate(fixture.client, 1), ==, 0);
    g_assert_cmpint(hubkey_client_fate(fixture.client, 2), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_fate(NULL, 1), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_wait_seq(fixture.client, 0, 0), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_flush(fixture.client, 10, &error), ==, HUBKEY_E_TIMEOUT);
    g_assert_cmpstr(error.text, !=, "");
    struct hubkey_stats stats = stats_of(fixture.client);
    g_assert_cmpuint(stats.counts.waiting, ==, 1);
    g_assert_cmpuint(stats.requests, ==, 0);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);
    /* It is still there for the next one. */
    g_assert_cmpint(hubkey_client_open(&fixture.options, &fixture.client, NULL), ==, 0);
    g_assert_cmpuint(stats_of(fixture.client).counts.waiting, ==, 1);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);
    remove_files(&fixture);
}

static void
expect_open_fails(const struct hubkey_options *options, int number)
{
    hubkey_client *client = (hubkey_client *)options;
    struct hubkey_error error;
    g_assert_cmpint(hubkey_client_open(options, &client, &error), ==, number);
    g_assert_null(client);
    g_assert_cmpint(error.code, ==, number);
    g_assert_cmpuint(strlen(error.text), >, 10);
}

static void
test_options(void)
{
    const struct hubkey_options good = { .size = sizeof good, .queue_path = "/nonexistent/../x" };
    struct hubkey_options options = good;
    options.slot = 65536;
    expect_open_fails(&options, HUBKEY_E_INVALID);
    options = good, options.policy = 3;
    expect_open_fails(&options, HUBKEY_E_INVALID);
    options = good, options.flags = 4;
    expect_open_fails(&options, HUBKEY_E_INVALID);
    options = good, options.connect_to = "localhost";
    expect_open_fails(&options, HUBKEY_E_INVALID);
    options = good, options.ca_file = "/nonexistent/ca.pem";
    expect_open_fails(&options, HUBKEY_E_INVALID);
    options = good, options.request_timeout_ms = UINT32_MAX;
    expect_open_fails(&options, HUBKEY_E_INVALID);
    options = good, options.size = 4;
    expect_open_fails(&options, HUBKEY_E_SIZE);
    options = good, options.queue_path = "/proc/1/q";
    expect_open_fails(&options, HUBKEY_E_QUEUE_OPEN);
    expect_open_fails(NULL, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_open(&good, NULL, NULL), ==, HUBKEY_E_INVALID);
}

static void
test_nothing(void)
{
    g_assert_cmpint(hubkey_client_close(NULL, 0), ==, 0);
    g_assert_cmpint(post(NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_fd(NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_flush(NULL, 0, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_token(65536, NULL, 0, NULL, NULL, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_path(65536, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_status("/nonexistent/q", NULL, NULL), ==, HUBKEY_E_QUEUE_OPEN);
    g_assert_cmpint(hubkey_queue_drop("/nonexistent/q", 4, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_rebind("/nonexistent/q", "h", NULL, NULL, NULL), ==, HUBKEY_E_INVALID);
}

static void
test_no_daemon(void)
{
    struct hubkey_error error;
    char *token = NULL;
    g_assert_cmpint(hubkey_token(0, "", 0, "", &token, NULL, &error), ==, HUBKEY_E_UNREACHABLE);
    g_assert_null(token);
    g_assert_cmpstr(error.text, !=, "");
}

static void
test_many(void)
{
    struct fixture fixture;
    struct hubkey_error error;
    struct hubkey_message good = { .size = sizeof good, .body = "x", .len = 1 }, bad = good;
    const struct hubkey_message *messages[] = { &good, &good, &bad };
    uint64_t first = 77;
    bad.id = "not an id";
    fixture_open(&fixture, HUBKEY_FLAG_QUEUE_ONLY);
    g_assert_cmpint(hubkey_client_post_many(fixture.client, messages, 3, 0, &first, &error), ==, HUBKEY_E_INVALID);
    g_assert_nonnull(strstr(error.text, "message 3 of 3"));
    g_assert_cmpuint(first, ==, 77);
    g_assert_cmpuint(stats_of(fixture.client).counts.accepted, ==, 0);
    g_assert_cmpint(hubkey_client_post_many(fixture.client, messages, 0, 0, &first, &error), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_client_post_many(fixture.client, messages, 2, 0, &first, &error), ==, 0);
    g_assert_cmpuint(first, ==, 1);
    g_assert_cmpint(stats_of(fixture.client).state, ==, HUBKEY_STATE_STOPPED);
    g_assert_cmpint(hubkey_client_close(fixture.client, -1), ==, HUBKEY_E_TIMEOUT); /* queue-only waits for nobody */
    remove_files(&fixture);
}

/* The descriptor is readable exactly while there is something to run. */
static void
test_callbacks(void)
{
    struct fixture fixture;
    fixture_open(&fixture, 0);
    struct pollfd waiting = { .fd = hubkey_client_fd(fixture.client), .events = POLLIN };
    g_assert_cmpint(hubkey_client_set_callbacks(fixture.client, on_state, on_gone, on_log, &fixture), ==, 0);
    g_assert_cmpint(post(fixture.client, NULL), ==, 0);
    while (fixture.states == 0) /* offline, soon: nobody is on the bus */
        g_assert_cmpint(hubkey_client_wait(fixture.client, 20000), >, 0);
    for (int i = 0; i < 3; i++)
        g_assert_cmpint(fixture.inner[i], ==, HUBKEY_E_RECURSION);
    g_assert_cmpint(fixture.inner[3], ==, 0);
    hubkey_client_set_callbacks(fixture.client, NULL, NULL, NULL, NULL);
    while (hubkey_client_dispatch(fixture.client) > 0)
        continue;
    g_assert_cmpint(poll(&waiting, 1, 0), ==, 0);
    g_assert_cmpint(hubkey_client_wait(fixture.client, 0), ==, 0);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);
    remove_files(&fixture);
}

static void
test_close_inside(void)
{
    struct fixture fixture;
    int result = 0;
    fixture_open(&fixture, 0);
    fixture.close_inside = true;
    g_assert_cmpint(hubkey_client_set_callbacks(fixture.client, on_state, NULL, NULL, &fixture), ==, 0);
    g_assert_cmpint(post(fixture.client, NULL), ==, 0);
    while (fixture.states == 0)
        result = hubkey_client_wait(fixture.client, 20000);
    g_assert_cmpint(result, ==, HUBKEY_E_CLOSED);
    remove_files(&fixture);
}

static void
test_drop_events(void)
{
    struct fixture fixture;
    fixture_open(&fixture, HUBKEY_FLAG_QUEUE_ONLY);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, 0);
    fixture.options.policy = HUBKEY_POLICY_DROP_OLDEST;
    fixture.options.max_messages = 2;
    g_assert_cmpint(hubkey_client_open(&fixture.options, &fixture.client, NULL), ==, 0);
    hubkey_client_set_callbacks(fixture.client, NULL, on_gone, NULL, &fixture);
    for (int i = 0; i < 10; i++)
        g_assert_cmpint(post(fixture.client, NULL), ==, 0);
    g_assert_cmpint(hubkey_client_dispatch(fixture.client), ==, 1); /* 1 to 8 as one range */
    g_assert_cmpint(hubkey_client_wait_seq(fixture.client, 8, 0), ==, HUBKEY_E_GONE);
    g_assert_cmpint(hubkey_client_fate(fixture.client, 8), >, HUBKEY_GONE_DELIVERED);
    g_assert_cmpuint(stats_of(fixture.client).counts.dropped, ==, 8);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);
    remove_files(&fixture);
}

/* Whether the sending thread sleeps. */
static bool
is_asleep(void)
{
    bool asleep = false;
    GDir *tasks = g_dir_open("/proc/self/task", 0, NULL);
    for (const char *task; (task = g_dir_read_name(tasks));) {
        g_autofree char *path = g_build_filename("/proc/self/task", task, "stat", NULL), *stat = NULL;
        if (g_file_get_contents(path, &stat, NULL, NULL) && strstr(stat, "(hubkey) S"))
            asleep = true;
    }
    g_dir_close(tasks);
    return asleep;
}

/* A child can do nothing with its parent's client, and opens one of its own. The thread is at rest at that moment only
 * because AddressSanitizer's allocator, unlike the C library's, does not survive a fork otherwise. */
static void
test_fork(void)
{
    struct fixture fixture;
    int status;
#ifdef __SANITIZE_THREAD__
    g_test_skip("ThreadSanitizer knows no threads in a child that was forked beside threads");
    return;
#endif
    fixture_open(&fixture, 0);
    while (stats_of(fixture.client).state != HUBKEY_STATE_OFFLINE || !is_asleep())
        hubkey_client_wait(fixture.client, 10);
    pid_t child = fork();
    if (child == 0) {
        struct hubkey_stats stats = { .size = sizeof stats };
        hubkey_client *own;
        bool good = post(fixture.client, NULL) == HUBKEY_E_FORKED &&
                    hubkey_client_fd(fixture.client) == HUBKEY_E_FORKED &&
                    hubkey_client_stats(fixture.client, &stats) == HUBKEY_E_FORKED &&
                    hubkey_client_dispatch(fixture.client) == HUBKEY_E_FORKED &&
                    hubkey_client_close(fixture.client, 0) == HUBKEY_E_FORKED &&
                    hubkey_client_open(&fixture.options, &own, NULL) == 0 && post(own, NULL) == 0;
        if (good)
            hubkey_client_close(own, 0);
        _exit(good ? 0 : 1);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpuint(stats_of(fixture.client).counts.waiting, ==, 1);
    g_assert_cmpint(post(fixture.client, NULL), ==, 0);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);
    remove_files(&fixture);
}

/* Signals stay the program's: the disposition of SIGPIPE too, which libdbus would like to change. */
static void
test_guest(void)
{
    struct fixture fixture;
    struct sigaction before, after;
    sigset_t mask_before, mask_after;
    sigemptyset(&mask_before);
    sigemptyset(&mask_after);
    sigaction(SIGPIPE, NULL, &before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    fixture_open(&fixture, 0);
    g_assert_cmpint(post(fixture.client, NULL), ==, 0);
    g_assert_cmpint(hubkey_client_flush(fixture.client, 50, NULL), ==, HUBKEY_E_TIMEOUT);
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);
    sigaction(SIGPIPE, NULL, &after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    g_assert_true(before.sa_handler == after.sa_handler);
    for (int number = 1; number < SIGRTMAX; number++)
        g_assert_cmpint(sigismember(&mask_before, number), ==, sigismember(&mask_after, number));
    remove_files(&fixture);
}

/* A host whose sandbox knows no getrandom and has no descriptor left: posts that need an id of ours fail, the others
 * and the program go on. */
static bool
posts_without_random(void)
{
    struct fixture fixture;
    struct hubkey_error error;
    struct hubkey_message message = { .size = sizeof message };
    fixture_open(&fixture, HUBKEY_FLAG_QUEUE_ONLY);
    refuse_descriptors(0);
    if (post(fixture.client, NULL) != 0 || !refuse_getrandom())
        return false;
    int result = hubkey_client_post(fixture.client, &message, 0, NULL, &error);
    message.id = "1";
    bool good = result == HUBKEY_E_SYSTEM && strstr(error.text, "getrandom") &&
                hubkey_client_post(fixture.client, &message, 0, NULL, NULL) == 0 &&
                stats_of(fixture.client).counts.waiting == 2 &&
                hubkey_client_close(fixture.client, 0) == HUBKEY_E_TIMEOUT;
    remove_files(&fixture);
    return good;
}

/* Descriptors run out at each step of opening: that one fails, says why, and leaves none behind. The last to fail is
 * libcurl, which would go without the pair that wakes its thread. The first that opens posts and closes at once. */
static bool
opens_with_few_descriptors(void)
{
    struct fixture fixture;
    struct hubkey_error error;
    fixture_open(&fixture, 0); /* what the process itself opens once */
    bool good = post(fixture.client, NULL) == 0 && hubkey_client_close(fixture.client, 0) == HUBKEY_E_TIMEOUT;
    unsigned before = refuse_count_descriptors(), limit = before, usual = refuse_descriptors(limit);
    int result, without_libcurl = 0, without_file = 0;
    do {
        refuse_descriptors(limit++);
        result = hubkey_client_open(&fixture.options, &fixture.client, &error);
        good = good && (result == 0 || (strlen(error.text) > 10 && refuse_count_descriptors() == before));
        without_libcurl += result == HUBKEY_E_SYSTEM && strstr(error.text, "libcurl");
        without_file += result == HUBKEY_E_QUEUE_OPEN && strstr(error.text, g_strerror(EMFILE));
        good = good && result != HUBKEY_E_QUEUE_DAMAGED;
    } while (good && result != 0);
    int64_t begun_us = g_get_monotonic_time();
    good = good && limit > before + 5 && without_libcurl > 0 && without_file > 0 && post(fixture.client, NULL) == 0 &&
           hubkey_client_flush(fixture.client, 100, &error) == HUBKEY_E_TIMEOUT &&
           stats_of(fixture.client).counts.waiting == 2 && /* what could not be read was not taken for damaged */
           hubkey_client_close(fixture.client, 0) == HUBKEY_E_TIMEOUT &&
           g_get_monotonic_time() - begun_us < 20 * G_USEC_PER_SEC;
    refuse_descriptors(usual);
    if (good)
        remove_files(&fixture);
    return good;
}

static void
test_no_descriptors(void)
{
    g_assert_true(refuse_in_child(opens_with_few_descriptors));
}

static void
test_no_random(void)
{
    if (!refuse_in_child(refuse_getrandom)) {
        g_test_skip("no seccomp filters here");
        return;
    }
    g_assert_true(refuse_in_child(posts_without_random));
}

/* Queues without a client: what tools do. */
static void
test_tools(void)
{
    struct fixture fixture;
    struct hubkey_queue_info info = { .size = sizeof info };
    struct hubkey_error error;
    uint64_t n;
    fixture_open(&fixture, 0);
    g_assert_cmpint(post(fixture.client, NULL), ==, 0);
    while (stats_of(fixture.client).state == HUBKEY_STATE_CONNECTING) /* it holds the lock once it looked for hubkeyd */
        hubkey_client_flush(fixture.client, 10, NULL);
    g_assert_cmpint(hubkey_queue_status(fixture.path, &info, &error), ==, 0);
    g_assert_cmpint(info.holder_pid, ==, getpid());
    g_assert_cmpstr(info.holder, ==, "test-client");
    g_assert_cmpuint(info.counts.waiting, ==, 1);
    g_assert_cmpint(info.oldest_ms, >, 0);
    g_assert_cmpstr(info.host, ==, "");
    g_assert_cmpint(hubkey_queue_drop(fixture.path, HUBKEY_DROP_WAITING, &n, &error), ==, HUBKEY_E_QUEUE_HELD);
    g_assert_cmpint(hubkey_queue_rebind(fixture.path, "h.example", "d", NULL, &error), ==, HUBKEY_E_QUEUE_HELD);
    g_assert_nonnull(strstr(error.text, "test-client"));
    g_assert_cmpint(hubkey_client_close(fixture.client, 0), ==, HUBKEY_E_TIMEOUT);

    g_assert_cmpint(hubkey_queue_rebind(fixture.path, "not a host", "d", NULL, &error), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_rebind(fixture.path, "H.example", "d", "m", &error), ==, 0);
    g_assert_cmpint(hubkey_queue_status(fixture.path, &info, &error), ==, 0);
    g_assert_cmpint(info.holder_pid, ==, 0);
    g_assert_cmpstr(info.host, ==, "h.example");
    g_assert_cmpstr(info.module, ==, "m");
    g_assert_cmpint(hubkey_queue_drop(fixture.path, HUBKEY_DROP_WAITING | HUBKEY_DROP_DEAD, &n, &error), ==, 0);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpint(hubkey_queue_status(fixture.path, &info, &error), ==, 0);
    g_assert_cmpuint(info.counts.removed, ==, 1);
    g_assert_cmpstr(info.host, ==, "");
    remove_files(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* Nobody is there, and nobody on this machine is disturbed. */
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", TRUE);
    g_unsetenv("HUBKEY_CA_FILE");
    g_unsetenv("HUBKEY_CONNECT_TO");
    g_test_add_func("/client/fork", test_fork);
    g_test_add_func("/client/offline", test_offline);
    g_test_add_func("/client/options", test_options);
    g_test_add_func("/client/nothing", test_nothing);
    g_test_add_func("/client/no-daemon", test_no_daemon);
    g_test_add_func("/client/many", test_many);
    g_test_add_func("/client/callbacks", test_callbacks);
    g_test_add_func("/client/close-inside", test_close_inside);
    g_test_add_func("/client/drop-events", test_drop_events);
    g_test_add_func("/client/guest", test_guest);
    g_test_add_func("/client/no-descriptors", test_no_descriptors);
    g_test_add_func("/client/no-random", test_no_random);
    g_test_add_func("/client/tools", test_tools);
    return g_test_run();
}
