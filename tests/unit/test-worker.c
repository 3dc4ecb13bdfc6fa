/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/worker.c: fair turns, deadlines kept by the main thread, and an end even when a job never comes back.
 */
#include <config.h>

#include "daemon/worker.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"

#include <string.h>

#define LIMIT_US (5 * G_USEC_PER_SEC)
#define DEADLINES_LOOKED_AT_US (300 * 1000) /* more than daemon/worker.c waits between two looks */

struct fixture {
    struct worker *worker;
    GThread *main_thread;
    GMutex lock;
    GCond changed;
    bool held;     /* jobs that are gated wait until this is false */
    bool inside;   /* a gated job has begun */
    GString *ran;  /* the names of jobs, in the order in which they ran */
    GString *done; /* the same for done, expire and drop: "a" "A!" "a-" */
};

struct job {
    struct worker_job job;
    struct fixture *fixture;
    char name;
    bool gated;
    bool withdraw_when_late;
};

static void
run(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    struct fixture *fixture = job->fixture;
    g_assert_true(g_thread_self() != fixture->main_thread);
    g_mutex_lock(&fixture->lock);
    g_string_append_c(fixture->ran, job->name);
    fixture->inside |= job->gated;
    g_cond_broadcast(&fixture->changed);
    while (job->gated && fixture->held)
        g_cond_wait(&fixture->changed, &fixture->lock);
    g_mutex_unlock(&fixture->lock);
}

static void
done(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    g_assert_true(g_thread_self() == job->fixture->main_thread);
    g_string_append_c(job->fixture->done, job->name);
    g_free(job);
}

static void
drop(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    g_string_append_printf(job->fixture->done, "%c-", job->name);
    g_free(job);
}

static void
expire(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    g_assert_true(g_thread_self() == job->fixture->main_thread);
    g_string_append_printf(job->fixture->done, "%c!", job->name);
    if (job->withdraw_when_late && worker_withdraw(job->fixture->worker, base))
        g_free(job);
}

static struct job *
submit(struct fixture *fixture, uid_t uid, char name)
{
    struct job *job = g_new0(struct job, 1);
    *job = (struct job){ .job = { .run = run, .done = done, .drop = drop, .expire = expire, .limit_us = LIMIT_US },
                         .fixture = fixture, .name = name, .gated = name == 'G' };
    worker_submit(fixture->worker, uid, &job->job);
    return job;
}

/* Keeps the worker busy with job G until release. */
static struct job *
hold(struct fixture *fixture)
{
    fixture->held = true;
    fixture->inside = false;
    struct job *job = submit(fixture, 7, 'G');
    g_mutex_lock(&fixture->lock);
    while (!fixture->inside)
        g_cond_wait(&fixture->changed, &fixture->lock);
    g_mutex_unlock(&fixture->lock);
    return job;
}

static void
release(struct fixture *fixture)
{
    g_mutex_lock(&fixture->lock);
    fixture->held = false;
    g_cond_broadcast(&fixture->changed);
    g_mutex_unlock(&fixture->lock);
}

static bool
is_idle(void *user)
{
    return worker_depth(((struct fixture *)user)->worker) == 0;
}

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    g_mutex_init(&fixture->lock);
    g_cond_init(&fixture->changed);
    fixture->main_thread = g_thread_self();
    fixture->ran = g_string_new(NULL);
    fixture->done = g_string_new(NULL);
    fake_clock_install();
    fixture->worker = worker_new(NULL);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    release(fixture);
    if (fixture->worker)
        g_assert_true(worker_stop(fixture->worker, 20 * G_USEC_PER_SEC));
    fake_clock_remove();
    g_string_free(fixture->ran, TRUE);
    g_string_free(fixture->done, TRUE);
    g_mutex_clear(&fixture->lock);
    g_cond_clear(&fixture->changed);
}

/* ---- a TPM that does not answer ---- */

static bool
two_marks(void *user)
{
    return ((struct fixture *)user)->done->len >= 4;
}

/* The main thread says when a job is late, once; done follows whenever it comes back. */
static void
test_late(struct fixture *fixture, gconstpointer unused)
{
    hold(fixture);
    submit(fixture, 1, 'b');
    fake_clock_pass(LIMIT_US - 1);
    submit(fixture, 1, 'c');
    g_assert_cmpint(worker_busy_us(fixture->worker), ==, LIMIT_US - 1);
    fake_clock_pass(1);
    g_assert_true(await(two_marks, fixture));
    g_assert_cmpstr(fixture->done->str, ==, "G!b!"); /* c has a microsecond less behind it */
    fake_clock_pass(100 * LIMIT_US);
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_string_truncate(fixture->ran, 0);
    g_assert_true(g_str_has_prefix(fixture->done->str, "G!b!"));
    g_assert_nonnull(strstr(fixture->done->str, "Gb")); /* once late is enough */
    g_assert_cmpint(worker_busy_us(fixture->worker), ==, 0);
}

/* What has finished is no longer late, even where the main thread was away for so long that it finds all at once. */
static void
test_told_late(struct fixture *fixture, gconstpointer unused)
{
    int64_t begun = g_get_monotonic_time();
    for (const char *name = "abcd"; *name; name++)
        submit(fixture, 7, *name);
    hold(fixture); /* the same user's, so the others have finished */
    fake_clock_pass(LIMIT_US);
    while (g_get_monotonic_time() < begun + DEADLINES_LOOKED_AT_US)
        g_thread_yield();
    g_main_context_iteration(NULL, TRUE);
    g_assert_nonnull(strstr(fixture->done->str, "G!"));
    for (const char *name = "abcd"; *name; name++)
        g_assert_null(strstr(fixture->done->str, (const char[]){ *name, '!', '\0' }));
    release(fixture);
    g_assert_true(await(is_idle, fixture));
}

/* Who is late and has not begun can be taken out there and then. */
static void
test_late_and_withdrawn(struct fixture *fixture, gconstpointer unused)
{
    hold(fixture);
    for (int i = 0; i < 3; i++)
        submit(fixture, (uid_t)i, 'x')->withdraw_when_late = true;
    fake_clock_pass(LIMIT_US - 1);
    struct job *last = submit(fixture, 1, 'y');
    fake_clock_pass(1);
    while (worker_depth(fixture->worker) != 2)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(fixture->done->str, ==, "G!x!x!x!");
    last->withdraw_when_late = false;
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpstr(fixture->ran->str, ==, "Gy");
}

static void
test_stuck_at_stop(struct fixture *fixture, gconstpointer unused)
{
    hold(fixture);
    submit(fixture, 1, 'a');
    g_assert_false(worker_stop(fixture->worker, 20000));
    g_assert_cmpstr(fixture->done->str, ==, ""); /* nothing may be freed yet */
    release(fixture);
    g_assert_true(worker_stop(fixture->worker, 20 * G_USEC_PER_SEC));
    fixture->worker = NULL;
    g_assert_cmpstr(fixture->done->str, ==, "Ga-");
    g_assert_cmpstr(fixture->ran->str, ==, "G");
}

static bool
has_finished(void *user)
{
    struct fixture *fixture = user;
    return worker_busy_us(fixture->worker) == 0;
}

/* What has run is done, although the loop has not turned since; what waits is dropped. */
static void
test_stop(struct fixture *fixture, gconstpointer unused)
{
    hold(fixture);
    submit(fixture, 1, 'a');
    submit(fixture, 2, 'b');
    release(fixture);
    while (!has_finished(fixture))
        g_thread_yield();
    g_assert_true(worker_stop(fixture->worker, 20 * G_USEC_PER_SEC));
    fixture->worker = NULL;
    g_assert_cmpint(fixture->done->str[0], ==, 'G');
    g_assert_nonnull(strchr(fixture->done->str, 'a'));
    g_assert_nonnull(strchr(fixture->done->str, 'b'));
    for (const char *name = fixture->ran->str; *name; name++) {
        const char dropped[] = { *name, '-', '\0' };
        g_assert_null(strstr(fixture->done->str, dropped));
    }
}

/* ---- turns ---- */

static void
test_turns(struct fixture *fixture, gconstpointer unused)
{
    hold(fixture);
    for (const char *name = "abcdef"; *name; name++)
        submit(fixture, 1000, *name);
    for (const char *name = "mn"; *name; name++)
        submit(fixture, 1001, *name);
    submit(fixture, 0, 'z');
    g_assert_cmpuint(worker_depth(fixture->worker), ==, 10);
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpstr(fixture->ran->str, ==, "Gamzbncdef");
    g_assert_cmpstr(fixture->done->str, ==, fixture->ran->str);
}

/* Whose job runs now has had his turn, however much he has waiting. */
static void
test_newcomer(struct fixture *fixture, gconstpointer unused)
{
    struct job *running = hold(fixture);
    submit(fixture, running->job.uid, 'a');
    submit(fixture, running->job.uid, 'b');
    submit(fixture, 8, 'm');
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpstr(fixture->ran->str, ==, "Gmab");
}

static void
await_ran(struct fixture *fixture, gsize count)
{
    g_mutex_lock(&fixture->lock);
    while (fixture->ran->len < count)
        g_cond_wait(&fixture->changed, &fixture->lock);
    g_mutex_unlock(&fixture->lock);
}

/* What has finished while the main thread was away is told in parts, and others have their turn of the loop between. */
static void
test_burst(struct fixture *fixture, gconstpointer unused)
{
    const gsize burst = 64;
    for (gsize i = 0; i < burst; i++)
        submit(fixture, 1000, 'a');
    await_ran(fixture, burst);
    g_main_context_iteration(NULL, TRUE);
    g_assert_cmpuint(fixture->done->len, <, burst / 2);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(fixture->done->len, ==, burst);
}

/* The TPM can be faster than the main thread: nobody waits there for all of another user's either. */
static void
test_told(struct fixture *fixture, gconstpointer unused)
{
    for (const char *name = "abcd"; *name; name++)
        submit(fixture, 1000, *name);
    await_ran(fixture, 4);
    submit(fixture, 1001, 'm');
    submit(fixture, 1002, 'z');
    await_ran(fixture, 6); /* z has begun, so m has finished */
    g_assert_true(await(is_idle, fixture));
    g_assert_true(g_str_has_prefix(fixture->done->str, "am"));
}

static void
test_withdraw(struct fixture *fixture, gconstpointer unused)
{
    struct job *running = hold(fixture), *only = submit(fixture, 1, 'a'), *first = submit(fixture, 2, 'b');
    submit(fixture, 2, 'c');
    struct job *last = submit(fixture, 2, 'd');
    g_assert_false(worker_withdraw(fixture->worker, &running->job));
    struct job *const out[] = { only, first, last };
    for (size_t i = 0; i < G_N_ELEMENTS(out); i++) {
        g_assert_true(worker_withdraw(fixture->worker, &out[i]->job));
        g_free(out[i]);
    }
    submit(fixture, 1, 'e'); /* a user whose only job was taken out comes again */
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpstr(fixture->ran->str, ==, "Gce");
    /* Finished, but not told yet: too late. */
    struct job *finished = hold(fixture);
    release(fixture);
    while (!has_finished(fixture))
        g_thread_yield();
    g_assert_false(worker_withdraw(fixture->worker, &finished->job));
    g_assert_true(await(is_idle, fixture));
}

/* A job that another user waits for as well takes the earlier turn of the two. */
static void
test_join(struct fixture *fixture, gconstpointer unused)
{
    struct job *running = hold(fixture);
    for (const char *name = "abcd"; *name; name++)
        submit(fixture, 1, *name);
    struct job *shared = submit(fixture, 1, 's'), *late = submit(fixture, 1, 't');
    submit(fixture, 2, 'm');
    worker_join(fixture->worker, 2, &shared->job); /* place 4 with user 1, 1 with user 2 */
    worker_join(fixture->worker, 1, &shared->job); /* not back */
    worker_join(fixture->worker, 3, &late->job);   /* who has nothing else waiting */
    worker_join(fixture->worker, 9, &running->job);
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpstr(fixture->ran->str, ==, "Gamtbscd");
    /* Nothing is gained: it stays where it is. */
    g_string_truncate(fixture->ran, 0);
    hold(fixture);
    struct job *next = submit(fixture, 1, 'a');
    submit(fixture, 2, 'm');
    submit(fixture, 2, 'n');
    worker_join(fixture->worker, 2, &next->job);
    g_assert_true(worker_withdraw(fixture->worker, &next->job)); /* still found where it waits */
    g_free(next);
    release(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpstr(fixture->ran->str, ==, "Gmn");
}

/* Everything that was submitted is done, once, whoever submits from wherever in between. */
static void
test_many(struct fixture *fixture, gconstpointer unused)
{
    guint32 state = 1, submitted = 0, withdrawn = 0;
    for (int i = 0; i < 20000; i++) {
        state = state * 1664525 + 1013904223;
        struct job *job = submit(fixture, state >> 29, 'j');
        submitted++;
        if ((state & 0x700) == 0 && worker_withdraw(fixture->worker, &job->job)) {
            g_free(job);
            withdrawn++;
        }
        if ((state & 0xf000) == 0)
            await_idle();
    }
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(fixture->ran->len, ==, submitted - withdrawn);
    g_assert_cmpuint(fixture->done->len, ==, submitted - withdrawn);
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/worker/late", test_late);
    ADD("/worker/told-late", test_told_late);
    ADD("/worker/late-and-withdrawn", test_late_and_withdrawn);
    ADD("/worker/stuck-at-stop", test_stuck_at_stop);
    ADD("/worker/stop", test_stop);
    ADD("/worker/turns", test_turns);
    ADD("/worker/newcomer", test_newcomer);
    ADD("/worker/burst", test_burst);
    ADD("/worker/told", test_told);
    ADD("/worker/withdraw", test_withdraw);
    ADD("/worker/join", test_join);
    ADD("/worker/many", test_many);
    return g_test_run();
}
