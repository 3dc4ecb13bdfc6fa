/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/secret.h"
#include "common/error.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whole pages, so that locking and MADV_DONTDUMP touch nothing else. */
static size_t
round_to_pages(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

struct secret *
secret_new(size_t capacity)
{
    size_t mapped = round_to_pages(MAX(capacity, 1));
    void *data = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        g_error("out of memory: %zu bytes for a secret", mapped);
    (void)mlock(data, mapped);
    (void)madvise(data, mapped, MADV_DONTDUMP);
    (void)madvise(data, mapped, MADV_DONTFORK);
    struct secret *secret = g_new(struct secret, 1);
    *secret = (struct secret){ .data = data, .capacity = mapped };
    return secret;
}

void
secret_free(struct secret *secret)
{
    if (!secret)
        return;
    explicit_bzero(secret->data, secret->capacity);
    munmap(secret->data, secret->capacity);
    g_free(secret);
}

struct secret *
secret_read_fd(int fd, size_t max, GError **error)
{
    g_autoptr(secret_auto) secret = secret_new(max + 1);
    for (;;) {
        ssize_t n = read(fd, secret->data + secret->len, max + 1 - secret->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_set(error, ERROR_INVALID_ARGUMENT, "cannot read the key: %s", g_strerror(errno));
            return NULL;
        }
        if (n == 0)
            return g_steal_pointer(&secret);
        secret->len += (size_t)n;
        if (secret->len > max) {
            error_set(error, ERROR_INVALID_ARGUMENT, "the key is longer than %zu bytes", max);
            return NULL;
        }
    }
}
