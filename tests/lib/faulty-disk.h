/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A disk that goes wrong when it is told to. This takes the place of the C library's functions that change files, for
 * the whole program that is linked with it, SQLite included; what does not lie below the folder it was told of, and
 * what is not on a disk in truth (shared memory, locks), goes by unseen.
 *
 * A change is a write, a truncation, a flush of a file or folder, a renaming, a removal, or the making of a file.
 * Flushes do not reach the real disk, which makes them fast; what they would have made safe is known here.
 */
#pragma once

#include <stdint.h>

enum faulty_disk {
    FAULTY_NONE,
    FAULTY_KILL,  /* the program is killed before the change */
    FAULTY_LOST,  /* the power fails: nothing that was not flushed is there afterwards, new names neither */
    FAULTY_TORN,  /* the power fails: of what was not flushed any sectors may be there, by seed */
    FAULTY_FULL,  /* the change, and all after it, find no room; removals and flushes work */
    FAULTY_READS, /* the change, and all after it, find a file system that can only be read */
    FAULTY_ONCE,  /* the change fails with EIO; those after it work */
};

/* Watches the folder from now on and counts from 0. The at-th change, from 1, is the first that goes wrong. */
void faulty_disk_order(const char *folder, enum faulty_disk what, unsigned at, uint32_t seed);

void faulty_disk_heal(void); /* nothing goes wrong any more */

unsigned faulty_disk_count(void); /* changes since the order */
