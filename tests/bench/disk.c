/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/bench/disk.h"

#include <err.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include <glib.h>

char *
disk_folder(void)
{
    const char *parent = g_getenv("STATE_DIRECTORY") ? g_getenv("STATE_DIRECTORY") : "/var/tmp";
    struct statfs fs;
    if (statfs(parent, &fs) != 0 || fs.f_type == TMPFS_MAGIC)
        errx(1, "%s is not on a disk", parent);
    char *folder = g_build_filename(parent, "hk-bench-XXXXXX", NULL);
    if (!g_mkdtemp(folder))
        err(1, "%s", folder);
    return folder;
}
