/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/commit.c: bounds and policies, many threads on one flush, and kill -9 at any moment.
 */
#include <config.h>

#include "client/commit.h"
#include "client/failure.h"
#include "common/clock.h"
#include "tests/lib/scratch.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 50
#define THREADS 8
#define POSTS 50

struct fixture {
    struct scratch scratch;
    struct commit *commit;
    uint64_t dropped_first, dropped_last;
    uint64_t dropped; /* a bit for each number that was told */
    int how;
    int posted; /* atomic: transactions */
};

static void
on_posted(void *user)
{
    g_atomic_int_inc(&((struct fixture *)user)->posted);
}

static void
on_dropped(uint64_t first, uint64_t last, int how, void *user)
{
    struct fixture *fixture = user;
    fixture->how = how;
    fixture->dropped_first = first;
    fixture->dropped_last = last;
    for (uint64_t seq = first; seq <= last && seq < 64; seq++)
        fixture->dropped |= UINT64_C(1) << seq;
}

static struct fixture *
fixture_new(const struct commit_limits *limits)
{
    static const struct commit_limits none = { UINT64_MAX, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    struct fixture *fixture = g_new0(struct fixture, 1);
    const struct commit_hooks hooks = { on_posted, on_dropped, NULL, fixture };
    scratch_open(&fixture->scratch);
    fixture->commit = commit_new(fixture->scratch.queue, fixture->scratch.path, fixture->scratch.lock,
                                 limits ? limits : &none, &hooks);
    return fixture;
}

static void
fixture_free(struct fixture *fixture)
{
    scratch_counts(&fixture->scratch);
    commit_free(fixture->commit);
    scratch_close(&fixture->scratch);
    g_free(fixture);
}

/* The number of the message, 0 where it was refused for lack of room. */
static uint64_t
post(struct fixture *fixture, size_t n, int64_t deadline_us)
{
    struct message messages[8] = { 0 };
    uint64_t seq = 0;
    g_autoptr(GError) error = NULL;
    g_assert_cmpuint(n, <=, G_N_ELEMENTS(messages));
    for (size_t i = 0; i < n; i++)
        messages[i] = scratch_message("0123456789");
    if (!commit_post(fixture->commit, messages, n, deadline_us, &seq, &error)) {
        g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_FULL);
        seq = 0;
    }
    for (size_t i = 0; i < n; i++)
        message_clear(&messages[i]);
    return seq;
}

static void
test_numbers(void)
{
    struct fixture *fixture = fixture_new(NULL);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 1);
    g_assert_cmpuint(post(fixture, 3, 0), ==, 2);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 5);
    g_assert_cmpint(fixture->posted, ==, 3);
    fixture_free(fixture);
}

static void
test_refuse(void)
{
    const struct commit_limits limits = { 4, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    struct fixture *fixture = fixture_new(&limits);
    g_assert_cmpuint(post(fixture, 3, 0), ==, 1);
    g_assert_cmpuint(post(fixture, 2, 0), ==, 0); /* all or none */
    g_assert_cmpuint(post(fixture, 1, 0), ==, 4);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 0);
    g_assert_true(queue_delivered(fixture->scratch.queue, 1, 2, NULL));
    g_assert_cmpuint(post(fixture, 2, 0), ==, 5);
    g_assert_cmpuint(scratch_counts(&fixture->scratch).accepted, ==, 6);
    fixture_free(fixture);
}

static void
test_bytes(void)
{
    struct message one = scratch_message("0123456789");
    const struct commit_limits limits = { UINT64_MAX, 2 * (uint64_t)one.counted, 0, HUBKEY_POLICY_REFUSE };
    struct fixture *fixture = fixture_new(&limits);
    g_assert_cmpuint(post(fixture, 2, 0), ==, 1);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 0);
    message_clear(&one);
    fixture_free(fixture);
}

static void
test_free_disk(void)
{
    const struct commit_limits limits = { UINT64_MAX, UINT64_MAX, UINT64_MAX - 1, HUBKEY_POLICY_REFUSE };
    struct fixture *fixture = fixture_new(&limits);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 0);
    fixture_free(fixture);
}

static void
test_drop_oldest(void)
{
    const struct commit_limits limits = { 4, UINT64_MAX, 0, HUBKEY_POLICY_DROP_OLDEST };
    struct fixture *fixture = fixture_new(&limits);
    bool still;
    g_assert_cmpuint(post(fixture, 4, 0), ==, 1);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 5);
    g_assert_cmpuint(fixture->dropped_first, ==, 1);
    g_assert_cmpuint(fixture->dropped_last, ==, 1);
    /* What somebody is sending stays: 2 and 3 here. */
    g_assert_true(lock_try(fixture->scratch.lock));
    g_assert_true(queue_claim(fixture->scratch.queue, 2, 3, 2, &still, NULL));
    g_assert_true(still);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 6);
    g_assert_cmpuint(fixture->dropped_first, ==, 4);
    g_assert_cmpuint(post(fixture, 3, 0), ==, 0); /* two could go, three would have to */
    g_assert_cmpuint(post(fixture, 8, 0), ==, 0);
    struct hubkey_counts counts = scratch_counts(&fixture->scratch);
    g_assert_cmpuint(counts.dropped, ==, 2);
    g_assert_cmpuint(counts.waiting, ==, 4);
    fixture_free(fixture);
}

/* What left another way stands between those that are dropped, and is not told as dropped. */
static void
test_between(void)
{
    const struct commit_limits limits = { 4, UINT64_MAX, 0, HUBKEY_POLICY_DROP_OLDEST };
    struct fixture *fixture = fixture_new(&limits);
    struct queue *queue = fixture->scratch.queue;
    g_assert_cmpuint(post(fixture, 4, 0), ==, 1);
    g_assert_true(queue_bury(queue, 2, 413, "too large", NULL));
    g_assert_cmpuint(post(fixture, 3, 0), ==, 5);
    g_assert_cmpuint(fixture->dropped, ==, 1 << 1 | 1 << 3);
    g_assert_cmpint(queue_fate(queue, 1, NULL), ==, HUBKEY_GONE_DROPPED);
    g_assert_cmpint(queue_fate(queue, 2, NULL), ==, HUBKEY_GONE_DEAD);
    g_assert_cmpint(queue_fate(queue, 3, NULL), ==, HUBKEY_GONE_DROPPED);
    g_assert_true(queue_delivered(queue, 5, 5, NULL));
    g_assert_cmpuint(post(fixture, 3, 0), ==, 8); /* 4 and 6 are dropped around it */
    g_assert_cmpuint(fixture->dropped, ==, 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6);
    g_assert_cmpint(queue_fate(queue, 5, NULL), ==, HUBKEY_GONE_DELIVERED);
    fixture_free(fixture);
}

/* Without a sender that would do it, a post makes room of what has come to its time. */
static void
test_expired(void)
{
    const struct commit_limits limits = { 2, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    scratch_clock_start();
    struct fixture *fixture = fixture_new(&limits);
    scratch_post_for(&fixture->scratch, "for a second", 1);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 2);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 0);
    scratch_clock_move(1);
    g_assert_true(lock_try(fixture->scratch.lock)); /* who sends may have it in a request */
    g_assert_cmpuint(post(fixture, 1, 0), ==, 0);
    commit_free(fixture->commit);
    scratch_reopen(&fixture->scratch); /* nobody sends any more */
    const struct commit_hooks hooks = { on_posted, on_dropped, NULL, fixture };
    fixture->commit = commit_new(fixture->scratch.queue, fixture->scratch.path, fixture->scratch.lock, &limits, &hooks);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 3);
    g_assert_cmpint(fixture->how, ==, HUBKEY_GONE_EXPIRED);
    g_assert_cmpuint(fixture->dropped_first, ==, 1);
    fixture_free(fixture);
    clock_set_source(NULL);
}

/* No waiting helps. */
static void
test_never_fits(void)
{
    static const uint32_t policies[] = { HUBKEY_POLICY_REFUSE, HUBKEY_POLICY_BLOCK, HUBKEY_POLICY_DROP_OLDEST };
    for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
        const struct commit_limits limits = { 4, UINT64_MAX, 0, policies[i] };
        struct fixture *fixture = fixture_new(&limits);
        g_assert_cmpuint(post(fixture, 3, 0), ==, 1);
        g_assert_cmpuint(post(fixture, 5, INT64_MAX), ==, 0);
        g_assert_cmpuint(scratch_counts(&fixture->scratch).waiting, ==, 3);
        fixture_free(fixture);
    }
}

/* Who first asks for drop-oldest cannot know what the sender has in a request. */
static void
test_first_drop(void)
{
    const struct commit_limits limits = { 4, UINT64_MAX, 0, HUBKEY_POLICY_DROP_OLDEST };
    struct fixture *fixture = fixture_new(&limits);
    bool still;
    g_assert_cmpuint(post(fixture, 4, 0), ==, 1);
    g_assert_true(lock_try(fixture->scratch.lock));
    g_assert_true(queue_allow_drops(fixture->scratch.queue, NULL));
    g_assert_cmpuint(post(fixture, 1, 0), ==, 0);
    g_assert_true(queue_claim(fixture->scratch.queue, 1, 2, 2, &still, NULL));
    g_assert_cmpuint(post(fixture, 1, 0), ==, 5);
    g_assert_cmpuint(fixture->dropped_first, ==, 3);
    fixture_free(fixture);
}

static gpointer
post_patiently(gpointer data)
{
    return GSIZE_TO_POINTER(post(data, 1, INT64_MAX));
}

/* While another process writes for long, posts of the patient wait, but keep nobody from the gate. */
static void
test_foreign_writer(void)
{
    struct fixture *fixture = fixture_new(NULL);
    struct queue *foreign = queue_open(fixture->scratch.path, NULL, NULL, NULL);
    g_assert_true(queue_begin(foreign, QUEUE_BUSY_MS, NULL));
    GThread *thread = g_thread_new("patient", post_patiently, fixture);
    struct message message = scratch_message("x");
    uint64_t seq;
    g_autoptr(GError) error = NULL;
    g_assert_false(commit_post(fixture->commit, &message, 1, 0, &seq, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_LOCKED);
    queue_rollback(foreign);
    g_assert_cmpuint(GPOINTER_TO_SIZE(g_thread_join(thread)), ==, 1);
    queue_close(foreign);
    message_clear(&message);
    fixture_free(fixture);
}

static gpointer
make_room(gpointer data)
{
    struct fixture *fixture = data;
    struct queue *own = queue_open(fixture->scratch.path, NULL, NULL, NULL);
    g_assert_true(queue_delivered(own, 1, 1, NULL));
    queue_close(own);
    commit_room(fixture->commit);
    return NULL;
}

static void
test_block(void)
{
    const struct commit_limits limits = { 1, UINT64_MAX, 0, HUBKEY_POLICY_BLOCK };
    struct fixture *fixture = fixture_new(&limits);
    int64_t begun = clock_monotonic_us();
    g_assert_cmpuint(post(fixture, 1, 0), ==, 1);
    g_assert_cmpuint(post(fixture, 1, begun + 50000), ==, 0);
    g_assert_cmpint(clock_monotonic_us() - begun, >=, 50000);
    GThread *thread = g_thread_new("room", make_room, fixture);
    g_assert_cmpuint(post(fixture, 1, INT64_MAX), ==, 2);
    g_thread_join(thread);
    fixture_free(fixture);
}

static gpointer
shut(gpointer data)
{
    commit_shut(data);
    return NULL;
}

static void
test_shut(void)
{
    const struct commit_limits limits = { 1, UINT64_MAX, 0, HUBKEY_POLICY_BLOCK };
    struct fixture *fixture = fixture_new(&limits);
    struct message message = scratch_message("x");
    uint64_t seq;
    g_autoptr(GError) error = NULL;
    g_assert_cmpuint(post(fixture, 1, 0), ==, 1);
    GThread *thread = g_thread_new("shut", shut, fixture->commit);
    g_assert_false(commit_post(fixture->commit, &message, 1, INT64_MAX, &seq, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_CLOSED);
    g_thread_join(thread);
    message_clear(&message);
    fixture_free(fixture);
}

static gpointer
post_many(gpointer data)
{
    struct fixture *fixture = data;
    uint64_t before = 0;
    for (int i = 0; i < POSTS; i++) {
        uint64_t seq = post(fixture, 1, INT64_MAX);
        g_assert_cmpuint(seq, >, before);
        before = seq;
    }
    return NULL;
}

static void
test_threads(void)
{
    struct fixture *fixture = fixture_new(NULL);
    GThread *threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("poster", post_many, fixture);
    for (int i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    struct hubkey_counts counts = scratch_counts(&fixture->scratch);
    g_assert_cmpuint(counts.accepted, ==, THREADS * POSTS);
    g_assert_cmpuint(counts.last_seq, ==, THREADS * POSTS);
    g_assert_cmpint(fixture->posted, <, THREADS * POSTS / 2); /* they share flushes */
    fixture_free(fixture);
}

static void
test_identity(void)
{
    struct fixture *fixture = fixture_new(NULL);
    g_autoptr(identity_auto) identity = identity_new();
    identity->host = g_strdup("h.azure-devices.net");
    identity->device = g_strdup("d");
    commit_set_identity(fixture->commit, identity);
    g_assert_cmpuint(post(fixture, 1, 0), ==, 1);
    g_autoptr(identity_auto) found = queue_get_identity(fixture->scratch.queue, NULL);
    g_assert_cmpstr(found->device, ==, "d");
    fixture_free(fixture);
}

/* ---- kill -9. A child posts and tells each number once its post returned; it is killed at a random moment. */

static void
post_until_killed(const char *path, int acks)
{
    static const struct commit_limits none = { UINT64_MAX, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    struct commit_hooks hooks = { 0 };
    struct lock *lock = lock_open(path, true, NULL);
    struct queue *queue = queue_open(path, lock, NULL, NULL);
    struct commit *commit = commit_new(queue, path, lock, &none, &hooks);
    for (;;) {
        struct message message = scratch_message("a message of the child that will be killed");
        uint64_t seq;
        if (!commit_post(commit, &message, 1, INT64_MAX, &seq, NULL) || write(acks, &seq, sizeof seq) != sizeof seq)
            _exit(1);
        message_clear(&message);
    }
}

static uint64_t
kill_a_poster(const char *path)
{
    int ends[2];
    uint64_t seq, last = 0;
    g_assert_cmpint(pipe(ends), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        post_until_killed(path, ends[1]);
    }
    close(ends[1]);
    /* Killed in the middle of some post, after at least one was acknowledged. */
    int n = g_random_int_range(1, 40);
    for (int i = 0; i < n && read(ends[0], &seq, sizeof seq) == sizeof seq; i++)
        last = seq;
    for (volatile guint spin = g_random_int_range(0, 300000); spin > 0; spin--)
        continue;
    kill(child, SIGKILL);
    while (read(ends[0], &seq, sizeof seq) == sizeof seq)
        last = seq;
    close(ends[0]);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    g_assert_cmpuint(last, >, 0);
    return last;
}

static void
test_kill(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t acknowledged = kill_a_poster(scratch.path);
        scratch_reopen(&scratch);
        struct hubkey_counts counts = scratch_counts(&scratch);
        g_assert_cmpuint(counts.last_seq, >=, acknowledged);
        g_assert_cmpuint(counts.waiting, ==, counts.last_seq); /* none is missing in between */
        struct queue_row row;
        uint64_t expected = 0;
        queue_scan(scratch.queue, 0);
        while (queue_scan_next(scratch.queue, &row, NULL) == 1)
            g_assert_cmpuint(row.seq, ==, ++expected);
        queue_scan_end(scratch.queue);
        g_assert_cmpuint(expected, ==, counts.last_seq);
    }
    scratch_close(&scratch);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/commit/kill", test_kill); /* first: it forks, and threads come later */
    g_test_add_func("/commit/numbers", test_numbers);
    g_test_add_func("/commit/refuse", test_refuse);
    g_test_add_func("/commit/bytes", test_bytes);
    g_test_add_func("/commit/free-disk", test_free_disk);
    g_test_add_func("/commit/drop-oldest", test_drop_oldest);
    g_test_add_func("/commit/between", test_between);
    g_test_add_func("/commit/expired", test_expired);
    g_test_add_func("/commit/never-fits", test_never_fits);
    g_test_add_func("/commit/first-drop", test_first_drop);
    g_test_add_func("/commit/foreign-writer", test_foreign_writer);
    g_test_add_func("/commit/block", test_block);
    g_test_add_func("/commit/shut", test_shut);
    g_test_add_func("/commit/threads", test_threads);
    g_test_add_func("/commit/identity", test_identity);
    return g_test_run();
}
