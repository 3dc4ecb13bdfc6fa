/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Record: magic, kind, length, check, payload. The check covers kind, length and payload, so a tail that was never
 * written whole ends the file at replay.
 */
#include <config.h>

#include "tests/hub/journal.h"
#include "tests/hub/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#define MAGIC 0x68756221u
#define LOCK_TRIES 50
#define LOCK_PAUSE_US 100000

struct head {
    uint32_t magic;
    uint32_t kind;
    uint32_t length;
    uint32_t check;
};

static bool
fail(GError **error, const char *path, const char *what)
{
    const int saved = errno;

    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(saved), "%s: %s: %s", path, what, g_strerror(saved));
    return false;
}

static uint32_t
check_of(uint32_t kind, const uint8_t *payload, size_t len)
{
    return (uint32_t)hash64(payload, len, ((uint64_t)kind << 32) | len);
}

static bool
is_whole(const uint8_t *at, size_t left, struct head *head)
{
    if (left < sizeof *head)
        return false;
    memcpy(head, at, sizeof *head);
    return head->magic == MAGIC && head->length <= JOURNAL_RECORD_MAX && head->length <= left - sizeof *head &&
           head->check == check_of(head->kind, at + sizeof *head, head->length);
}

static bool
replay_all(struct journal *journal, size_t size, journal_fn replay, void *user)
{
    struct head head;
    uint8_t *map;

    journal->size = 0;
    if (size == 0)
        return true;
    map = mmap(NULL, size, PROT_READ, MAP_SHARED, journal->fd, 0);
    if (map == MAP_FAILED)
        return false;
    while (is_whole(map + journal->size, size - journal->size, &head)) {
        replay(user, head.kind, journal->size, map + journal->size + sizeof head, head.length);
        journal->size += sizeof head + head.length;
    }
    munmap(map, size);
    return true;
}

/* A killed hub may hold its lock for a moment longer than its parent knows. */
static bool
lock(int fd)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        g_usleep(LOCK_PAUSE_US);
    }
    return false;
}

bool
journal_open(struct journal *journal, const char *path, journal_fn replay, void *user, GError **error)
{
    struct stat st;

    journal->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->fd < 0)
        return fail(error, path, "cannot open");
    if (!lock(journal->fd))
        return fail(error, path, "another test hub uses this state directory");
    if (fstat(journal->fd, &st) < 0 || !replay_all(journal, (size_t)st.st_size, replay, user))
        return fail(error, path, "cannot read");
    if ((uint64_t)st.st_size != journal->size) {
        g_printerr("hubkey-testhub: %s: cutting %llu bytes that were never finished\n", path,
                   (unsigned long long)((uint64_t)st.st_size - journal->size));
        if (ftruncate(journal->fd, (off_t)journal->size) < 0)
            return fail(error, path, "cannot cut the torn tail");
    }
    return true;
}

void
journal_close(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = -1;
}

static bool
write_all(struct journal *journal, const uint8_t *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        const ssize_t n = pwrite(journal->fd, data + done, len - done, (off_t)(journal->size + done));
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void
take_back(struct journal *journal)
{
    g_printerr("hubkey-testhub: journal: cannot append: %s\n", g_strerror(errno));
    if (ftruncate(journal->fd, (off_t)journal->size) < 0)
        g_printerr("hubkey-testhub: journal: cannot take the unfinished record back: %s\n", g_strerror(errno));
}

bool
journal_append(struct journal *journal, uint32_t kind, const struct journal_part *parts, unsigned n, bool sync,
               uint64_t *offset)
{
    g_autoptr(GByteArray) record = NULL;
    struct head head = { MAGIC, kind, 0, 0 };

    for (unsigned i = 0; i < n; i++)
        head.length += (uint32_t)parts[i].len;
    record = g_byte_array_sized_new((guint)sizeof head + head.length);
    g_byte_array_append(record, (const guint8 *)&head, sizeof head);
    for (unsigned i = 0; i < n; i++)
        if (parts[i].len)
            g_byte_array_append(record, parts[i].data, (guint)parts[i].len);
    head.check = check_of(kind, record->data + sizeof head, head.length);
    memcpy(record->data, &head, sizeof head);
    if (head.length > JOURNAL_RECORD_MAX || !write_all(journal, record->data, record->len) ||
        (sync && fdatasync(journal->fd) < 0)) {
        take_back(journal);
        return false;
    }
    *offset = journal->size;
    journal->size += record->len;
    return true;
}

GBytes *
journal_read(const struct journal *journal, uint64_t offset, size_t most)
{
    struct head head;

    if (pread(journal->fd, &head, sizeof head, (off_t)offset) != sizeof head || head.magic != MAGIC)
        return NULL;
    const size_t len = MIN(most, head.length);
    g_autofree uint8_t *payload = g_malloc(len + 1);
    if (pread(journal->fd, payload, len, (off_t)(offset + sizeof head)) != (ssize_t)len)
        return NULL;
    return g_bytes_new_take(g_steal_pointer(&payload), len);
}
