/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma once

/* A folder of its own in $STATE_DIRECTORY, or /var/tmp, for folder_remove. Ends the program where that is no disk:
 * figures from memory would mean nothing. */
char *disk_folder(void);
