/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/queue*.c, place.c and lock.c: what is refused, what is counted, who holds it.
 */
#include <config.h>

#include "client/failure.h"
#include "client/place.h"
#include "tests/lib/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <sqlite3.h>

static const char *const ten[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };

static struct scratch *
scratch_new(size_t posts)
{
    struct scratch *scratch = g_new0(struct scratch, 1);
    scratch_open(scratch);
    if (posts > 0)
        scratch_post(scratch, ten, posts);
    return scratch;
}

static void
scratch_free(struct scratch *scratch)
{
    scratch_counts(scratch);
    scratch_close(scratch);
    g_free(scratch);
}

static void
expect_fate(struct scratch *scratch, uint64_t seq, int fate)
{
    g_assert_cmpint(queue_fate(scratch->queue, seq, NULL), ==, fate);
}

/* ---- Files */

static void
run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(db);
}

static void
expect_no_queue(const char *path, int number)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(queue_open(path, NULL, NULL, &error));
    g_assert_error(error, FAILURE_DOMAIN, number);
}

static void
test_not_a_queue(void)
{
    struct scratch *scratch = scratch_new(0);
    g_autofree char *path = g_build_filename(scratch->dir, "other", NULL);
    g_assert_true(
        g_file_set_contents(path, "this is a text, and no database at all, however long one looks at it", -1, NULL));
    expect_no_queue(path, HUBKEY_E_QUEUE_DAMAGED);
    g_unlink(path);
    run_sql(path, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    expect_no_queue(path, HUBKEY_E_QUEUE_DAMAGED);
    run_sql(path, "SELECT x FROM theirs"); /* untouched */
    scratch_free(scratch);
}

static void
test_newer(void)
{
    struct scratch *scratch = scratch_new(1);
    scratch_sql(scratch, "PRAGMA user_version = 1000");
    expect_no_queue(scratch->path, HUBKEY_E_QUEUE_NEWER);
    scratch_free(scratch);
}

static void
test_modes(void)
{
    struct scratch *scratch = scratch_new(1);
    static const char *const suffixes[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        struct stat st;
        g_autofree char *path = g_strconcat(scratch->path, suffixes[i], NULL);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 0777, ==, 0600);
    }
    scratch_free(scratch);
}

static void
test_links(void)
{
    struct scratch *scratch = scratch_new(0);
    g_autofree char *link = g_build_filename(scratch->dir, "link", NULL);
    g_autofree char *lock = g_strconcat(scratch->path, "2.lock", NULL);
    g_autofree char *second = g_strconcat(scratch->path, "2", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(symlink(scratch->path, link), ==, 0);
    g_assert_null(place_prepare(link, true, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_OPEN);
    g_clear_error(&error);
    g_assert_cmpint(symlink("/dev/null", lock), ==, 0);
    g_assert_null(lock_open(second, true, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_OPEN);
    scratch_free(scratch);
}

static void
test_places(void)
{
    static const char *const wrong[] = { "", "/", "/tmp/", ".", "..", "/tmp/.." };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(place_prepare(wrong[i], true, &error));
        g_assert_nonnull(error);
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(place_prepare("/nonexistent/directory/q", false, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_OPEN);
}

static void
test_default_place(void)
{
    g_autofree char *state = g_strdup(g_getenv("STATE_DIRECTORY"));
    g_setenv("STATE_DIRECTORY", "/first:/second", TRUE);
    g_autofree char *path = place_default(7, NULL);
    g_assert_cmpstr(path, ==, "/first/slot-7.queue");
    g_setenv("STATE_DIRECTORY", "relative", TRUE);
    g_autoptr(GError) error = NULL;
    g_assert_null(place_default(7, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_OPEN);
    g_unsetenv("STATE_DIRECTORY");
    if (geteuid() == 0) {
        g_autofree char *root = place_default(0, NULL);
        g_assert_cmpstr(root, ==, "/var/lib/hubkey-client/slot-0.queue");
    }
    if (state)
        g_setenv("STATE_DIRECTORY", state, TRUE);
}

/* ---- Rows */

static void
test_order(void)
{
    struct scratch *scratch = scratch_new(3);
    struct queue_row row;
    scratch_reopen(scratch);
    queue_scan(scratch->queue, 1);
    for (uint64_t seq = 2; seq <= 3; seq++) {
        g_assert_cmpint(queue_scan_next(scratch->queue, &row, NULL), ==, 1);
        g_assert_cmpuint(row.seq, ==, seq);
        g_assert_cmpmem(row.body, row.len, ten[seq - 1], 1);
    }
    g_assert_cmpint(queue_scan_next(scratch->queue, &row, NULL), ==, 0);
    queue_scan_end(scratch->queue);
    scratch_free(scratch);
}

/* Numbers are never used twice, not even after everything is gone and everybody has closed. */
static void
test_numbers(void)
{
    struct scratch *scratch = scratch_new(3);
    g_assert_true(queue_delivered(scratch->queue, 1, 3, NULL));
    scratch_reopen(scratch);
    scratch_post(scratch, ten, 1);
    g_assert_cmpuint(scratch_counts(scratch).last_seq, ==, 4);
    scratch_free(scratch);
}

static void
test_fates(void)
{
    struct scratch *scratch = scratch_new(10);
    uint64_t n;
    g_assert_true(queue_delivered(scratch->queue, 1, 2, NULL));
    g_assert_true(queue_bury(scratch->queue, 3, 413, "too large", NULL));
    g_autoptr(GArray) dropped = scratch_drop(scratch, 4, 2);
    g_assert_cmpuint(dropped->len, ==, 1);
    g_assert_cmpuint(g_array_index(dropped, struct queue_run, 0).first, ==, 5);
    g_assert_cmpuint(g_array_index(dropped, struct queue_run, 0).last, ==, 6);

    expect_fate(scratch, 0, -1);
    expect_fate(scratch, 1, HUBKEY_GONE_DELIVERED);
    expect_fate(scratch, 3, HUBKEY_GONE_DEAD);
    expect_fate(scratch, 4, 0);
    expect_fate(scratch, 5, HUBKEY_GONE_DROPPED);
    expect_fate(scratch, 6, HUBKEY_GONE_DROPPED);
    expect_fate(scratch, 7, 0);
    expect_fate(scratch, 11, -1);
    g_assert_true(queue_delivered(scratch->queue, 7, 7, NULL));
    g_assert_true(queue_remove(scratch->queue, HUBKEY_DROP_WAITING | HUBKEY_DROP_DEAD, UINT64_MAX, &n, NULL));
    g_assert_cmpuint(n, ==, 5);
    expect_fate(scratch, 3, HUBKEY_GONE_REMOVED);
    expect_fate(scratch, 4, HUBKEY_GONE_REMOVED);
    expect_fate(scratch, 5, HUBKEY_GONE_DROPPED);
    expect_fate(scratch, 7, HUBKEY_GONE_DELIVERED);
    expect_fate(scratch, 10, HUBKEY_GONE_REMOVED);
    struct hubkey_counts counts = scratch_counts(scratch);
    g_assert_cmpuint(counts.waiting_bytes, ==, 0);
    g_assert_cmpuint(counts.removed, ==, 5);
    scratch_free(scratch);
}

/* Up to a number: what stands behind it stays, and so does the owner until nothing waits. */
static void
test_remove_through(void)
{
    struct scratch *scratch = scratch_new(10);
    struct identity owner = { .host = (char *)"hub", .device = (char *)"device" };
    struct queue_state state;
    uint64_t n;
    g_assert_true(queue_record_identity(scratch->queue, &owner, false, NULL));
    g_assert_true(queue_bury(scratch->queue, 2, 413, "too large", NULL));
    g_assert_true(queue_bury(scratch->queue, 9, 413, "too large", NULL));
    g_assert_true(queue_remove(scratch->queue, HUBKEY_DROP_WAITING, 5, &n, NULL));
    g_assert_cmpuint(n, ==, 4);
    g_assert_true(queue_remove(scratch->queue, HUBKEY_DROP_DEAD, 5, &n, NULL));
    g_assert_cmpuint(n, ==, 1);
    expect_fate(scratch, 5, HUBKEY_GONE_REMOVED);
    expect_fate(scratch, 6, 0);
    expect_fate(scratch, 9, HUBKEY_GONE_DEAD);
    g_assert_true(queue_get_state(scratch->queue, &state, NULL));
    g_assert_true(state.bound);
    g_assert_cmpuint(state.counts.waiting, ==, 4);
    g_assert_true(queue_remove(scratch->queue, HUBKEY_DROP_WAITING, 10, &n, NULL));
    g_assert_cmpuint(n, ==, 4);
    g_assert_true(queue_get_state(scratch->queue, &state, NULL));
    g_assert_false(state.bound);
    g_assert_cmpint(hubkey_queue_check(scratch->path, NULL, NULL, NULL), ==, 0);
    scratch_free(scratch);
}

/* What another process dropped meanwhile is not counted twice. */
static void
test_delivered_after_drop(void)
{
    struct scratch *scratch = scratch_new(4);
    g_autoptr(GArray) dropped = scratch_drop(scratch, 0, 1);
    g_assert_true(queue_delivered(scratch->queue, 1, 4, NULL));
    struct hubkey_counts counts = scratch_counts(scratch);
    g_assert_cmpuint(counts.delivered, ==, 3);
    g_assert_cmpuint(counts.dropped, ==, 1);
    g_assert_cmpuint(counts.waiting_bytes, ==, 0);
    scratch_free(scratch);
}

static void
test_drop_too_few(void)
{
    struct scratch *scratch = scratch_new(3);
    struct queue_state state;
    g_autoptr(GArray) dropped = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autoptr(GError) error = NULL;
    g_assert_true(queue_begin(scratch->queue, QUEUE_BUSY_MS, NULL));
    g_assert_true(queue_get_state(scratch->queue, &state, NULL));
    g_assert_false(queue_drop_oldest(scratch->queue, &state, 1, 3, 0, dropped, &error));
    g_assert_no_error(error);
    queue_rollback(scratch->queue);
    g_assert_cmpuint(scratch_counts(scratch).waiting, ==, 3);
    scratch_free(scratch);
}

/* What left before, another way, is in no run. */
static void
test_drop_around_gaps(void)
{
    struct scratch *scratch = scratch_new(6);
    g_assert_true(queue_bury(scratch->queue, 3, 413, "too large", NULL));
    g_autoptr(GArray) dropped = scratch_drop(scratch, 0, 4);
    static const struct queue_run expected[] = { { 1, 2 }, { 4, 5 } };
    g_assert_cmpmem(dropped->data, dropped->len * sizeof(struct queue_run), expected, sizeof expected);
    expect_fate(scratch, 3, HUBKEY_GONE_DEAD);
    expect_fate(scratch, 5, HUBKEY_GONE_DROPPED);
    scratch_free(scratch);
}

/* A transaction that made the journal long does not leave it so. */
static void
test_journal(void)
{
    struct scratch *scratch = scratch_new(1);
    g_autofree char *journal = g_strconcat(scratch->path, "-wal", NULL), *text = g_strnfill(200000, 'x');
    struct message message = scratch_message(text);
    struct stat st;
    g_assert_true(queue_begin(scratch->queue, QUEUE_BUSY_MS, NULL));
    for (uint64_t seq = 2; seq < 42; seq++)
        g_assert_true(queue_insert(scratch->queue, seq, &message, NULL));
    queue_rollback(scratch->queue); /* by then most of it was written */
    g_assert_cmpint(stat(journal, &st), ==, 0);
    g_assert_cmpint(st.st_size, >, 7 << 20);
    for (int i = 0; i < 1000 && st.st_size > 5 << 20; i++) {
        scratch_post(scratch, ten, 1);
        g_assert_cmpint(stat(journal, &st), ==, 0);
    }
    g_assert_cmpint(st.st_size, <=, 5 << 20);
    message_clear(&message);
    scratch_free(scratch);
}

/* Bytes that this process has read, from files and caches alike. */
static uint64_t
bytes_read(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/io", &text, NULL, NULL))
        return 0;
    return g_ascii_strtoull(text + strlen("rchar: "), NULL, 10);
}

static uint64_t
bytes_to_open(struct scratch *scratch)
{
    scratch_reopen(scratch); /* and so moves the journal into the file */
    uint64_t before = bytes_read();
    scratch_reopen(scratch);
    scratch_counts(scratch);
    return bytes_read() - before;
}

/* Nothing is counted or searched when a queue is opened: it takes as long whatever waits in it. */
static void
test_open(void)
{
    struct scratch *scratch = scratch_new(10);
    if (bytes_read() == 0) {
        g_test_skip("the kernel does not say what was read");
        scratch_free(scratch);
        return;
    }
    g_autofree const char **many = g_new(const char *, 20000);
    uint64_t few = bytes_to_open(scratch);
    for (size_t i = 0; i < 20000; i++)
        many[i] = ten[i % 10];
    scratch_post(scratch, many, 20000);
    g_assert_cmpuint(bytes_to_open(scratch), <=, few + 64 * 1024);
    scratch_free(scratch);
}

static void
test_rollback(void)
{
    struct scratch *scratch = scratch_new(1);
    struct message message = scratch_message("x");
    g_assert_true(queue_begin(scratch->queue, QUEUE_BUSY_MS, NULL));
    g_assert_true(queue_insert(scratch->queue, 2, &message, NULL));
    queue_rollback(scratch->queue);
    g_assert_cmpuint(scratch_counts(scratch).waiting, ==, 1);
    expect_fate(scratch, 2, -1);
    message_clear(&message);
    scratch_free(scratch);
}

static void
test_identity(void)
{
    struct scratch *scratch = scratch_new(0);
    g_autoptr(identity_auto) identity = identity_new();
    identity->host = g_strdup("h.azure-devices.net");
    identity->device = g_strdup("d");
    g_assert_true(queue_record_identity(scratch->queue, identity, false, NULL));
    g_assert_null(queue_get_identity(scratch->queue, NULL)); /* nothing was posted */
    scratch_post(scratch, ten, 1);
    g_assert_true(queue_record_identity(scratch->queue, identity, false, NULL));
    g_free(identity->device);
    identity->device = g_strdup("e");
    g_assert_true(queue_record_identity(scratch->queue, identity, false, NULL)); /* too late */
    scratch_reopen(scratch);
    g_autoptr(identity_auto) found = queue_get_identity(scratch->queue, NULL);
    g_assert_cmpstr(found->device, ==, "d");
    g_assert_null(found->module);
    g_assert_true(queue_record_identity(scratch->queue, identity, true, NULL));
    g_autoptr(identity_auto) bound = queue_get_identity(scratch->queue, NULL);
    g_assert_cmpstr(bound->device, ==, "e");
    scratch_free(scratch);
}

/* ---- The lock */

static void
test_lock(void)
{
    struct scratch *scratch = scratch_new(0);
    struct lock_holder holder;
    g_autoptr(GError) error = NULL;
    struct lock *other = lock_open(scratch->path, true, &error);
    lock_ask(other, &holder);
    g_assert_cmpint(holder.pid, ==, 0);
    g_assert_true(lock_try(scratch->lock));
    g_assert_true(lock_try(scratch->lock));
    g_assert_false(lock_try(other));
    lock_ask(other, &holder);
    g_assert_cmpint(holder.pid, ==, getpid());
    g_assert_cmpstr(holder.program, ==, "test-queue");
    g_assert_cmpint(holder.since_ms, >, 0);
    g_assert_false(lock_take(other, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_HELD);
    g_assert_nonnull(strstr(error->message, "test-queue"));
    g_autofree char *path = g_strconcat(scratch->path, ".lock", NULL);
    FILE *file = fopen(path, "r+");
    fputs("pid=77\nsince=1\nprogram=\x1b]0;name\x07 and more\n", file); /* anybody who posts can */
    fclose(file);
    lock_ask(other, &holder);
    g_assert_cmpstr(holder.program, ==, "?]0;name? and more");
    lock_ask(scratch->lock, &holder);
    g_assert_cmpint(holder.pid, ==, 0);
    lock_close(other);
    scratch_free(scratch);
}

/* A forked child must not keep the lock of its parent. */
static void
test_lock_fork(void)
{
    struct scratch *scratch = scratch_new(0);
    int ends[2], started[2];
    char byte = 0;
    g_assert_true(lock_try(scratch->lock));
    g_assert_cmpint(pipe(ends), ==, 0);
    g_assert_cmpint(pipe(started), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        if (write(started[1], &byte, 1) != 1)
            _exit(1);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1); /* lives until the parent is done */
    }
    close(ends[0]);
    g_assert_cmpint(read(started[0], &byte, 1), ==, 1);
    close(started[0]);
    close(started[1]);
    scratch_reopen(scratch);
    g_assert_true(lock_try(scratch->lock));
    close(ends[1]);
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    scratch_free(scratch);
}

static void
post_one(struct queue *queue, uint64_t seq)
{
    struct queue_state state;
    struct message message = scratch_message("forked");
    g_assert_true(queue_begin(queue, QUEUE_BUSY_MS, NULL));
    g_assert_true(queue_get_state(queue, &state, NULL));
    g_assert_true(queue_insert(queue, seq, &message, NULL));
    state.counts.last_seq = state.counts.accepted = seq;
    state.counts.waiting++;
    state.counts.waiting_bytes += message.counted;
    g_assert_true(queue_save_state(queue, &state, NULL));
    g_assert_true(queue_commit(queue, NULL));
    message_clear(&message);
}

/* A child opens the queue, posts before and after its parent closed, and ends. Nothing is lost. */
static void
test_fork(void)
{
    struct scratch *scratch = scratch_new(1);
    int to_child[2], to_parent[2];
    char byte = 0;
    g_assert_cmpint(pipe(to_child), ==, 0);
    g_assert_cmpint(pipe(to_parent), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        struct queue *own = queue_open(scratch->path, NULL, NULL, NULL);
        post_one(own, 2);
        g_assert_cmpint(write(to_parent[1], &byte, 1), ==, 1);
        g_assert_cmpint(read(to_child[0], &byte, 1), ==, 1);
        post_one(own, 3);
        queue_close(own);
        _exit(0);
    }
    g_assert_cmpint(read(to_parent[0], &byte, 1), ==, 1);
    scratch_reopen(scratch); /* closes, as a client would */
    g_assert_cmpint(write(to_child[1], &byte, 1), ==, 1);
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    scratch_reopen(scratch);
    g_assert_cmpuint(scratch_counts(scratch).waiting, ==, 3);
    scratch_free(scratch);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/queue/not-a-queue", test_not_a_queue);
    g_test_add_func("/queue/newer", test_newer);
    g_test_add_func("/queue/modes", test_modes);
    g_test_add_func("/queue/links", test_links);
    g_test_add_func("/queue/places", test_places);
    g_test_add_func("/queue/default-place", test_default_place);
    g_test_add_func("/queue/order", test_order);
    g_test_add_func("/queue/numbers", test_numbers);
    g_test_add_func("/queue/fates", test_fates);
    g_test_add_func("/queue/remove-through", test_remove_through);
    g_test_add_func("/queue/delivered-after-drop", test_delivered_after_drop);
    g_test_add_func("/queue/drop-too-few", test_drop_too_few);
    g_test_add_func("/queue/drop-around-gaps", test_drop_around_gaps);
    g_test_add_func("/queue/journal", test_journal);
    g_test_add_func("/queue/open", test_open);
    g_test_add_func("/queue/rollback", test_rollback);
    g_test_add_func("/queue/identity", test_identity);
    g_test_add_func("/queue/lock", test_lock);
    g_test_add_func("/queue/lock/fork", test_lock_fork);
    g_test_add_func("/queue/fork", test_fork);
    return g_test_run();
}
