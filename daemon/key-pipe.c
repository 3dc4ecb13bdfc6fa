/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/key-pipe.h"
#include "common/error.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

struct reading {
    int fd;
    struct secret *key; /* one byte more than allowed, to see that there is no more */
    guint ready, limit; /* sources */
    unsigned limit_ms;
    key_pipe_fn done;
    void *user;
};

static void
finish(struct reading *reading, const GError *error)
{
    g_source_remove(reading->ready);
    g_source_remove(reading->limit);
    close(reading->fd);
    reading->done(error ? NULL : g_steal_pointer(&reading->key), error, reading->user);
    secret_free(reading->key);
    g_free(reading);
}

static void
fail(struct reading *reading, const char *why)
{
    g_autoptr(GError) error = NULL;
    error_set(&error, ERROR_INVALID_ARGUMENT, "key: %s", why);
    finish(reading, error);
}

static gboolean
too_slow(gpointer data)
{
    struct reading *reading = data;
    g_autofree char *why = g_strdup_printf("its writer did not close the pipe within %u ms", reading->limit_ms);
    fail(reading, why);
    return G_SOURCE_CONTINUE; /* finish has removed it */
}

static gboolean
read_some(gint fd, GIOCondition condition, gpointer data)
{
    struct reading *reading = data;
    struct secret *key = reading->key;
    ssize_t n = read(fd, key->data + key->len, KEY_PIPE_MAX + 1 - key->len);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return G_SOURCE_CONTINUE;
    if (n > 0 && (key->len += (size_t)n) <= KEY_PIPE_MAX)
        return G_SOURCE_CONTINUE;
    if (n < 0)
        fail(reading, "it cannot be read from the descriptor; pass a pipe's reading end or a memfd");
    else if (n > 0)
        fail(reading, "longer than 1024 bytes");
    else if (key->len == 0)
        fail(reading, "empty; pass the raw key, 1 to 1024 bytes, from the start of the file");
    else
        finish(reading, NULL);
    return G_SOURCE_CONTINUE;
}

static gboolean
refuse(gpointer data)
{
    fail(data, "the descriptor is neither a pipe nor a file");
    return G_SOURCE_CONTINUE;
}

void
key_pipe_read(int fd, unsigned limit_ms, key_pipe_fn done, void *user)
{
    struct reading *reading = g_new0(struct reading, 1);
    struct stat info;
    bool usable = fstat(fd, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode));
    reading->fd = fd;
    reading->key = secret_new(KEY_PIPE_MAX + 1);
    reading->done = done;
    reading->user = user;
    reading->limit_ms = limit_ms;
    reading->limit = g_timeout_add(limit_ms, too_slow, reading);
    reading->ready = usable ? g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, read_some, reading)
                            : g_idle_add(refuse, reading);
}
