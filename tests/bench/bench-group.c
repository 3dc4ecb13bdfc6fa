/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What threads that post at the same time make of each disk flush: hubkey_client_post of 256 bytes by 1, 8 and 32
 * threads of one client, whose sender has nothing to do; posts a second. The three in turn, some times over, because
 * only their ratios mean anything on a noisy disk.
 *
 *     bench-group post-1|post-8|post-32     in $STATE_DIRECTORY or /var/tmp; prints all three rows, the named one first
 */
#include "tests/bench/disk.h"
#include "tests/bench/queues.h"
#include "tests/bench/timing.h"
#include "tests/lib/folder.h"

#include <err.h>
#include <string.h>

#include <glib.h>

#define BYTES 256
#define TURNS 5
#define FLUSHES 300 /* that one thread would take in a turn; the others get as long */
#define THREADS_MAX 32

static const struct {
    const char *name;
    size_t threads;
} rows[] = { { "post-1", 1 }, { "post-8", 8 }, { "post-32", 32 } };

struct poster {
    hubkey_client *client;
    size_t posts;
};

static gpointer
post(gpointer data)
{
    const struct poster *poster = data;
    struct hubkey_error error;
    char body[BYTES];
    memset(body, 'x', sizeof body);
    struct hubkey_message message = { .size = sizeof message, .body = body, .len = sizeof body };
    for (size_t i = 0; i < poster->posts; i++)
        if (hubkey_client_post(poster->client, &message, 0, NULL, &error) != 0)
            errx(1, "post: %s", error.text);
    return NULL;
}

/* Posts a second. */
static double
run_turn(hubkey_client *client, size_t threads)
{
    GThread *running[THREADS_MAX];
    struct poster poster = { client, FLUSHES };
    int64_t begun = timing_now_ns();
    for (size_t i = 0; i < threads; i++)
        running[i] = g_thread_new("poster", post, &poster);
    for (size_t i = 0; i < threads; i++)
        g_thread_join(running[i]);
    return (double)(threads * poster.posts) * 1e9 / (double)(timing_now_ns() - begun);
}

static int
compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void
print_row(size_t row, double rates[TURNS])
{
    qsort(rates, TURNS, sizeof rates[0], compare);
    printf("%s %.0f - post/s\n", rows[row].name, rates[TURNS / 2]);
}

static size_t
find_row(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < G_N_ELEMENTS(rows); i++)
        if (strcmp(argv[1], rows[i].name) == 0)
            return i;
    errx(2, "usage: bench-group post-1|post-8|post-32");
}

int
main(int argc, char **argv)
{
    double rates[G_N_ELEMENTS(rows)][TURNS];
    size_t first = find_row(argc, argv);
    char *folder = disk_folder();
    g_autofree char *path = g_build_filename(folder, "q", NULL);
    hubkey_client *client = queues_open_offline(path);
    (void)run_turn(client, 1); /* the journal grows to its size first */
    for (size_t turn = 0; turn < TURNS; turn++)
        for (size_t row = 0; row < G_N_ELEMENTS(rows); row++)
            rates[row][turn] = run_turn(client, rows[row].threads);
    hubkey_client_close(client, 0);
    print_row(first, rates[first]);
    for (size_t row = 0; row < G_N_ELEMENTS(rows); row++)
        if (row != first)
            print_row(row, rates[row]);
    folder_remove(folder);
    return 0;
}
