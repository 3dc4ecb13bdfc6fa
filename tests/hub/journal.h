/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * An append-only file of checked records. What was appended with sync survives a power cut, without it a kill -9.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define JOURNAL_RECORD_MAX (16u << 20)

struct journal {
    int fd;
    uint64_t size;
};

typedef void (*journal_fn)(void *user, uint32_t kind, uint64_t offset, const uint8_t *payload, size_t len);

/* Opens or creates, takes the lock on the file, replays every whole record, cuts a torn tail off. */
bool journal_open(struct journal *journal, const char *path, journal_fn replay, void *user, GError **error);
void journal_close(struct journal *journal);

struct journal_part {
    const void *data;
    size_t len;
};

/* False when the disk refused; then the file is as before. *offset is the record's place. */
bool journal_append(struct journal *journal, uint32_t kind, const struct journal_part *parts, unsigned n, bool sync,
                    uint64_t *offset);

/* The payload's first bytes, at most as many as asked for. Any thread, beside appends. NULL: unreadable. */
GBytes *journal_read(const struct journal *journal, uint64_t offset, size_t most);
