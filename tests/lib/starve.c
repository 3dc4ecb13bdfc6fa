/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/starve.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <glib.h>

static struct rlimit before;

void
starve_begin(void)
{
    int lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    g_assert_cmpint(lowest, >=, 0);
    close(lowest);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    const struct rlimit none = { .rlim_cur = (rlim_t)lowest, .rlim_max = before.rlim_max };
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
}

void
starve_end(void)
{
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
}
