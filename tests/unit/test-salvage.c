/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Damaged queues: what is read of them without SQLite, how a fresh file takes their place, and what is never touched.
 */
#include <config.h>

#include "client/commit.h"
#include "client/damaged.h"
#include "client/failure.h"
#include "client/place.h"
#include "client/relic.h"
#include "client/state-file.h"
#include "common/clock.h"
#include "tests/lib/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define PAGE PAGES_SIZE_USUAL
#define MANY 400

/* ---- Queues to be damaged */

/* The body of the message posted as number seq: short ones, empty ones, and some that take pages of their own. */
static char *
text_of(uint64_t seq)
{
    size_t len = seq % 50 == 7 ? 20000 : seq % 50 == 8 ? 0 : seq % 50 == 9 ? 200000 : 40 + seq % 200;
    char *text = g_strnfill(len, (char)('a' + seq % 26));
    if (len >= 40) {
        int used = g_snprintf(text, 40, "message %" G_GUINT64_FORMAT " ", seq);
        text[used] = '.';
    }
    return text;
}

static void
post_numbered(struct scratch *scratch, size_t n)
{
    uint64_t seq = scratch_counts(scratch).last_seq;
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < n; i++)
        g_ptr_array_add(texts, text_of(++seq));
    for (size_t i = 0; i < n; i += 100)
        scratch_post(scratch, (const char *const *)texts->pdata + i, MIN(n - i, 100));
}

/* MANY posted, the first fifth delivered, a dead one, a dropped one. */
static void
fill(struct scratch *scratch)
{
    post_numbered(scratch, MANY);
    g_assert_true(queue_delivered(scratch->queue, 1, MANY / 5, NULL));
    g_assert_true(queue_bury(scratch->queue, MANY / 5 + 5, 413, "too large", NULL));
    g_autoptr(GArray) dropped = scratch_drop(scratch, MANY / 5 + 20, 1);
    g_assert_cmpuint(dropped->len, ==, 1);
}

static int64_t
file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void
overwrite(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, bytes, len, at), ==, (ssize_t)len);
    close(fd);
}

static void
spoil(const char *path, off_t at, size_t len)
{
    g_autofree char *rubbish = g_strnfill(len, (char)0xa5);
    overwrite(path, at, rubbish, len);
}

/* Nobody has it open while it is damaged, and the cache of pages is cold afterwards. */
static void
close_queue(struct scratch *scratch)
{
    g_clear_pointer(&scratch->queue, queue_close);
}

static void
open_queue(struct scratch *scratch)
{
    g_autoptr(GError) error = NULL;
    scratch->queue = queue_open(scratch->path, scratch->lock, NULL, &error);
    g_assert_no_error(error);
}

/* Somebody else has found something. */
static void
damage_again(struct scratch *scratch)
{
    g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "once more");
    g_assert_true(queue_replace(scratch->queue, damage, NULL));
}

/* ---- Looking at the outcome */

/* Carries everything over; what the last step told. */
static struct queue_salvaged
salvage(struct scratch *scratch, GArray *runs)
{
    struct queue_salvaged told = { 0 }, last = { 0 };
    g_autoptr(GError) error = NULL;
    int more = 1;
    while (more > 0) {
        told = (struct queue_salvaged){ .runs = runs };
        more = queue_salvage(scratch->queue, &told, &error);
        g_assert_no_error(error);
        if (told.ended)
            last = told;
    }
    return last;
}

/* The numbers that wait, each with the body it was posted with. */
static GArray *
waiting(struct scratch *scratch)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    struct queue_row row;
    g_autoptr(GError) error = NULL;
    queue_scan(scratch->queue, 0);
    while (queue_scan_next(scratch->queue, &row, &error) == 1) {
        g_autofree char *text = text_of(row.seq);
        g_assert_cmpmem(row.body, row.len, text, strlen(text));
        g_array_append_val(numbers, row.seq);
    }
    queue_scan_end(scratch->queue);
    g_assert_no_error(error);
    return numbers;
}

static void
expect_waiting(struct scratch *scratch, guint n)
{
    g_autoptr(GArray) numbers = waiting(scratch);
    g_assert_cmpuint(numbers->len, ==, n);
}

static bool
has(const GArray *numbers, uint64_t seq)
{
    for (guint i = 0; i < numbers->len; i++)
        if (g_array_index(numbers, uint64_t, i) == seq)
            return true;
    return false;
}

static void
note_fault(int32_t level, const char *text, void *user)
{
    g_test_message("%s", text);
}

static int
count_row(const struct hubkey_queue_row *row, void *user)
{
    ++*(uint64_t *)user;
    return 0;
}

/* Whoever reads is told that there is more, and where; he sees nothing else that is wrong. */
static void
expect_whole(struct scratch *scratch)
{
    struct queue_state state;
    struct hubkey_error error = { 0 };
    uint64_t seen = 0;
    g_assert_true(queue_get_state(scratch->queue, &state, NULL));
    int found = hubkey_queue_check(scratch->path, note_fault, NULL, NULL);
    int result = hubkey_queue_each(scratch->path, HUBKEY_ROWS_WAITING, 0, 0, count_row, &seen, &error);
    g_assert_cmpint(found, ==, state.salvage ? 1 : 0);
    g_assert_cmpint(result, ==, state.salvage ? HUBKEY_E_QUEUE_DAMAGED : 0);
    g_assert_cmpint(strstr(error.text, ".salvage-") != NULL, ==, state.salvage != 0);
    g_assert_cmpuint(seen, <=, state.counts.waiting);
    g_assert_true(seen == state.counts.waiting || state.salvage);
    scratch_counts(scratch);
}

static bool
exists(struct scratch *scratch, const char *suffix)
{
    g_autofree char *path = g_strconcat(scratch->path, suffix, NULL);
    return access(path, F_OK) == 0;
}

/* All that fill left, and nothing else. */
static void
expect_all(struct scratch *scratch, struct queue_salvaged told)
{
    struct hubkey_counts counts = scratch_counts(scratch);
    g_autoptr(GArray) numbers = waiting(scratch);
    g_assert_true(told.ended);
    g_assert_true(told.known);
    g_assert_cmpuint(told.lost, ==, 0);
    g_assert_cmpuint(told.carried, ==, MANY - MANY / 5 - 1);
    g_assert_cmpuint(counts.accepted, ==, MANY);
    g_assert_cmpuint(counts.delivered, ==, MANY / 5);
    g_assert_cmpuint(counts.dead, ==, 1);
    g_assert_cmpuint(counts.dropped, ==, 1);
    g_assert_cmpuint(counts.waiting, ==, numbers->len);
    g_assert_cmpuint(numbers->len, ==, MANY - MANY / 5 - 2);
    g_assert_cmpint(queue_fate(scratch->queue, 1, NULL), ==, HUBKEY_GONE_DELIVERED);
    g_assert_cmpint(queue_fate(scratch->queue, MANY / 5 + 5, NULL), ==, HUBKEY_GONE_DEAD);
    g_assert_cmpint(queue_fate(scratch->queue, MANY / 5 + 21, NULL), ==, HUBKEY_GONE_DROPPED);
    g_assert_cmpint(queue_fate(scratch->queue, MANY, NULL), ==, 0);
    expect_whole(scratch);
}

/* ---- Reading without SQLite */

static void
expect_relics(struct scratch *scratch)
{
    struct pages *pages = pages_open(scratch->path, NULL);
    struct cells *cells = cells_new(pages);
    struct cells_row row;
    struct relic relic;
    unsigned found[RELIC_STATE + 1] = { 0 };
    for (uint32_t page = 1; page <= pages_count(pages); page++)
        for (bool rows = cells_begin(cells, page); rows && cells_next(cells, &row);)
            if (relic_read(&row, &relic))
                found[relic.kind]++;
    struct hubkey_counts counts = scratch_counts(scratch);
    g_assert_cmpuint(found[RELIC_WAITING], ==, counts.waiting);
    g_assert_cmpuint(found[RELIC_DEAD], ==, counts.dead);
    g_assert_cmpuint(found[RELIC_STATE], ==, 1);
    g_assert_cmpuint(found[RELIC_GONE], ==, counts.dropped);
    struct queue_state state;
    g_autoptr(identity_auto) owner = NULL;
    g_assert_true(relic_find_state(pages, &state, &owner));
    g_assert_cmpmem(&state.counts, sizeof state.counts, &counts, sizeof counts);
    cells_free(cells);
    pages_close(pages);
}

/* Whether it is in the log or in the file, and whatever has left before. */
static void
test_relics(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    expect_relics(&scratch);
    post_numbered(&scratch, 5);
    expect_relics(&scratch);
    fill(&scratch);
    expect_relics(&scratch);
    close_queue(&scratch);
    open_queue(&scratch);
    expect_relics(&scratch);
    struct pages *pages = pages_open(scratch.path, NULL);
    unsigned idle = 0;
    for (uint32_t page = 1; page <= pages_count(pages); page++)
        idle += pages_is_free(pages, page);
    g_assert_cmpuint(idle, >, 0); /* what was delivered has left pages that still look full */
    pages_close(pages);
    scratch_close(&scratch);
}

/* ---- Damage to the file */

static void
with_damage(off_t at, size_t len)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    spoil(scratch.path, at, len);
    open_queue(&scratch);
    if (!exists(&scratch, ".salvage-1")) { /* it opens, and shows when it is read */
        g_autoptr(GError) error = NULL;
        struct queue_row row;
        queue_scan(scratch.queue, 0);
        g_assert_cmpint(queue_scan_next(scratch.queue, &row, &error), ==, -1);
        queue_scan_end(scratch.queue);
        g_assert_true(queue_replace(scratch.queue, error, NULL));
    }
    g_assert_true(exists(&scratch, ".salvage-1"));
    g_autofree char *found = queue_take_found(scratch.queue);
    g_assert_nonnull(found);
    /* Nothing is forgotten while it is not carried over yet. */
    struct hubkey_counts counts = scratch_counts(&scratch);
    g_assert_cmpuint(counts.accepted, ==, MANY);
    g_assert_cmpuint(counts.waiting, ==, MANY - MANY / 5 - 2);
    g_assert_cmpint(queue_fate(scratch.queue, MANY, NULL), ==, 0);
    g_assert_cmpint(queue_waits_up_to(scratch.queue, MANY, NULL), ==, 1);
    expect_whole(&scratch);
    expect_all(&scratch, salvage(&scratch, runs));
    g_assert_cmpuint(runs->len, ==, 0);
    g_assert_true(exists(&scratch, ".damaged-1"));
    g_assert_false(exists(&scratch, ".salvage-1"));
    g_assert_false(exists(&scratch, ".salvage-1-wal"));
    scratch_close(&scratch);
}

/* Neither the header, nor the top of the tables, nor where free pages are listed, has anything in it that is missed. */
static void
test_header(void)
{
    with_damage(0, 16);
    with_damage(0, 100);
    with_damage(0, PAGE);
    with_damage(PAGE, PAGE);
}

/* New messages are accepted at once and stand behind the old ones. */
static void
test_post_meanwhile(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    spoil(scratch.path, 0, PAGE);
    open_queue(&scratch);
    post_numbered(&scratch, 10);
    expect_whole(&scratch);
    g_autoptr(GArray) before = waiting(&scratch);
    g_assert_cmpuint(before->len, ==, 10);
    g_assert_cmpuint(g_array_index(before, uint64_t, 0), ==, MANY + 1);
    struct queue_salvaged told = { .runs = runs };
    g_assert_cmpint(queue_salvage(scratch.queue, &told, NULL), ==, 1);
    post_numbered(&scratch, 10);
    expect_whole(&scratch);
    salvage(&scratch, runs);
    g_autoptr(GArray) after = waiting(&scratch);
    g_assert_cmpuint(after->len, ==, MANY - MANY / 5 - 2 + 20);
    g_assert_cmpuint(g_array_index(after, uint64_t, 0), ==, MANY / 5 + 1);
    g_assert_cmpuint(g_array_index(after, uint64_t, after->len - 1), ==, MANY + 20);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Spoils the first page from "from" on that has three messages or more, all of them up to the number last, and closes
 * the queue for it. The numbers. */
static GArray *
lose_page(struct scratch *scratch, uint32_t from, uint64_t last)
{
    GArray *lost = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    struct cells_row row;
    struct relic relic;
    close_queue(scratch);
    struct pages *pages = pages_open(scratch->path, NULL);
    struct cells *cells = cells_new(pages);
    for (uint32_t page = MAX(from, 1); lost->len < 3; page++) {
        bool fits = true;
        g_assert_cmpuint(page, <=, pages_count(pages));
        g_array_set_size(lost, 0);
        for (bool rows = cells_begin(cells, page); rows && cells_next(cells, &row);)
            if (relic_read(&row, &relic) && relic.kind == RELIC_WAITING) {
                g_array_append_val(lost, relic.row.seq);
                fits = fits && relic.row.seq <= last;
            }
        if (fits && lost->len >= 3)
            spoil(scratch->path, (off_t)(page - 1) * PAGE, PAGE);
        else
            g_array_set_size(lost, 0);
    }
    cells_free(cells);
    pages_close(pages);
    return lost;
}

static uint32_t
middle_page(const struct scratch *scratch)
{
    return (uint32_t)(file_size(scratch->path) / PAGE / 2);
}

static void
expect_lost(struct scratch *scratch, const GArray *lost, const GArray *runs)
{
    struct queue_state state;
    uint64_t named = 0;
    for (guint i = 0; i < runs->len; i++) {
        const struct queue_run *run = &g_array_index(runs, struct queue_run, i);
        named += run->last - run->first + 1;
    }
    g_assert_cmpuint(named, ==, lost->len);
    for (guint i = 0; i < lost->len; i++)
        g_assert_cmpint(queue_fate(scratch->queue, g_array_index(lost, uint64_t, i), NULL), ==, HUBKEY_GONE_LOST);
    g_assert_true(queue_get_state(scratch->queue, &state, NULL));
    g_assert_cmpuint(state.lost, ==, lost->len);
    g_assert_cmpuint(state.counts.dropped, >=, lost->len);
}

/* What stood on a page that is no more is counted, told and named; what stood beside it is there. */
static void
test_lost_page(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    g_autoptr(GArray) lost = lose_page(&scratch, middle_page(&scratch), MANY);
    open_queue(&scratch);
    damage_again(&scratch);
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, lost->len);
    expect_waiting(&scratch, MANY - MANY / 5 - 2 - lost->len);
    expect_lost(&scratch, lost, runs);
    g_assert_cmpuint(scratch_counts(&scratch).dropped, ==, lost->len + 1);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* One message of which a byte is another: it is lost, alone. */
static void
test_wrong_byte(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autoptr(GError) error = NULL;
    struct queue_row row;
    scratch_open(&scratch);
    fill(&scratch);
    scratch_sql(&scratch, "UPDATE waiting SET body = replace(body, 'message 300', 'massage 300') WHERE seq = 300");
    queue_scan(scratch.queue, 299);
    g_assert_cmpint(queue_scan_next(scratch.queue, &row, &error), ==, -1);
    queue_scan_end(scratch.queue);
    g_assert_true(queue_replace(scratch.queue, error, NULL));
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 1);
    g_assert_cmpuint(runs->len, ==, 1);
    g_assert_cmpuint(g_array_index(runs, struct queue_run, 0).first, ==, 300);
    g_autoptr(GArray) numbers = waiting(&scratch);
    g_assert_true(has(numbers, 299) && has(numbers, 301) && !has(numbers, 300));
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* The counters were on the page that is gone: the fresh file counts anew, and gives no number twice. */
static void
test_counters(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    spoil(scratch.path, 4 * PAGE, PAGE); /* the fifth page: state */
    spoil(scratch.path, 0, 100);
    open_queue(&scratch);
    g_assert_cmpuint(scratch_counts(&scratch).last_seq, >, MANY);
    post_numbered(&scratch, 1);
    struct queue_salvaged told = salvage(&scratch, runs);
    g_assert_true(told.ended && !told.known);
    struct hubkey_counts counts = scratch_counts(&scratch);
    /* Without the list of free pages some of what was delivered may be found once more. */
    g_assert_cmpuint(counts.waiting, >=, MANY - MANY / 5 - 2 + 1);
    g_assert_cmpuint(counts.dead, ==, 1);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* The same, and a page of messages with them: what is above others that wait was never delivered, and so does not pass
 * for it. */
static void
test_counters_and_messages(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    struct identity owner = { .host = (char *)"hub.example", .device = (char *)"device" };
    g_assert_true(queue_record_identity(scratch.queue, &owner, true, NULL));
    close_queue(&scratch);
    g_autoptr(GArray) lost = lose_page(&scratch, middle_page(&scratch), MANY);
    spoil(scratch.path, 4 * PAGE, PAGE);
    open_queue(&scratch);
    struct queue_salvaged told = salvage(&scratch, runs);
    g_assert_true(told.ended && !told.known);
    g_assert_cmpuint(told.lost, ==, lost->len);
    g_autoptr(identity_auto) found = queue_get_identity(scratch.queue, NULL);
    g_assert_nonnull(found);
    g_assert_cmpstr(found->host, ==, "hub.example");
    g_assert_cmpstr(found->device, ==, "device");
    g_assert_null(found->module);
    expect_lost(&scratch, lost, runs);
    g_assert_cmpint(queue_fate(scratch.queue, 1, NULL), ==, HUBKEY_GONE_DELIVERED);
    g_assert_cmpint(queue_fate(scratch.queue, MANY + 1, NULL), ==, HUBKEY_GONE_LOST);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* ---- Damage to the log */

/* As a killed program leaves it: with everything in the log. */
static void
fill_and_die(struct scratch *scratch, size_t n)
{
    pid_t child = fork();
    if (child == 0) {
        scratch_reopen(scratch);
        for (size_t i = 0; i < n; i++)
            post_numbered(scratch, 1);
        kill(getpid(), SIGKILL);
    }
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
}

static void
test_empty_file(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    close_queue(&scratch);
    fill_and_die(&scratch, 6);
    g_assert_cmpint(truncate(scratch.path, 0), ==, 0);
    open_queue(&scratch);
    g_assert_true(exists(&scratch, ".salvage-1-wal"));
    struct queue_salvaged told = salvage(&scratch, runs);
    g_assert_cmpuint(told.carried, ==, 6);
    expect_waiting(&scratch, 6);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* One frame of the log is rubbish: what was written behind it counts all the same. */
static void
test_log_frame(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    close_queue(&scratch);
    fill_and_die(&scratch, 6);
    g_autofree char *log = g_strconcat(scratch.path, "-wal", NULL);
    spoil(log, 32 + 24 + 100, 50); /* of the first frame */
    spoil(scratch.path, 0, PAGE);
    open_queue(&scratch);
    struct queue_salvaged told = salvage(&scratch, runs);
    g_assert_cmpuint(told.carried, ==, 6);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Somebody was killed between setting the old file aside and making a fresh one. */
static void
test_between(void)
{
    struct scratch scratch;
    struct hubkey_queue_info info = { .size = sizeof info };
    struct hubkey_error error;
    uint64_t n = 0;
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    g_autofree char *aside = damaged_pending_path(scratch.path, 1);
    g_assert_cmpint(rename(scratch.path, aside), ==, 0);
    g_assert_cmpint(hubkey_queue_status(scratch.path, &info, &error), ==, HUBKEY_E_QUEUE_DAMAGED);
    g_assert_nonnull(strstr(error.text, "queue flush"));
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, UINT64_MAX, &n, &error), ==, 0);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpint(hubkey_queue_status(scratch.path, &info, &error), ==, 0);
    g_assert_cmpuint(info.counts.waiting, ==, MANY - MANY / 5 - 1);
    g_assert_cmpuint(info.damaged_files, ==, 1);
    open_queue(&scratch);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Somebody was killed when only the log had moved: what it holds is not forgotten, whoever has looked meanwhile. */
static void
test_begun(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    close_queue(&scratch);
    fill_and_die(&scratch, 6);
    g_autofree char *log = g_strconcat(scratch.path, "-wal", NULL);
    g_autofree char *moving = g_strconcat(scratch.path, ".salvage-1-moving", NULL);
    g_assert_cmpint(rename(log, moving), ==, 0);
    g_assert_true(g_file_set_contents(log, "", 0, NULL)); /* SQLite makes one for a reader */
    open_queue(&scratch);
    g_assert_true(exists(&scratch, ".salvage-1-wal"));
    g_assert_cmpuint(salvage(&scratch, runs).carried, ==, 6);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Somebody removed a file that was set aside, and not its log: that one is of no concern to the queue, nor to the next
 * file that is set aside. */
static void
test_stray_log(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    post_numbered(&scratch, 6);
    close_queue(&scratch);
    g_autofree char *stray = g_strconcat(scratch.path, ".salvage-1-wal", NULL);
    g_assert_true(g_file_set_contents(stray, "a log", -1, NULL));
    open_queue(&scratch);
    g_assert_false(exists(&scratch, ".salvage-1"));
    expect_waiting(&scratch, 6);
    damage_again(&scratch);
    g_assert_true(exists(&scratch, ".salvage-2"));
    g_assert_cmpuint(salvage(&scratch, runs).carried, ==, 6);
    g_assert_cmpint(file_size(stray), ==, 5);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* ---- Whose the files are */

/* Suffix "" and so on: owner, group and mode. */
static void
expect_like(struct scratch *scratch, const char *suffix, const struct stat *model)
{
    struct stat st;
    g_autofree char *path = g_strconcat(scratch->path, suffix, NULL);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, model->st_uid);
    g_assert_cmpuint(st.st_gid, ==, model->st_gid);
    g_assert_cmpuint(st.st_mode, ==, model->st_mode);
}

/* Whoever saves a user's queue, root above all, does not take it from him. */
static void
test_owner(void)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", ".lock", ".state", ".damaged-1" };
    static const struct pump_status status = { .state = HUBKEY_STATE_ONLINE };
    struct scratch scratch;
    struct stat model;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    g_autofree char *lock = g_strconcat(scratch.path, ".lock", NULL), *log = g_strconcat(scratch.path, "-wal", NULL);
    g_clear_pointer(&scratch.lock, lock_close);
    g_assert_cmpint(unlink(lock) | unlink(log), ==, 0);
    if (geteuid() == 0)
        g_assert_cmpint(chown(scratch.path, 12345, 12346), ==, 0);
    g_assert_cmpint(chmod(scratch.path, 0640), ==, 0);
    g_assert_cmpint(stat(scratch.path, &model), ==, 0);
    spoil(scratch.path, 0, PAGE);
    scratch.lock = lock_open(scratch.path, true, NULL);
    open_queue(&scratch);
    g_assert_true(exists(&scratch, ".salvage-1"));
    salvage(&scratch, runs);
    struct state_file *file = state_file_new(scratch.path);
    (void)state_file_tell(file, &status);
    state_file_free(file);
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++)
        expect_like(&scratch, suffixes[i], &model);
    /* Where he was killed before there was a fresh one, the lock says whose it is. */
    close_queue(&scratch);
    g_assert_cmpint(unlink(scratch.path), ==, 0);
    g_autofree char *again = place_prepare(scratch.path, true, NULL);
    expect_like(&scratch, "", &model);
    open_queue(&scratch);
    scratch_close(&scratch);
}

/* ---- Several processes */

#define POSTERS 4
#define POSTS 150

/* Posts its numbers, and ends. Whatever happens to the file, each post is accepted. */
static void
post_own(const char *path, unsigned poster)
{
    static const struct commit_limits limits = { UINT64_MAX, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    static const struct commit_hooks hooks = { 0 };
    struct lock *lock = lock_open(path, true, NULL);
    struct queue *queue = queue_open(path, lock, NULL, NULL);
    struct commit *commit = queue ? commit_new(queue, path, lock, &limits, &hooks) : NULL;
    for (unsigned i = 0; commit && i < POSTS; i++) {
        g_autofree char *text = g_strdup_printf("%u", poster * POSTS + i);
        struct message message = scratch_message(text);
        uint64_t seq;
        if (!commit_post(commit, &message, 1, clock_monotonic_us() + 60 * G_USEC_PER_SEC, &seq, NULL))
            _exit(1);
        message_clear(&message);
    }
    if (!commit)
        _exit(1);
    commit_free(commit);
    queue_close(queue);
    lock_close(lock);
    _exit(0);
}

static bool
all_ended(pid_t posters[POSTERS])
{
    bool all = true;
    for (unsigned i = 0; i < POSTERS; i++) {
        int status;
        if (posters[i] && waitpid(posters[i], &status, WNOHANG) == posters[i]) {
            g_assert_cmpint(status, ==, 0);
            posters[i] = 0;
        }
        all = all && !posters[i];
    }
    return all;
}

/* The file is replaced again and again under processes that post: each post is there in the end, once. */
static void
test_processes(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autofree bool *seen = g_new0(bool, POSTERS *POSTS);
    pid_t posters[POSTERS];
    struct queue_row row;
    unsigned n = 0, replaced = 0;
    scratch_open(&scratch);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = fork();
        if (posters[i] == 0)
            post_own(scratch.path, i);
    }
    while (!all_ended(posters)) {
        damage_again(&scratch);
        g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 0);
        replaced++;
    }
    g_assert_cmpuint(replaced, >, 0);
    for (queue_scan(scratch.queue, 0); queue_scan_next(scratch.queue, &row, NULL) == 1; n++) {
        g_autofree char *text = g_strndup(row.body, row.len);
        unsigned number = (unsigned)strtoul(text, NULL, 10);
        g_assert_cmpuint(number, <, POSTERS * POSTS);
        g_assert_false(seen[number]);
        seen[number] = true;
    }
    queue_scan_end(scratch.queue);
    g_assert_cmpuint(n, ==, POSTERS * POSTS);
    g_assert_cmpuint(scratch_counts(&scratch).accepted, ==, POSTERS * POSTS);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* ---- Any damage: never a wrong message, never one twice, and the counters are right */

static void
damage_at_random(struct scratch *scratch, GRand *random)
{
    int64_t size = file_size(scratch->path);
    switch (g_rand_int_range(random, 0, 4)) {
    case 0: /* pages */
        for (int i = g_rand_int_range(random, 1, 4); i > 0; i--)
            spoil(scratch->path, g_rand_int_range(random, 0, (gint32)(size / PAGE)) * (off_t)PAGE, PAGE);
        break;
    case 1: /* sectors */
        for (int i = g_rand_int_range(random, 1, 10); i > 0; i--)
            spoil(scratch->path, g_rand_int_range(random, 0, (gint32)(size / 512)) * (off_t)512, 512);
        break;
    case 2: /* bits */
        for (int i = g_rand_int_range(random, 1, 500); i > 0; i--) {
            char byte = (char)g_rand_int_range(random, 0, 256);
            overwrite(scratch->path, g_rand_int_range(random, 0, (gint32)size), &byte, 1);
        }
        break;
    default: /* the end */
        g_assert_cmpint(truncate(scratch->path, g_rand_int_range(random, 0, (gint32)size)), ==, 0);
    }
}

static void
test_random(void)
{
    int rounds = g_test_thorough() ? 1000 : 25;
    uint64_t carried = 0;
    for (int round = 0; round < rounds; round++) {
        struct scratch scratch;
        g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
        GRand *random = g_rand_new_with_seed((guint32)round);
        scratch_open(&scratch);
        fill(&scratch);
        close_queue(&scratch);
        damage_at_random(&scratch, random);
        g_rand_free(random);
        if (file_size(scratch.path) == 0) {
            scratch_close(&scratch);
            continue;
        }
        open_queue(&scratch);
        g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "it is");
        if (!exists(&scratch, ".salvage-1"))
            g_assert_true(queue_replace(scratch.queue, damage, NULL));
        carried += salvage(&scratch, runs).carried;
        g_autoptr(GArray) numbers = waiting(&scratch);
        for (guint i = 1; i < numbers->len; i++)
            g_assert_cmpuint(g_array_index(numbers, uint64_t, i - 1), <, g_array_index(numbers, uint64_t, i));
        post_numbered(&scratch, 1);
        expect_whole(&scratch);
        scratch_close(&scratch);
    }
    g_assert_cmpuint(carried, >, (uint64_t)rounds * MANY / 3);
}

/* ---- What is none of ours */

static void
expect_untouched(const char *path)
{
    g_autofree char *before = NULL, *after = NULL, *aside = damaged_pending_path(path, 1);
    gsize len, after_len;
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_get_contents(path, &before, &len, NULL));
    g_assert_null(queue_open(path, NULL, NULL, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED);
    g_assert_true(g_file_get_contents(path, &after, &after_len, NULL));
    g_assert_cmpmem(before, len, after, after_len);
    g_assert_cmpint(access(aside, F_OK), !=, 0);
}

static void
test_not_ours(void)
{
    struct scratch scratch, other;
    scratch_open(&scratch);
    scratch_open(&other);
    g_autofree char *text = g_build_filename(scratch.dir, "text", NULL);
    g_autofree char *lines = g_strnfill(100000, '\n');
    g_assert_true(g_file_set_contents(text, lines, -1, NULL));
    expect_untouched(text);

    close_queue(&other);
    g_unlink(other.path);
    scratch_sql(&other, "CREATE TABLE theirs (x, y, z); INSERT INTO theirs VALUES (NULL, 1, 3), (NULL, 'text', 5)");
    expect_untouched(other.path);
    spoil(other.path, 20, 80);
    expect_untouched(other.path);
    spoil(other.path, 0, 20);
    expect_untouched(other.path);
    open_queue(&scratch);
    g_unlink(other.path);
    scratch_close(&other);
    scratch_close(&scratch);
}

/* Tables that somebody has put traps into: none of them is run, and the messages are saved from among them. */
static void
test_traps(void)
{
    static const char *const traps[] = {
        "CREATE TRIGGER eat AFTER INSERT ON waiting BEGIN DELETE FROM waiting WHERE seq = NEW.seq; END",
        "ALTER TABLE gone RENAME TO was; CREATE VIEW gone AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
        " FROM n) SELECT i AS first, i AS last, i AS how FROM n",
        "CREATE VIRTUAL TABLE more USING fts5(text)",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(traps); i++) {
        struct scratch scratch;
        struct hubkey_queue_info info = { .size = sizeof info };
        struct hubkey_error error;
        g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
        scratch_open(&scratch);
        post_numbered(&scratch, 10);
        close_queue(&scratch);
        scratch_sql(&scratch, traps[i]);
        g_assert_cmpint(hubkey_queue_status(scratch.path, &info, &error), ==, HUBKEY_E_QUEUE_DAMAGED);
        g_assert_nonnull(strstr(error.text, "views or triggers"));
        open_queue(&scratch);
        post_numbered(&scratch, 1);
        g_assert_cmpuint(salvage(&scratch, runs).carried, ==, 10);
        expect_waiting(&scratch, 11);
        expect_whole(&scratch);
        scratch_close(&scratch);
    }
}

/* One that comes while the file is open is not run either. */
static void
test_late_trap(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    post_numbered(&scratch, 1);
    scratch_sql(&scratch, "CREATE TRIGGER eat AFTER INSERT ON waiting BEGIN DELETE FROM waiting; END");
    post_numbered(&scratch, 1);
    expect_waiting(&scratch, 2);
    scratch_close(&scratch);
}

/* Nothing can be read of it, but what stands beside it says what it was. */
static void
test_all_rubbish(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    g_autofree char *state = g_strconcat(scratch.path, ".state", NULL);
    spoil(scratch.path, 0, (size_t)file_size(scratch.path));
    expect_untouched(scratch.path);
    g_assert_true(g_file_set_contents(state, "pid=1\nstate=online\n", -1, NULL));
    open_queue(&scratch);
    post_numbered(&scratch, 1);
    g_assert_cmpuint(salvage(&scratch, runs).carried, ==, 0);
    g_assert_cmpint(queue_fate(scratch.queue, MANY, NULL), ==, HUBKEY_GONE_LOST);
    g_assert_true(exists(&scratch, ".damaged-1"));
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* ---- More than one */

static void
test_bounds(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autoptr(GError) error = NULL;
    scratch_open(&scratch);
    fill(&scratch);
    for (int i = 0; i < 5; i++) {
        damage_again(&scratch);
        g_assert_true(salvage(&scratch, runs).ended);
    }
    g_assert_cmpuint(damaged_kept(scratch.path), ==, DAMAGED_KEPT);
    g_assert_true(exists(&scratch, ".damaged-5") && exists(&scratch, ".damaged-3") && !exists(&scratch, ".damaged-2"));
    /* All of what is not carried over yet stays, in the order in which it came. */
    for (int i = 0; i < DAMAGED_PENDING; i++) {
        post_numbered(&scratch, 1);
        damage_again(&scratch);
    }
    g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "once more");
    g_assert_false(queue_replace(scratch.queue, damage, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED);
    post_numbered(&scratch, 1);
    expect_whole(&scratch);
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 0);
    expect_waiting(&scratch, MANY - MANY / 5 - 2 + DAMAGED_PENDING + 1);
    g_assert_cmpuint(damaged_kept(scratch.path), ==, DAMAGED_KEPT);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Whoever has the file open changes over by himself, and nothing he wrote is left behind. */
static void
test_others(void)
{
    struct scratch scratch, other;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    other = scratch;
    other.lock = lock_open(scratch.path, true, NULL);
    other.queue = queue_open(scratch.path, other.lock, NULL, NULL);
    post_numbered(&other, 1);
    damage_again(&scratch);
    post_numbered(&other, 1);
    g_assert_cmpuint(scratch_counts(&other).last_seq, ==, MANY + 2);
    g_assert_cmpint(queue_fate(other.queue, MANY + 1, NULL), ==, 0);
    salvage(&scratch, runs);
    g_autoptr(GArray) numbers = waiting(&other);
    g_assert_cmpuint(numbers->len, ==, MANY - MANY / 5 - 2 + 2);
    expect_whole(&other);
    queue_close(other.queue);
    lock_close(other.lock);
    scratch_close(&scratch);
}

/* What the hub took from the old file, and is told to the fresh one, is not sent again. */
static void
test_delivered_meanwhile(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    damage_again(&scratch);
    g_assert_true(queue_delivered(scratch.queue, MANY / 5 + 1, MANY / 5 + 10, NULL));
    g_assert_cmpint(queue_fate(scratch.queue, MANY / 5 + 1, NULL), ==, HUBKEY_GONE_DELIVERED);
    expect_whole(&scratch);
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 0);
    g_autoptr(GArray) numbers = waiting(&scratch);
    g_assert_cmpuint(g_array_index(numbers, uint64_t, 0), ==, MANY / 5 + 11);
    g_assert_cmpuint(scratch_counts(&scratch).delivered, ==, MANY / 5 + 9); /* one of the ten is dead */
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* What the hub took and cannot be read any more is not lost. */
static void
test_delivered_unread(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    g_autoptr(GArray) unread = lose_page(&scratch, 1, MANY / 2);
    open_queue(&scratch);
    damage_again(&scratch);
    g_assert_true(queue_delivered(scratch.queue, 1, MANY / 2, NULL));
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 0);
    g_assert_cmpuint(runs->len, ==, 0);
    for (guint i = 0; i < unread->len; i++)
        g_assert_cmpint(queue_fate(scratch.queue, g_array_index(unread, uint64_t, i), NULL), ==,
                        HUBKEY_GONE_DELIVERED);
    struct hubkey_counts counts = scratch_counts(&scratch);
    g_assert_cmpuint(counts.delivered, ==, MANY / 2 - 2); /* one is dead and one was dropped */
    g_assert_cmpuint(counts.waiting, ==, MANY / 2);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Nor is it forgotten where the fresh file is damaged in its turn, or where much else left in the meantime. */
static void
test_delivered_twice_damaged(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_open(&scratch);
    fill(&scratch);
    damage_again(&scratch);
    g_assert_true(queue_delivered(scratch.queue, 1, MANY / 5 + 10, NULL));
    scratch_sql(&scratch, "WITH RECURSIVE n(i) AS (SELECT 100000 UNION ALL SELECT i + 2 FROM n LIMIT 5000)"
                          " INSERT INTO gone SELECT i, i, 3 FROM n");
    post_numbered(&scratch, 1);
    g_autoptr(GArray) dropped = scratch_drop(&scratch, MANY, 1); /* now the oldest are forgotten */
    damage_again(&scratch);
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 0);
    g_autoptr(GArray) numbers = waiting(&scratch);
    g_assert_cmpuint(g_array_index(numbers, uint64_t, 0), ==, MANY / 5 + 11);
    g_assert_cmpuint(scratch_counts(&scratch).delivered, ==, MANY / 5 + 9);
    expect_whole(&scratch);
    scratch_close(&scratch);
}

/* Ends of messages come along; those of messages that are no more do not stay. */
static void
test_expiry(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_autoptr(GArray) expired = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    int64_t next_us;
    scratch_clock_start();
    scratch_open(&scratch);
    scratch_post_for(&scratch, "a minute", 60);
    scratch_post_for(&scratch, "an hour", 3600);
    scratch_sql(&scratch, "DELETE FROM waiting WHERE seq = 2; UPDATE state SET waiting = 1, delivered = 1,"
                          " waiting_bytes = (SELECT counted FROM waiting)");
    damage_again(&scratch);
    salvage(&scratch, runs);
    scratch_clock_move(60);
    g_assert_true(queue_expire(scratch.queue, expired, &next_us, NULL));
    g_assert_cmpuint(expired->len, ==, 1);
    g_assert_cmpuint(g_array_index(expired, struct queue_run, 0).first, ==, 1);
    scratch_clock_move(7200);
    g_assert_true(queue_expire(scratch.queue, expired, &next_us, NULL));
    g_assert_cmpint(next_us, ==, INT64_MAX);
    expect_whole(&scratch);
    scratch_close(&scratch);
    clock_set_source(NULL);
}

/* A post that meets the damage is accepted all the same. */
static void
on_damaged(const char *text, void *user)
{
    ++*(int *)user;
}

static void
test_post(void)
{
    struct scratch scratch;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    const struct commit_limits limits = { UINT64_MAX, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    int told = 0;
    const struct commit_hooks hooks = { NULL, NULL, on_damaged, &told };
    g_autofree char *text = text_of(MANY + 1);
    uint64_t seq = 0;
    g_autoptr(GError) error = NULL;
    scratch_open(&scratch);
    fill(&scratch);
    scratch_sql(&scratch, "UPDATE state SET last_seq = last_seq - 1"); /* the next number is taken */
    struct commit *commit = commit_new(scratch.queue, scratch.path, scratch.lock, &limits, &hooks);
    struct message message = scratch_message(text);
    g_assert_true(commit_post(commit, &message, 1, 0, &seq, &error));
    g_assert_no_error(error);
    g_assert_cmpint(told, ==, 1);
    g_assert_true(exists(&scratch, ".salvage-1"));
    g_assert_cmpuint(salvage(&scratch, runs).lost, ==, 0);
    g_assert_cmpuint(scratch_counts(&scratch).waiting, ==, MANY - MANY / 5 - 2 + 1);
    expect_whole(&scratch);
    message_clear(&message);
    commit_free(commit);
    scratch_close(&scratch);
}

/* Whoever only waits, or asks, meets it as well; and is told it once he can be. */
static void
count_errors(int32_t level, const char *text, void *user)
{
    *(int *)user += level == HUBKEY_LOG_ERROR && strstr(text, "set aside");
}

static void
test_client(off_t at)
{
    struct scratch scratch;
    struct hubkey_options options = { .size = sizeof options, .flags = HUBKEY_FLAG_QUEUE_ONLY };
    struct hubkey_stats stats = { .size = sizeof stats };
    struct hubkey_error error;
    hubkey_client *client;
    int told = 0;
    scratch_open(&scratch);
    fill(&scratch);
    close_queue(&scratch);
    spoil(scratch.path, at, PAGE);
    options.queue_path = scratch.path;
    g_assert_cmpint(hubkey_client_open(&options, &client, &error), ==, 0);
    g_assert_cmpint(hubkey_client_set_callbacks(client, NULL, NULL, count_errors, &told), ==, 0);
    g_assert_cmpint(hubkey_client_wait_seq(client, MANY, 0), ==, HUBKEY_E_TIMEOUT);
    g_assert_cmpint(hubkey_client_flush(client, 0, &error), ==, HUBKEY_E_TIMEOUT);
    g_assert_cmpint(hubkey_client_stats(client, &stats), ==, 0);
    g_assert_cmpuint(stats.counts.waiting, ==, MANY - MANY / 5 - 2);
    g_assert_cmpint(hubkey_client_dispatch(client), >, 0);
    g_assert_cmpint(told, ==, 1);
    g_assert_true(exists(&scratch, ".salvage-1"));
    hubkey_client_close(client, 0);
    scratch_close(&scratch);
}

static void
test_waiter(void)
{
    test_client(0);    /* found when it is opened */
    test_client(PAGE); /* found when it is read */
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/salvage/empty-file", test_empty_file); /* first: these fork, and threads come later */
    g_test_add_func("/salvage/log-frame", test_log_frame);
    g_test_add_func("/salvage/begun", test_begun);
    g_test_add_func("/salvage/processes", test_processes);
    g_test_add_func("/salvage/relics", test_relics);
    g_test_add_func("/salvage/header", test_header);
    g_test_add_func("/salvage/post-meanwhile", test_post_meanwhile);
    g_test_add_func("/salvage/lost-page", test_lost_page);
    g_test_add_func("/salvage/wrong-byte", test_wrong_byte);
    g_test_add_func("/salvage/counters", test_counters);
    g_test_add_func("/salvage/counters-and-messages", test_counters_and_messages);
    g_test_add_func("/salvage/between", test_between);
    g_test_add_func("/salvage/owner", test_owner);
    g_test_add_func("/salvage/stray-log", test_stray_log);
    g_test_add_func("/salvage/random", test_random);
    g_test_add_func("/salvage/not-ours", test_not_ours);
    g_test_add_func("/salvage/traps", test_traps);
    g_test_add_func("/salvage/late-trap", test_late_trap);
    g_test_add_func("/salvage/all-rubbish", test_all_rubbish);
    g_test_add_func("/salvage/bounds", test_bounds);
    g_test_add_func("/salvage/others", test_others);
    g_test_add_func("/salvage/delivered-meanwhile", test_delivered_meanwhile);
    g_test_add_func("/salvage/delivered-unread", test_delivered_unread);
    g_test_add_func("/salvage/delivered-twice-damaged", test_delivered_twice_damaged);
    g_test_add_func("/salvage/expiry", test_expiry);
    g_test_add_func("/salvage/post", test_post);
    g_test_add_func("/salvage/waiter", test_waiter);
    return g_test_run();
}
