/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What durability costs: hubkey_client_post of 256 bytes while the sender has nothing to do (no hub can be reached),
 * beside the cheapest thing that is as durable, one append and fdatasync of the same bytes to a file in the same
 * directory. Both in turn in one process, because only their ratio means anything on a noisy disk.
 *
 *     bench-post [DIRECTORY [ROUNDS]]
 */
#include "client/hubkey.h"
#include "tests/bench/timing.h"

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BYTES 256
#define ROUNDS 4000
#define ROUNDS_MAX 1000000
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
measure(hubkey_client *client, int fd, size_t rounds)
{
    int64_t *posts = calloc(rounds, sizeof *posts), *appends = calloc(rounds, sizeof *appends);
    char body[BYTES];
    if (!posts || !appends)
        errx(1, "out of memory");
    memset(body, 'x', sizeof body);
    for (size_t i = 0; i < WARM_UP; i++)
        post(client, body);
    for (size_t i = 0; i < rounds; i++) {
        int64_t begun = timing_now_ns();
        post(client, body);
        int64_t posted = timing_now_ns();
        append(fd, body);
        posts[i] = posted - begun;
        appends[i] = timing_now_ns() - posted;
    }
    timing_print("post-idle", posts, rounds);
    timing_print("append", appends, rounds);
    free(posts);
    free(appends);
}

int
main(int argc, char **argv)
{
    const char *parent = argc > 1 ? argv[1] : "/var/tmp";
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS;
    char directory[4096], path[4200], plain[4200];
    if (rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "rounds must be 1 to %d", ROUNDS_MAX);
    if (snprintf(directory, sizeof directory, "%s/hk-post-XXXXXX", parent) >= (int)sizeof directory || !mkdtemp(directory))
        err(1, "a directory in %s", parent);
    snprintf(path, sizeof path, "%s/q", directory);
    snprintf(plain, sizeof plain, "%s/append", directory);

    /* A bus that is not there: the sender waits for hubkeyd, and sends nothing. */
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    struct hubkey_options options = { .size = sizeof options, .queue_path = path, .socket_path = "" };
    struct hubkey_error error;
    hubkey_client *client;
    if (hubkey_client_open(&options, &client, &error) != 0)
        errx(1, "%s", error.text);
    int fd = open(plain, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        err(1, "%s", plain);
    measure(client, fd, rounds);
    close(fd);
    hubkey_client_close(client, 0);

    static const char *const suffixes[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char file[4300];
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        unlink(file);
    }
    unlink(plain);
    return rmdir(directory) == 0 ? 0 : 1;
}
