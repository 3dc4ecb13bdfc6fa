/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What durability costs: hubkey_client_post of 256 bytes while the sender has nothing to do (no hub can be reached),
 * beside the cheapest thing that is as durable, one append and fdatasync of the same bytes to a file in the same
 * directory. Both in turn in one process, because only their ratio means anything on a noisy disk.
 *
 *     bench-queue [post-idle|append]     in $STATE_DIRECTORY or /var/tmp; prints both rows, the named one first
 */
#include "tests/bench/disk.h"
#include "tests/bench/queues.h"
#include "tests/bench/timing.h"
#include "tests/lib/folder.h"

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#define BYTES 256
#define ROUNDS 4000
#define WARM_UP 200 /* the journal grows to its size first */

static void
post(hubkey_client *client, const char *body)
{
    struct hubkey_error error;
    struct hubkey_message message = { .size = sizeof message, .body = body, .len = BYTES };
    if (hubkey_client_post(client, &message, 0, NULL, &error) != 0)
        errx(1, "post: %s", error.text);
}

static void
append(int fd, const char *body)
{
    if (write(fd, body, BYTES) != BYTES || fdatasync(fd) != 0)
        err(1, "append");
}

static void
measure(hubkey_client *client, int fd, const char *row)
{
    static int64_t posts[ROUNDS], appends[ROUNDS];
    size_t n = timing_samples(ROUNDS);
    char body[BYTES];
    memset(body, 'x', sizeof body);
    for (size_t i = 0; i < WARM_UP; i++)
        post(client, body);
    for (size_t i = 0; i < n; i++) {
        int64_t begun = timing_now_ns();
        post(client, body);
        int64_t posted = timing_now_ns();
        append(fd, body);
        posts[i] = posted - begun;
        appends[i] = timing_now_ns() - posted;
    }
    bool append_first = row && strcmp(row, "append") == 0;
    if (append_first)
        timing_print("append", appends, n);
    timing_print("post-idle", posts, n);
    if (!append_first)
        timing_print("append", appends, n);
}

int
main(int argc, char **argv)
{
    const char *row = argc > 1 ? argv[1] : NULL;
    if (argc > 2 || (row && strcmp(row, "post-idle") != 0 && strcmp(row, "append") != 0))
        errx(2, "usage: bench-queue [post-idle|append]");
    char *folder = disk_folder();
    g_autofree char *path = g_build_filename(folder, "q", NULL), *plain = g_build_filename(folder, "append", NULL);
    hubkey_client *client = queues_open_offline(path);
    int fd = open(plain, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        err(1, "%s", plain);
    measure(client, fd, row);
    close(fd);
    hubkey_client_close(client, 0);
    folder_remove(folder);
    return 0;
}
