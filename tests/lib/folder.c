/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/folder.h"

#include <ftw.h>
#include <stdio.h>

#include <glib.h>

char *
folder_new(void)
{
    g_autoptr(GError) error = NULL;
    char *path = g_dir_make_tmp("hk-test-XXXXXX", &error);
    g_assert_no_error(error);
    return path;
}

static int
remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    return remove(path);
}

void
folder_remove(char *path)
{
    if (path)
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(path);
}

char *
folder_file(const char *folder, const char *name, const void *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    char *path = g_build_filename(folder, name, NULL);
    if (text)
        g_file_set_contents(path, text, (gssize)len, &error);
    g_assert_no_error(error);
    return path;
}
