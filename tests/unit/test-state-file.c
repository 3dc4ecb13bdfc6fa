/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/state-file.c: what is written comes back, rubbish does not, and progress does not wear out the disk.
 */
#include <config.h>

#include "client/hubkey.h"
#include "client/state-file.h"
#include "common/clock.h"
#include "tests/lib/scratch.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

struct world {
    struct scratch scratch;
    struct state_file *file;
    char *path;
};

static void
start(struct world *world)
{
    scratch_clock_start();
    scratch_open(&world->scratch);
    world->file = state_file_new(world->scratch.path);
    world->path = g_strconcat(world->scratch.path, ".state", NULL);
}

static void
end(struct world *world)
{
    state_file_free(world->file);
    scratch_close(&world->scratch);
    clock_set_source(NULL);
    g_free(world->path);
}

static const struct pump_status rejected = { .state = HUBKEY_STATE_REJECTED,
                                             .reason = HUBKEY_REASON_KEY,
                                             .http_status = 401,
                                             .since_ms = 1767268800001,
                                             .next_attempt_ms = 1767268830000,
                                             .last_delivery_ms = 1767268700000,
                                             .clock_skew_s = -7,
                                             .text = "the hub said no = never: ask" };

static void
test_round(void)
{
    struct world world;
    struct pump_status back;
    struct stat st;
    int32_t pid;
    start(&world);
    g_assert_false(state_file_read(world.scratch.path, &back, &pid));
    g_assert_cmpint(state_file_tell(world.file, &rejected), ==, INT64_MAX);
    g_assert_true(state_file_read(world.scratch.path, &back, &pid));
    g_assert_cmpint(pid, ==, getpid());
    g_assert_cmpmem(&back, sizeof back, &rejected, sizeof rejected);
    g_assert_cmpint(stat(world.path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    end(&world);
}

static ino_t
inode(const struct world *world)
{
    struct stat st;
    g_assert_cmpint(stat(world->path, &st), ==, 0);
    return st.st_ino;
}

/* Every file that is written is another one. */
static void
test_progress(void)
{
    struct world world;
    struct pump_status status = { .state = HUBKEY_STATE_ONLINE, .last_delivery_ms = 1 }, back;
    int32_t pid;
    start(&world);
    state_file_tell(world.file, &status);
    ino_t first = inode(&world);
    for (int i = 0; i < 1000; i++) {
        status.last_delivery_ms++;
        g_assert_cmpint(state_file_tell(world.file, &status), ==, scratch_clock_us() + 1000000);
    }
    g_assert_cmpint(inode(&world), ==, first);
    scratch_clock_move(1);
    g_assert_cmpint(state_file_tell(world.file, &status), ==, INT64_MAX);
    g_assert_true(state_file_read(world.scratch.path, &back, &pid));
    g_assert_cmpint(back.last_delivery_ms, ==, 1001);
    status.state = HUBKEY_STATE_OFFLINE; /* at once */
    state_file_tell(world.file, &status);
    g_assert_true(state_file_read(world.scratch.path, &back, &pid));
    g_assert_cmpint(back.state, ==, HUBKEY_STATE_OFFLINE);
    end(&world);
}

static void
test_rubbish(void)
{
    static const char *const texts[] = { "", "\n", "=", "pid=1\n", "pid=1\nstate=sleepy\nreason=\n",
                                         "pid=-5\nstate=online\nreason=\n", "pid=1\nstate=online\nreason=whim\n",
                                         "state=online", "pid=1\nstate=\nreason=\n" };
    struct world world;
    struct pump_status back;
    int32_t pid;
    start(&world);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_assert_true(g_file_set_contents(world.path, texts[i], -1, NULL));
        g_assert_false(state_file_read(world.scratch.path, &back, &pid));
        g_assert_cmpint(back.state, ==, 0);
        g_assert_cmpint(pid, ==, 0);
    }
    g_autofree char *big = g_strnfill(100000, 'x');
    memcpy(big, "pid=1\nstate=online\nreason=\nnew=1\ntext=", strlen("pid=1\nstate=online\nreason=\nnew=1\ntext="));
    g_assert_true(g_file_set_contents(world.path, big, -1, NULL));
    g_assert_true(state_file_read(world.scratch.path, &back, &pid)); /* of a newer version; cut */
    g_assert_cmpuint(strlen(back.text), ==, sizeof back.text - 1);
    end(&world);
}

/* Who may write in the directory makes nobody write or read elsewhere. */
static void
test_links(void)
{
    struct world world;
    struct pump_status back;
    int32_t pid;
    start(&world);
    g_autofree char *made = g_strconcat(world.path, ".new", NULL);
    g_autofree char *other = g_build_filename(world.scratch.dir, "other", NULL);
    g_assert_true(g_file_set_contents(other, "pid=1\nstate=online\nreason=\n", -1, NULL));
    g_assert_cmpint(symlink(other, world.path), ==, 0);
    g_assert_false(state_file_read(world.scratch.path, &back, &pid));
    g_assert_cmpint(symlink(other, made), ==, 0);
    state_file_tell(world.file, &rejected);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(other, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "pid=1\nstate=online\nreason=\n");
    g_assert_true(state_file_read(world.scratch.path, &back, &pid));
    end(&world);
}

/* Nor keeps anybody from sending. */
static void
test_fifo(void)
{
    struct world world;
    struct pump_status back;
    int32_t pid;
    start(&world);
    g_autofree char *made = g_strconcat(world.path, ".new", NULL);
    g_assert_cmpint(mkfifo(made, 0600), ==, 0);
    alarm(20);
    state_file_tell(world.file, &rejected);
    alarm(0);
    g_assert_true(state_file_read(world.scratch.path, &back, &pid));
    g_assert_cmpint(back.state, ==, HUBKEY_STATE_REJECTED);
    end(&world);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state-file/round", test_round);
    g_test_add_func("/state-file/progress", test_progress);
    g_test_add_func("/state-file/rubbish", test_rubbish);
    g_test_add_func("/state-file/links", test_links);
    g_test_add_func("/state-file/fifo", test_fifo);
    return g_test_run();
}
