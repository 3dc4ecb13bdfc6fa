/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/pages-internal.h"
#include "client/failure.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_MIN 512

#define AT_PAGE_SIZE 16

#define LOG_MAGIC UINT32_C(0x377f0682) /* or one more: checksums of big-endian words */
#define LOG_HEADER 32
#define FRAME_HEADER 24

uint32_t
pages_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool
read_all(int fd, void *into, size_t len, off_t at)
{
    ssize_t n;
    do
        n = pread(fd, into, len, at);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len;
}

static bool
is_page_size(uint32_t size)
{
    return size >= SIZE_MIN && size <= PAGES_SIZE_MAX && (size & (size - 1)) == 0;
}

/* ---- The log (the format's section 4.2) */

struct log {
    struct pages *pages;
    bool big_endian; /* how words are summed up */
    uint8_t salt[8];
    uint32_t sums[2];
    GHashTable *waiting; /* what the transaction at hand has, for pages->in_log once it is complete */
    uint8_t *frame;
};

static void
sum_up(const struct log *log, const uint8_t *bytes, size_t len, uint32_t sums[2])
{
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint32_t words[2];
        memcpy(words, bytes + i, sizeof words);
        for (int k = 0; k < 2; k++)
            words[k] = log->big_endian ? GUINT32_FROM_BE(words[k]) : GUINT32_FROM_LE(words[k]);
        sums[0] += words[0] + sums[1];
        sums[1] += words[1] + sums[0];
    }
}

static bool
read_log_header(struct log *log)
{
    uint8_t header[LOG_HEADER];
    struct pages *pages = log->pages;
    if (pages->log_fd < 0 || !read_all(pages->log_fd, header, sizeof header, 0))
        return false;
    uint32_t magic = pages_u32(header), size = pages_u32(header + 8);
    if ((magic & ~1u) != LOG_MAGIC || !is_page_size(size))
        return false;
    if (!pages->has_header)
        pages->size = size;
    log->big_endian = magic & 1;
    memcpy(log->salt, header + 16, sizeof log->salt);
    sum_up(log, header, 24, log->sums);
    return size == pages->size;
}

/* A transaction is complete: the last frame of each page in it counts. */
static void
end_transaction(struct log *log, uint32_t count)
{
    GHashTableIter all;
    gpointer page, frame;
    g_hash_table_iter_init(&all, log->waiting);
    while (g_hash_table_iter_next(&all, &page, &frame))
        g_hash_table_insert(log->pages->in_log, page, frame);
    g_hash_table_remove_all(log->waiting);
    log->pages->count = MAX(log->pages->count, count);
}

/* The sums go on from what the frame before says of itself, so that one bad frame is not the end. Frames of an earlier
 * log have another salt. False: this one is not there. */
static bool
take_frame(struct log *log, uint32_t number)
{
    struct pages *pages = log->pages;
    size_t len = FRAME_HEADER + pages->size;
    if (!read_all(pages->log_fd, log->frame, len, LOG_HEADER + (off_t)(number - 1) * (off_t)len))
        return false;
    uint32_t page = pages_u32(log->frame), count = pages_u32(log->frame + 4);
    uint32_t told[2] = { pages_u32(log->frame + 16), pages_u32(log->frame + 20) };
    sum_up(log, log->frame, 8, log->sums);
    sum_up(log, log->frame + FRAME_HEADER, pages->size, log->sums);
    bool good = memcmp(log->sums, told, sizeof told) == 0 && memcmp(log->frame + 8, log->salt, sizeof log->salt) == 0;
    memcpy(log->sums, told, sizeof told);
    if (!good || page == 0)
        return true;
    g_hash_table_insert(log->waiting, GUINT_TO_POINTER(page), GUINT_TO_POINTER(number));
    if (count)
        end_transaction(log, count);
    return true;
}

/* And counts the pages, whose size only the log may know. */
static void
read_log(struct pages *pages, uint64_t file_bytes)
{
    struct log log = { .pages = pages };
    pages->has_log = read_log_header(&log);
    pages->count = (uint32_t)MIN((file_bytes + pages->size - 1) / pages->size, UINT32_MAX - 1);
    if (!pages->has_log)
        return;
    log.waiting = g_hash_table_new(NULL, NULL);
    log.frame = g_malloc(FRAME_HEADER + pages->size);
    for (uint32_t number = 1; take_frame(&log, number);)
        number++;
    g_hash_table_unref(log.waiting);
    g_free(log.frame);
}

/* ---- The file */

static void
read_header(struct pages *pages)
{
    uint8_t header[100];
    bool good = read_all(pages->fd, header, sizeof header, 0) && memcmp(header, PAGES_MAGIC, sizeof PAGES_MAGIC) == 0;
    uint32_t size = good ? (uint32_t)header[AT_PAGE_SIZE] << 8 | header[AT_PAGE_SIZE + 1] : 0;
    size = size == 1 ? PAGES_SIZE_MAX : size;
    pages->has_header = is_page_size(size);
    pages->size = pages->has_header ? size : PAGES_SIZE_USUAL;
}

bool
pages_read(const struct pages *pages, uint32_t number, uint8_t *into)
{
    uint32_t frame = GPOINTER_TO_UINT(g_hash_table_lookup(pages->in_log, GUINT_TO_POINTER(number)));
    if (number < 1 || number > pages->count)
        return false;
    if (frame == 0)
        return read_all(pages->fd, into, pages->size, (off_t)(number - 1) * pages->size);
    off_t at = LOG_HEADER + (off_t)(frame - 1) * (FRAME_HEADER + pages->size) + FRAME_HEADER;
    return read_all(pages->log_fd, into, pages->size, at);
}

struct pages *
pages_open(const char *path, GError **error)
{
    g_autofree char *log = g_strconcat(path, "-wal", NULL);
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = errno;
        failure_set(error, HUBKEY_E_QUEUE_IO, "cannot read the damaged %s: %s; check its owner, mode and disk", path,
                    g_strerror(code));
        if (fd >= 0)
            close(fd);
        errno = code;
        return NULL;
    }
    struct pages *pages = g_new0(struct pages, 1);
    pages->fd = fd;
    pages->log_fd = open(log, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    pages->in_log = g_hash_table_new(NULL, NULL);
    read_header(pages);
    read_log(pages, (uint64_t)st.st_size);
    pages->is_free = pages_find_free(pages);
    return pages;
}

void
pages_close(struct pages *pages)
{
    if (!pages)
        return;
    close(pages->fd);
    if (pages->log_fd >= 0)
        close(pages->log_fd);
    g_hash_table_unref(pages->in_log);
    g_free(pages->is_free);
    g_free(pages);
}

uint32_t
pages_size(const struct pages *pages)
{
    return pages->size;
}

uint32_t
pages_count(const struct pages *pages)
{
    return pages->count;
}

bool
pages_has_header(const struct pages *pages)
{
    return pages->has_header;
}

bool
pages_has_log(const struct pages *pages)
{
    return pages->has_log;
}

bool
pages_is_free(const struct pages *pages, uint32_t number)
{
    return number >= 1 && number <= pages->count && pages_set_has(pages->is_free, number);
}
