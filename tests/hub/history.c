/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Texts and bodies stay in the journal: an entry says where.
 */
#include <config.h>

#include "tests/hub/history.h"
#include "tests/hub/ids.h"

struct history {
    GArray *entries; /* of struct history_entry, by number - 1 */
    GArray *runs;    /* of struct history_run */
    struct ids *ids;
    GHashTable *max_in_flight;
    uint64_t next_seq;
    uint64_t messages_kept;
    struct history_counts counts;
};

struct history *
history_new(void)
{
    struct history *history = g_new0(struct history, 1);

    history->entries = g_array_new(FALSE, TRUE, sizeof(struct history_entry));
    history->runs = g_array_new(FALSE, FALSE, sizeof(struct history_run));
    history->ids = ids_new();
    history->max_in_flight = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    history->next_seq = 1;
    return history;
}

void
history_free(struct history *history)
{
    g_array_unref(history->entries);
    g_array_unref(history->runs);
    ids_free(history->ids);
    g_hash_table_unref(history->max_in_flight);
    g_free(history);
}

static struct history_entry *
entry_of(const struct history *history, uint64_t number)
{
    return number && number <= history->entries->len
               ? &g_array_index(history->entries, struct history_entry, number - 1)
               : NULL;
}

uint64_t
history_begin(struct history *history)
{
    if (history->entries->len >= HISTORY_REQUESTS_MAX)
        return 0;
    g_array_set_size(history->entries, history->entries->len + 1);
    return history->counts.requests = history->entries->len;
}

uint64_t
history_connection(struct history *history)
{
    return ++history->counts.connections;
}

struct acceptance {
    bool known;
    bool confirmed;
};

/* What is known of earlier acceptances of an id. */
static struct acceptance
find_acceptance(const struct history *history, struct ids_mark mark)
{
    struct acceptance found = { false, false };
    size_t cursor = 0;
    uint64_t number;

    while (!found.confirmed && (number = ids_next(history->ids, mark, &cursor))) {
        const struct history_entry *entry = entry_of(history, number);
        found.known = true;
        found.confirmed = entry && entry->confirmed;
    }
    return found;
}

uint32_t
history_unexplained(const struct history *history, const struct request *request, struct unpack ids)
{
    const uint64_t identity = ids_identity(request->device, request->module);
    uint32_t unexplained = 0;

    while (ids.at < ids.end && !ids.bad) {
        size_t len;
        const char *id = (const char *)unpack_bytes(&ids, &len);
        if (id && find_acceptance(history, ids_mark(identity, id, len)).confirmed)
            unexplained++;
    }
    return unexplained;
}

bool
history_has_room(const struct history *history, uint32_t messages)
{
    return history->messages_kept + messages <= HISTORY_MESSAGES_MAX;
}

static void
add_messages(struct history *history, struct request *request, struct unpack ids)
{
    const uint64_t identity = ids_identity(request->device, request->module);
    const struct history_run run = { request->first_seq, request->number, g_intern_string(request->device) };

    request->duplicates = 0;
    while (ids.at < ids.end && !ids.bad) {
        size_t len;
        const char *id = (const char *)unpack_bytes(&ids, &len);
        if (!id)
            continue;
        const struct ids_mark mark = ids_mark(identity, id, len);
        request->duplicates += find_acceptance(history, mark).known;
        ids_add(history->ids, mark, (uint32_t)request->number);
    }
    g_array_append_val(history->runs, run);
    history->next_seq = request->first_seq + request->items;
    history->messages_kept += request->items;
}

static void
count(struct history_counts *counts, const struct request *request)
{
    counts->accepted += request->accepted;
    counts->refused += request->status >= 300;
    counts->messages += request->accepted ? request->items : 0;
    counts->duplicates += request->duplicates;
    counts->unexplained += request->unexplained;
    counts->connections = MAX(counts->connections, request->connection);
}

void
history_store(struct history *history, struct request *request, struct unpack ids, uint64_t offset)
{
    struct history_entry *entry;

    if (request->number == 0 || request->number > HISTORY_REQUESTS_MAX)
        return;
    if (request->number > history->entries->len)
        g_array_set_size(history->entries, (guint)request->number);
    history->counts.requests = history->entries->len;
    if (request->accepted)
        add_messages(history, request, ids);
    entry = entry_of(history, request->number);
    entry->offset = offset;
    entry->end_us = request->end_us;
    entry->stored = true;
    entry->reply_sent = request->reply_sent;
    count(&history->counts, request);
}

void
history_finish(struct history *history, uint64_t number, int64_t end_us, bool reply_sent)
{
    struct history_entry *entry = entry_of(history, number);

    if (!entry)
        return;
    entry->end_us = end_us;
    entry->reply_sent = reply_sent;
}

void
history_confirm(struct history *history, uint64_t number)
{
    struct history_entry *entry = entry_of(history, number);

    if (entry)
        entry->confirmed = true;
}

void
history_forget(struct history *history, uint64_t next_seq)
{
    g_array_set_size(history->runs, 0);
    ids_reset(history->ids);
    history->messages_kept = 0;
    history->next_seq = MAX(history->next_seq, next_seq);
}

bool
history_in_flight(struct history *history, const char *device, uint32_t n)
{
    if (GPOINTER_TO_UINT(g_hash_table_lookup(history->max_in_flight, device)) >= n)
        return false;
    g_hash_table_replace(history->max_in_flight, g_strdup(device), GUINT_TO_POINTER(n));
    return true;
}

const struct history_counts *
history_counts(const struct history *history)
{
    return &history->counts;
}

uint64_t
history_next_seq(const struct history *history)
{
    return history->next_seq;
}

GHashTable *
history_max_in_flight(const struct history *history)
{
    return history->max_in_flight;
}

const struct history_entry *
history_entry(const struct history *history, uint64_t number)
{
    return entry_of(history, number);
}

const struct history_run *
history_run(const struct history *history, guint index)
{
    return index < history->runs->len ? &g_array_index(history->runs, struct history_run, index) : NULL;
}

guint
history_find_run(const struct history *history, uint64_t seq)
{
    guint low = 0, high = history->runs->len;

    while (low < high) {
        const guint middle = low + (high - low) / 2;
        if (history_run(history, middle)->first_seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : 0;
}
