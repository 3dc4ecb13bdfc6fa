/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The pages of an SQLite database and of the write-ahead log beside it, read without SQLite and changing nothing: for a
 * file that SQLite will not open, or only in part. As https://sqlite.org/fileformat2.html describes them.
 *
 * A page of the log that is not what was written (its checksum differs) is passed over, and what the file or an earlier
 * part of the log has in its place counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define PAGES_SIZE_MAX 65536
/* Of the files that we make, and what is taken where no header says another. A post writes two pages or three, so the
 * journal grows by less of a small one; what a power cut may do to the rest of a sector is the same that the journal,
 * which begins a commit where the last one ends, has to stand already (https://sqlite.org/psow.html). */
#define PAGES_SIZE_USUAL 1024

struct pages;

/* The header of a database, page 1, at these places. */
#define PAGES_MAGIC "SQLite format 3" /* and the NUL */
#define PAGES_AT_APPLICATION 68

struct pages *pages_open(const char *path, GError **error); /* NULL: errno says why, too */
void pages_close(struct pages *pages);                      /* NULL is fine */

uint32_t pages_size(const struct pages *pages);  /* bytes of one */
uint32_t pages_count(const struct pages *pages); /* they are numbered from 1 */

/* Whether page 1 of the file is the header of a database at all. */
bool pages_has_header(const struct pages *pages);

/* Whether there is a log with a header of its own. */
bool pages_has_log(const struct pages *pages);

/* Reads pages_size bytes. False where they are not there, or cannot be read. */
bool pages_read(const struct pages *pages, uint32_t number, uint8_t *into);

/* Known to hold nothing any more, though it may still look as if it did. */
bool pages_is_free(const struct pages *pages, uint32_t number);

uint32_t pages_u32(const uint8_t *bytes); /* big-endian, as everything there is */
