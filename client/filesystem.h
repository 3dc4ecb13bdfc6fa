/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which file systems a queue cannot lie on: those whose other end is another machine, a host or a program. SQLite's
 * journal is shared memory between the programs that have the file open, their locks must be one another's, and a flush
 * must reach a disk; over a network none of the three is certain (https://sqlite.org/wal.html, "all processes using a
 * database must be on the same host computer").
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* What a directory is on where that is such a file system, for people; free. NULL: it is local, or cannot be told. */
char *filesystem_remote(const char *directory);

/* The type of the file system with this device number by the text of /proc/self/mountinfo, as "fuse.sshfs"; free. NULL:
 * it is not there. */
char *filesystem_type(const char *mountinfo, dev_t device);
