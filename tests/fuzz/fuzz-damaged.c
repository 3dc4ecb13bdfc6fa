/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A damaged queue, read without SQLite. The first two bytes say how many sectors of 512 bytes the file has; what
 * follows behind them is its journal. Whatever is found in it is what it claims to be, and all of its bytes are there.
 */
#include <config.h>

#include "client/relic.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#define SECTOR 512
#define PAGES_MAX 64 /* looked at; a mutated size of the database is no reason to look for ever */

static char *path, *log_path;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    path = g_build_filename(fuzz_folder(), "q", NULL);
    log_path = g_strconcat(path, "-wal", NULL);
    return 0;
}

static void
write_file(const char *name, const uint8_t *data, size_t size)
{
    FILE *out = fopen(name, "we");
    g_assert_nonnull(out);
    g_assert_cmpuint(fwrite(data, 1, size, out), ==, size);
    g_assert_cmpint(fclose(out), ==, 0);
}

/* Touches every byte, for a sanitizer to see. */
static unsigned
sum(const void *bytes, size_t len)
{
    unsigned total = 0;
    for (size_t i = 0; i < len; i++)
        total += ((const uint8_t *)bytes)[i];
    return total;
}

static void
expect_relic(const struct relic *relic)
{
    const struct hubkey_counts *counts = &relic->state.counts;
    switch (relic->kind) {
    case RELIC_WAITING:
    case RELIC_DEAD:
        g_assert_cmpuint(relic->row.seq, >=, 1);
        g_assert_cmpuint(relic->row.len + relic->row.properties_len, <=, CELLS_BYTES_MAX);
        (void)(sum(relic->row.body, relic->row.len) + sum(relic->row.properties, relic->row.properties_len));
        break;
    case RELIC_STATE:
        g_assert_cmpuint(counts->accepted, ==,
                         counts->delivered + counts->waiting + counts->dead + counts->dropped + counts->removed);
        break;
    case RELIC_GONE:
        g_assert_cmpuint(relic->numbers[0], <=, relic->numbers[1]);
        break;
    case RELIC_EXPIRY:
        g_assert_cmpuint(relic->numbers[4], <=, HUBKEY_TTL_MAX_S);
        break;
    default:
        break;
    }
    (void)sum(relic->text, relic->text_len);
}

static void
look(const struct pages *pages)
{
    struct cells *cells = cells_new(pages);
    struct cells_row row;
    struct relic relic;
    for (uint32_t page = 1; page <= MIN(pages_count(pages), PAGES_MAX); page++)
        for (bool rows = cells_begin(cells, page); rows && cells_next(cells, &row);)
            if (relic_read(&row, &relic))
                expect_relic(&relic);
    cells_free(cells);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t file = size < 2 ? 0 : MIN(((size_t)data[0] << 8 | data[1]) * SECTOR, size - 2);
    if (size < 2)
        return 0;
    write_file(path, data + 2, file);
    write_file(log_path, data + 2 + file, size - 2 - file);
    struct pages *pages = pages_open(path, NULL);
    g_assert_nonnull(pages);
    look(pages);
    pages_close(pages);
    return 0;
}
