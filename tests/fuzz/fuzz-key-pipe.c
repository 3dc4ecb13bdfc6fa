/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A pipe or file that a key comes through. The first byte says which: a file, or a pipe that is filled in pieces of so
 * many bytes. The answer comes once; the key is all that was written, or it was empty or too long.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/key-pipe.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct outcome {
    unsigned calls;
    struct secret *key;
    GError *error;
};

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

static void
done(struct secret *key, const GError *error, void *user)
{
    struct outcome *outcome = user;
    outcome->calls++;
    outcome->key = key;
    outcome->error = error ? g_error_copy(error) : NULL;
}

static void
fill(int fd, const uint8_t *data, size_t size, size_t piece)
{
    while (size > 0) {
        size_t n = MIN(size, piece);
        if (write(fd, data, n) != (ssize_t)n)
            break; /* its reader has had enough */
        data += n;
        size -= n;
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    close(fd);
}

static void
check(const struct outcome *outcome, const uint8_t *data, size_t size)
{
    g_assert_cmpuint(outcome->calls, ==, 1);
    if (size >= 1 && size <= KEY_PIPE_MAX) {
        g_assert_no_error(outcome->error);
        g_assert_cmpmem(outcome->key->data, outcome->key->len, data, size);
    } else {
        g_assert_null(outcome->key);
        g_assert_error(outcome->error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome outcome = { 0 };
    int ends[2];
    size_t piece = size ? data[0] : 0;
    if (size)
        data++, size--;
    if (size > 4096)
        return 0;
    if (piece) {
        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        key_pipe_read(ends[0], KEY_PIPE_LIMIT_MS, done, &outcome);
        fill(ends[1], data, size, piece);
    } else {
        int fd = open(fuzz_file(data, size), O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        key_pipe_read(fd, KEY_PIPE_LIMIT_MS, done, &outcome);
    }
    while (!outcome.calls)
        g_main_context_iteration(NULL, TRUE);
    check(&outcome, data, size);
    secret_free(outcome.key);
    g_clear_error(&outcome.error);
    return 0;
}
