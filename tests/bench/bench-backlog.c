/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a million messages of 256 bytes cost that wait:
 *
 *     open-million   hubkey_client_open, file and journal not in the system's cache; a program of its own each time
 *     rss-drain      the most private memory (RssAnon) of a program that sends them to the sandbox's hub, in KiB
 *     rss-drain-1000 that of the same program with a thousand of them
 *     rss-drain-more the difference
 *
 * Runs in ./run sandbox, half a minute; prints all rows, the named one first.
 */
#include "tests/bench/disk.h"
#include "tests/bench/queues.h"
#include "tests/bench/timing.h"
#include "tests/lib/folder.h"

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#define BYTES 256
#define MILLION 1000000
#define THOUSAND 1000
#define OPENS 9
#define SAMPLE_US 5000
#define LIMIT_MS (240 * 1000)

static char *queue;

static hubkey_client *
open_client(uint32_t flags)
{
    struct hubkey_options options = {
        .size = sizeof options, .queue_path = queue, .max_requests_per_minute = UINT32_MAX, .flags = flags
    };
    return queues_open(&options);
}

/* In a child, because SQLite and the heap keep some of what they took. */
static void
in_child(void (*work)(int out), int64_t *result)
{
    int ends[2], status;
    if (pipe(ends) != 0)
        err(1, "pipe");
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        work(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], result, sizeof *result) != sizeof *result || waitpid(child, &status, 0) != child || status != 0)
        errx(1, "a child did not end well");
    close(ends[0]);
}

static void
tell(int out, int64_t result)
{
    if (write(out, &result, sizeof result) != sizeof result)
        err(1, "write");
}

/* ---- filling */

static size_t wanted;

static void
fill(int out)
{
    char body[BYTES];
    hubkey_client *client = open_client(HUBKEY_FLAG_QUEUE_ONLY);
    memset(body, 'x', sizeof body);
    queues_fill(client, body, sizeof body, wanted);
    hubkey_client_close(client, 0);
    tell(out, 0);
}

/* ---- opening */

static void
drop_from_cache(const char *suffix)
{
    g_autofree char *path = g_strconcat(queue, suffix, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* With nobody to send to, or what waits would become less each time. */
static void
open_once(int out)
{
    drop_from_cache("");
    drop_from_cache("-wal");
    int64_t begun = timing_now_ns();
    hubkey_client *client = queues_open_offline(queue);
    tell(out, timing_now_ns() - begun);
    hubkey_client_close(client, 0);
}

static void
measure_opens(int64_t samples[OPENS])
{
    for (size_t i = 0; i < OPENS; i++)
        in_child(open_once, &samples[i]);
}

/* ---- draining */

static int64_t
private_kib(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[MAX(n, 0)] = '\0';
    const char *field = strstr(text, "RssAnon:");
    if (!field)
        errx(1, "the kernel does not tell RssAnon");
    return strtoll(field + strlen("RssAnon:"), NULL, 10);
}

static void
drain(int out)
{
    hubkey_client *client = open_client(0);
    struct hubkey_error error;
    int64_t most = 0, until = timing_now_ns() + LIMIT_MS * INT64_C(1000000);
    int result = HUBKEY_E_TIMEOUT;
    while (result == HUBKEY_E_TIMEOUT && timing_now_ns() < until) {
        most = MAX(most, private_kib());
        result = hubkey_client_flush(client, SAMPLE_US / 1000, &error);
    }
    if (result != 0)
        errx(1, "%s", error.text);
    most = MAX(most, private_kib());
    hubkey_client_close(client, 0);
    tell(out, most);
}

/* ---- all of it */

enum { OPEN_MILLION, DRAIN, DRAIN_1000, DRAIN_MORE, ROWS };

static const char *const names[ROWS] = { "open-million", "rss-drain", "rss-drain-1000", "rss-drain-more" };

static void
measure(int64_t opens[OPENS], int64_t kib[ROWS])
{
    int64_t ignored;
    wanted = THOUSAND;
    in_child(fill, &ignored);
    in_child(drain, &kib[DRAIN_1000]);
    wanted = MILLION;
    in_child(fill, &ignored);
    measure_opens(opens);
    in_child(drain, &kib[DRAIN]);
    kib[DRAIN_MORE] = kib[DRAIN] - kib[DRAIN_1000];
}

static void
print_row(size_t row, int64_t opens[OPENS], const int64_t kib[ROWS])
{
    if (row == OPEN_MILLION)
        timing_print_ms(names[row], opens, OPENS);
    else
        printf("%s %" G_GINT64_FORMAT " - KiB\n", names[row], kib[row]);
}

static size_t
find_row(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < ROWS; i++)
        if (strcmp(argv[1], names[i]) == 0)
            return i;
    errx(2, "usage: bench-backlog open-million|rss-drain|rss-drain-1000|rss-drain-more");
}

int
main(int argc, char **argv)
{
    int64_t opens[OPENS], kib[ROWS];
    size_t first = find_row(argc, argv);
    char *folder = disk_folder();
    queue = g_build_filename(folder, "q", NULL);
    measure(opens, kib);
    print_row(first, opens, kib);
    for (size_t row = 0; row < ROWS; row++)
        if (row != first)
            print_row(row, opens, kib);
    folder_remove(folder);
    g_free(queue);
    return 0;
}
