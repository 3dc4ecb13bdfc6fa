/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/key-pipe.c: a key by file descriptor, to its exact limits, and from nothing else than pipes and files.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/key-pipe.h"
#include "tests/lib/await.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct result {
    int calls;
    struct secret *key;
    GError *error;
};

static void
on_done(struct secret *key, const GError *error, void *user)
{
    struct result *result = user;
    g_assert_true((key == NULL) != (error == NULL));
    result->calls++;
    result->key = key;
    result->error = error ? g_error_copy(error) : NULL;
}

static bool
has_result(void *user)
{
    return ((struct result *)user)->calls > 0;
}

static bool
is_closed(int fd)
{
    return fcntl(fd, F_GETFD) < 0;
}

/* Reads fd and lets the loop run on for a turn, so that a second call would be seen. */
static struct result
read_from(int fd, unsigned limit_ms)
{
    struct result result = { 0 };
    key_pipe_read(fd, limit_ms, on_done, &result);
    g_assert_cmpint(result.calls, ==, 0); /* never before returning */
    g_assert_true(await(has_result, &result));
    await_idle();
    g_assert_cmpint(result.calls, ==, 1);
    g_assert_true(is_closed(fd));
    return result;
}

static void
expect_refused(int fd, unsigned limit_ms, const char *words)
{
    struct result result = read_from(fd, limit_ms);
    g_assert_error(result.error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    g_assert_true(g_str_has_prefix(result.error->message, "key: "));
    g_assert_nonnull(strstr(result.error->message, words));
    g_error_free(result.error);
}

static void
expect_key(int fd, const uint8_t *bytes, size_t len)
{
    struct result result = read_from(fd, KEY_PIPE_LIMIT_MS);
    g_assert_no_error(result.error);
    g_assert_cmpmem(result.key->data, result.key->len, bytes, len);
    secret_free(result.key);
}

static int
memfd_of(const uint8_t *bytes, size_t len)
{
    int fd = memfd_create("key", MFD_CLOEXEC);
    g_assert_cmpint(write(fd, bytes, len), ==, (ssize_t)len);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    return fd;
}

/* A pipe with all of it in, its writing end closed. */
static int
pipe_of(const uint8_t *bytes, size_t len)
{
    int ends[2];
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    g_assert_cmpint(write(ends[1], bytes, len), ==, (ssize_t)len);
    close(ends[1]);
    return ends[0];
}

static void
test_lengths(void)
{
    uint8_t bytes[KEY_PIPE_MAX + 1];
    static const size_t good[] = { 1, 32, 64, 65, 1023, 1024 };
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7); /* with zeros and line feeds: these are bytes, not text */
    expect_refused(pipe_of(bytes, 0), KEY_PIPE_LIMIT_MS, "empty");
    expect_refused(memfd_of(bytes, 0), KEY_PIPE_LIMIT_MS, "empty");
    expect_refused(pipe_of(bytes, 1025), KEY_PIPE_LIMIT_MS, "longer than 1024 bytes");
    expect_refused(memfd_of(bytes, 1025), KEY_PIPE_LIMIT_MS, "longer than 1024 bytes");
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        expect_key(pipe_of(bytes, good[i]), bytes, good[i]);
        expect_key(memfd_of(bytes, good[i]), bytes, good[i]);
    }
}

/* Read to the end already: says from where it must be read. */
static void
test_at_end(void)
{
    int fd = memfd_of((const uint8_t *)"0123", 4);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, 4);
    expect_refused(fd, KEY_PIPE_LIMIT_MS, "from the start of the file");
}

static void
test_wrong_kinds(void)
{
    int pair[2], ends[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint(write(pair[1], "0123", 4), ==, 4);
    expect_refused(pair[0], KEY_PIPE_LIMIT_MS, "neither a pipe nor a file");
    close(pair[1]);
    expect_refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), KEY_PIPE_LIMIT_MS, "neither a pipe nor a file");
    expect_refused(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), KEY_PIPE_LIMIT_MS, "neither a pipe nor a file");
    expect_refused(open("/dev/zero", O_RDONLY | O_CLOEXEC), KEY_PIPE_LIMIT_MS, "neither a pipe nor a file");
    expect_refused(epoll_create1(EPOLL_CLOEXEC), KEY_PIPE_LIMIT_MS,
                   "neither a pipe nor a file"); /* never ready to read */
    expect_refused(-1, KEY_PIPE_LIMIT_MS, "neither a pipe nor a file");
    /* The wrong end, and a file that was opened for no reading. */
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    close(ends[0]);
    expect_refused(ends[1], KEY_PIPE_LIMIT_MS, "cannot be read");
    expect_refused(open("/proc/self/exe", O_PATH | O_CLOEXEC), KEY_PIPE_LIMIT_MS, "cannot be read");
}

/* A writer that never closes is not waited for beyond the limit, whether it writes or not. */
static void
test_never_closing(void)
{
    for (int n = 0; n < 2; n++) {
        int ends[2];
        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        g_assert_cmpint(write(ends[1], "0123", (size_t)n * 4), ==, n * 4);
        expect_refused(ends[0], 20, "did not close the pipe within 20 ms");
        close(ends[1]);
    }
    g_assert_cmpint(KEY_PIPE_LIMIT_MS, ==, 5000);
}

struct writer {
    int fd, left;
};

static gboolean
write_byte(gpointer data)
{
    struct writer *writer = data;
    if (writer->left-- > 0 && write(writer->fd, "k", 1) == 1)
        return G_SOURCE_CONTINUE;
    close(writer->fd);
    return G_SOURCE_REMOVE;
}

/* Byte by byte, while the loop does other things. */
static void
test_pieces(void)
{
    int ends[2];
    uint8_t wanted[200];
    memset(wanted, 'k', sizeof wanted);
    g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
    struct writer writer = { ends[1], sizeof wanted };
    g_idle_add(write_byte, &writer);
    expect_key(ends[0], wanted, sizeof wanted);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/key-pipe/lengths", test_lengths);
    g_test_add_func("/key-pipe/at-end", test_at_end);
    g_test_add_func("/key-pipe/wrong-kinds", test_wrong_kinds);
    g_test_add_func("/key-pipe/never-closing", test_never_closing);
    g_test_add_func("/key-pipe/pieces", test_pieces);
    return g_test_run();
}
