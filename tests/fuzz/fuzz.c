/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/fuzz/fuzz.h"
#include "common/error.h"
#include "tests/lib/folder.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static char *folder;

static GLogWriterOutput
swallow(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer user)
{
    return level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? g_log_writer_default(level, fields, n, NULL)
                                                              : G_LOG_WRITER_HANDLED;
}

void
fuzz_begin(GLogWriterFunc hear)
{
    g_log_set_writer_func(hear ? hear : swallow, NULL, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_setenv("TSS2_LOG", "all+none", TRUE);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    if (access("/dev/shm", W_OK) == 0)
        g_setenv("TMPDIR", "/dev/shm", TRUE);
}

char *
fuzz_text(const uint8_t *data, size_t size)
{
    return memchr(data, '\0', size) ? NULL : g_strndup((const char *)data, size);
}

const char *
fuzz_file(const uint8_t *data, size_t size)
{
    static char path[32];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    g_assert_cmpint(pwrite(fd, data, size, 0), ==, (ssize_t)size);
    return path;
}

static void
remove_folder(void)
{
    g_clear_pointer(&folder, folder_remove);
}

const char *
fuzz_folder(void)
{
    if (!folder) {
        folder = folder_new();
        atexit(remove_folder);
    }
    return folder;
}

void
fuzz_expect_error(GError **error)
{
    g_assert_nonnull(*error);
    g_assert_true((*error)->domain == ERROR_DOMAIN);
    g_assert_cmpstr((*error)->message, !=, "");
    g_assert_true(g_utf8_validate((*error)->message, -1, NULL));
    g_assert_null(strpbrk((*error)->message, "\r\n"));
    g_clear_error(error);
}
