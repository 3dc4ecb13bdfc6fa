/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/scratch.h"
#include "client/boot-id.h"
#include "client/place.h"
#include "common/clock.h"

#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <sqlite3.h>

static void
open_files(struct scratch *scratch)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *wanted = g_build_filename(scratch->dir, "q", NULL);
    scratch->path = place_prepare(wanted, true, &error);
    g_assert_no_error(error);
    scratch->lock = lock_open(scratch->path, true, &error);
    g_assert_no_error(error);
    scratch->queue = queue_open(scratch->path, scratch->lock, NULL, &error);
    g_assert_no_error(error);
}

static void
close_files(struct scratch *scratch)
{
    queue_close(scratch->queue);
    lock_close(scratch->lock);
    g_free(scratch->path);
}

void
scratch_open(struct scratch *scratch)
{
    g_autoptr(GError) error = NULL;
    scratch->dir = g_dir_make_tmp("hk-unit-XXXXXX", &error);
    g_assert_no_error(error);
    open_files(scratch);
}

void
scratch_reopen(struct scratch *scratch)
{
    close_files(scratch);
    open_files(scratch);
}

void
scratch_close(struct scratch *scratch)
{
    close_files(scratch);
    GDir *dir = g_dir_open(scratch->dir, 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(scratch->dir, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_assert_cmpint(g_rmdir(scratch->dir), ==, 0);
    g_free(scratch->dir);
}

struct message
scratch_message(const char *text)
{
    struct hubkey_message given = { .size = sizeof given, .body = text, .len = strlen(text) };
    struct message message;
    g_autoptr(GError) error = NULL;
    g_assert_true(message_prepare(&given, &message, &error));
    g_assert_no_error(error);
    return message;
}

static void
post(struct scratch *scratch, const char *const *texts, size_t n, uint64_t ttl_s)
{
    g_autoptr(GError) error = NULL;
    struct queue_state state;
    g_assert_true(queue_begin(scratch->queue, QUEUE_BUSY_MS, &error));
    g_assert_true(queue_get_state(scratch->queue, &state, &error));
    for (size_t i = 0; i < n; i++) {
        struct message message = scratch_message(texts[i]);
        message.ttl_s = ttl_s;
        g_assert_true(queue_insert(scratch->queue, ++state.counts.last_seq, &message, &error));
        state.counts.accepted++;
        state.counts.waiting++;
        state.counts.waiting_bytes += message.counted;
        message_clear(&message);
    }
    g_assert_true(queue_save_state(scratch->queue, &state, &error));
    g_assert_true(queue_commit(scratch->queue, &error));
    g_assert_no_error(error);
}

void
scratch_post(struct scratch *scratch, const char *const *texts, size_t n)
{
    post(scratch, texts, n, 0);
}

void
scratch_post_for(struct scratch *scratch, const char *text, uint64_t ttl_s)
{
    post(scratch, &text, 1, ttl_s);
}

struct hubkey_counts
scratch_counts(struct scratch *scratch)
{
    g_autoptr(GError) error = NULL;
    struct queue_state state;
    g_assert_true(queue_get_state(scratch->queue, &state, &error));
    const struct hubkey_counts *counts = &state.counts;
    g_assert_cmpuint(counts->accepted, ==,
                     counts->delivered + counts->waiting + counts->dead + counts->dropped + counts->removed);
    return state.counts;
}

void
scratch_sql(struct scratch *scratch, const char *sql)
{
    sqlite3 *db;
    g_assert_cmpint(sqlite3_open(scratch->path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(db);
}

void
scratch_age(struct scratch *scratch, int form)
{
    /* What takes away what queue-schema.c's step of this number adds. */
    static const char *const undo[] = {
        [2] = "DROP TABLE expiry; DROP TABLE boot; ALTER TABLE state DROP COLUMN expired;",
        [3] = "ALTER TABLE waiting DROP COLUMN crc; ALTER TABLE dead DROP COLUMN crc;",
        [4] = "ALTER TABLE state DROP COLUMN lost; DROP TABLE salvage;",
        [5] = "DROP TABLE owner;",
    };
    for (int step = G_N_ELEMENTS(undo) - 1; step > form; step--)
        scratch_sql(scratch, undo[step]);
    g_autofree char *version = g_strdup_printf("PRAGMA user_version = %d", form);
    scratch_sql(scratch, version);
}

static int64_t wall_us, running_us, suspended_us;

static int64_t
get_wall(void)
{
    return wall_us;
}

static int64_t
get_running(void)
{
    return running_us;
}

static int64_t
get_boot(void)
{
    return running_us + suspended_us;
}

void
scratch_clock_start(void)
{
    static const struct clock_source source = { get_wall, get_boot, get_running };
    wall_us = INT64_C(1767268800) * 1000000;
    running_us = INT64_C(1000) * 1000000;
    suspended_us = 0;
    clock_set_source(&source);
}

void
scratch_clock_move(int64_t seconds)
{
    wall_us += seconds * 1000000;
    running_us += seconds * 1000000;
}

void
scratch_clock_set_wall(int64_t seconds)
{
    wall_us = seconds * 1000000;
}

void
scratch_clock_suspend(int64_t seconds)
{
    wall_us += seconds * 1000000;
    suspended_us += seconds * 1000000;
}

void
scratch_clock_reboot(const char *boot)
{
    running_us = INT64_C(30) * 1000000;
    suspended_us = 0;
    boot_id_set(boot);
}

int64_t
scratch_clock_us(void)
{
    return get_boot();
}

GArray *
scratch_drop(struct scratch *scratch, uint64_t above, uint64_t n)
{
    struct queue_state state;
    g_autoptr(GError) error = NULL;
    GArray *dropped = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    g_assert_true(queue_begin(scratch->queue, QUEUE_BUSY_MS, &error));
    g_assert_true(queue_get_state(scratch->queue, &state, &error));
    g_assert_true(queue_drop_oldest(scratch->queue, &state, above, n, 0, dropped, &error));
    g_assert_true(queue_save_state(scratch->queue, &state, &error));
    g_assert_true(queue_commit(scratch->queue, &error));
    g_assert_no_error(error);
    return dropped;
}
