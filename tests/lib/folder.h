/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A folder of a test's own, under the system's temporary one.
 */
#pragma once

#include <stddef.h>

char *folder_new(void);         /* g_free; ends the test program where there is none to be had */
void folder_remove(char *path); /* with all that is in it; frees path; NULL is fine */

/* A file in it. text NULL: nothing is written but the path is made. g_free the path. */
char *folder_file(const char *folder, const char *name, const void *text, size_t len);
