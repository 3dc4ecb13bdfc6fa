/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The index in memory is one entry a request and one a stored request's messages; texts and bodies stay in the journal.
 */
#include "config.h"

#include "tests/hub/ledger.h"
#include "tests/hub/ids.h"
#include "tests/hub/journal.h"

#include <string.h>

#define HEAD_FIRST_READ 65536u

enum kind { KIND_REQUEST = 1, KIND_FINISH, KIND_CONFIRM, KIND_FORGET, KIND_DEVICE, KIND_IN_FLIGHT };

enum { STORED = 1, REPLY_SENT = 2, CONFIRMED = 4 };

struct entry {
    uint64_t offset;
    int64_t end_us;
    uint32_t flags;
};

struct run { /* the messages of one request */
    uint64_t first_seq;
    uint64_t number;
    const char *device; /* interned */
};

struct live {
    const struct request *request;
    const struct items *items;
};

struct ledger {
    struct journal journal;
    GArray *entries; /* of struct entry, by number - 1 */
    GArray *runs;    /* of struct run, by first_seq */
    GHashTable *live; /* number -> struct live */
    struct ids *ids;
    GHashTable *max_in_flight; /* device -> count */
    uint64_t next_seq;
    uint64_t messages_kept;
    struct ledger_counts counts;
    GByteArray *scratch;
    ledger_device_fn put_device;
    void *user;
};

static struct entry *
entry_of(const struct ledger *ledger, uint64_t number)
{
    return number && number <= ledger->entries->len ? &g_array_index(ledger->entries, struct entry, number - 1) : NULL;
}

/* Whether an earlier acceptance of this id was confirmed; *known: whether there was one at all. */
static bool
is_confirmed(const struct ledger *ledger, struct ids_mark mark, bool *known)
{
    size_t cursor = 0;
    uint64_t number;

    *known = false;
    while ((number = ids_next(ledger->ids, mark, &cursor))) {
        *known = true;
        const struct entry *entry = entry_of(ledger, number);
        if (entry && entry->flags & CONFIRMED)
            return true;
    }
    return false;
}

/* What changes in memory when messages are stored, at run time and at replay alike. Yields the duplicates. */
static uint32_t
add_messages(struct ledger *ledger, const struct request *request, struct unpack ids)
{
    const uint64_t identity = ids_identity(request->device, request->module);
    const struct run run = { request->first_seq, request->number, g_intern_string(request->device) };
    uint32_t duplicates = 0;

    while (ids.at < ids.end && !ids.bad) {
        size_t len;
        const char *id = (const char *)unpack_bytes(&ids, &len);
        bool known;
        if (!id)
            continue;
        const struct ids_mark mark = ids_mark(identity, id, len);
        is_confirmed(ledger, mark, &known);
        duplicates += known;
        ids_add(ledger->ids, mark, (uint32_t)request->number);
    }
    g_array_append_val(ledger->runs, run);
    ledger->next_seq = request->first_seq + request->items;
    ledger->messages_kept += request->items;
    return duplicates;
}

static void
count(struct ledger *ledger, const struct request *request)
{
    struct ledger_counts *counts = &ledger->counts;

    counts->accepted += request->accepted;
    counts->refused += request->status >= 300;
    counts->messages += request->accepted ? request->items : 0;
    counts->duplicates += request->duplicates;
    counts->unexplained += request->unexplained;
}

static void
set_stored(struct ledger *ledger, const struct request *request, uint64_t offset)
{
    struct entry *entry = entry_of(ledger, request->number);

    entry->offset = offset;
    entry->end_us = request->end_us;
    entry->flags |= STORED | (request->reply_sent ? REPLY_SENT : 0);
    count(ledger, request);
}

static void
replay_request(struct ledger *ledger, uint64_t offset, struct unpack in)
{
    struct request request = { 0 };
    struct unpack ids;

    if (request_unpack(&in, &request, &ids) && request.number && request.number <= LEDGER_REQUESTS_MAX) {
        if (request.number > ledger->entries->len)
            g_array_set_size(ledger->entries, (guint)request.number);
        ledger->counts.requests = ledger->entries->len;
        ledger->counts.connections = MAX(ledger->counts.connections, request.connection);
        if (request.accepted)
            request.duplicates = add_messages(ledger, &request, ids);
        set_stored(ledger, &request, offset);
    }
    request_clear(&request);
}

static void
apply_finish(struct ledger *ledger, uint64_t number, int64_t end_us, bool reply_sent)
{
    struct entry *entry = entry_of(ledger, number);

    if (!entry)
        return;
    entry->end_us = end_us;
    entry->flags |= reply_sent ? REPLY_SENT : 0;
}

static void
apply_confirm(struct ledger *ledger, uint64_t number)
{
    struct entry *entry = entry_of(ledger, number);

    if (entry)
        entry->flags |= CONFIRMED;
}

static void
apply_forget(struct ledger *ledger, uint64_t next_seq)
{
    g_array_set_size(ledger->runs, 0);
    ids_reset(ledger->ids);
    ledger->messages_kept = 0;
    ledger->next_seq = MAX(ledger->next_seq, next_seq);
}

static bool
apply_in_flight(struct ledger *ledger, const char *device, uint32_t n)
{
    if (GPOINTER_TO_UINT(g_hash_table_lookup(ledger->max_in_flight, device)) >= n)
        return false;
    g_hash_table_replace(ledger->max_in_flight, g_strdup(device), GUINT_TO_POINTER(n));
    return true;
}

static void
replay_device(struct ledger *ledger, const uint8_t *payload, size_t len)
{
    json_t *device = json_loadb((const char *)payload, len, 0, NULL);

    if (device)
        ledger->put_device(ledger->user, device);
    json_decref(device);
}

static void
replay(void *user, uint32_t kind, uint64_t offset, const uint8_t *payload, size_t len)
{
    struct ledger *ledger = user;
    struct unpack in = { payload, payload + len, false };

    if (kind == KIND_REQUEST) {
        replay_request(ledger, offset, in);
    } else if (kind == KIND_FINISH) {
        const uint64_t number = unpack_u64(&in);
        const int64_t end_us = (int64_t)unpack_u64(&in);
        apply_finish(ledger, number, end_us, unpack_u32(&in));
    } else if (kind == KIND_CONFIRM) {
        apply_confirm(ledger, unpack_u64(&in));
    } else if (kind == KIND_FORGET) {
        apply_forget(ledger, unpack_u64(&in));
    } else if (kind == KIND_DEVICE) {
        replay_device(ledger, payload, len);
    } else if (kind == KIND_IN_FLIGHT) {
        const uint32_t n = unpack_u32(&in);
        g_autofree char *device = unpack_text(&in);
        apply_in_flight(ledger, device, n);
    }
}

struct ledger *
ledger_open(const char *path, ledger_device_fn put_device, void *user, GError **error)
{
    struct ledger *ledger = g_new0(struct ledger, 1);

    ledger->entries = g_array_new(FALSE, TRUE, sizeof(struct entry));
    ledger->runs = g_array_new(FALSE, FALSE, sizeof(struct run));
    ledger->live = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    ledger->ids = ids_new();
    ledger->max_in_flight = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    ledger->next_seq = 1;
    ledger->scratch = g_byte_array_new();
    ledger->put_device = put_device;
    ledger->user = user;
    if (!journal_open(&ledger->journal, path, replay, ledger, error)) {
        ledger_close(ledger);
        return NULL;
    }
    return ledger;
}

void
ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return;
    journal_close(&ledger->journal);
    g_array_unref(ledger->entries);
    g_array_unref(ledger->runs);
    g_hash_table_unref(ledger->live);
    ids_free(ledger->ids);
    g_hash_table_unref(ledger->max_in_flight);
    g_byte_array_unref(ledger->scratch);
    g_free(ledger);
}

uint64_t
ledger_connection(struct ledger *ledger)
{
    return ++ledger->counts.connections;
}

bool
ledger_begin(struct ledger *ledger, struct request *request, const struct items *items)
{
    struct live *live;

    if (ledger->entries->len >= LEDGER_REQUESTS_MAX)
        return false;
    g_array_set_size(ledger->entries, ledger->entries->len + 1);
    request->number = ledger->counts.requests = ledger->entries->len;
    live = g_new(struct live, 1);
    *live = (struct live){ request, items };
    g_hash_table_insert(ledger->live, g_memdup2(&request->number, sizeof request->number), live);
    return true;
}

void
ledger_arrived(struct ledger *ledger, struct request *request, const struct items *items)
{
    const uint64_t identity = ids_identity(request->device, request->module);
    struct unpack ids = { items->ids->data, items->ids->data + items->ids->len, false };
    bool known;

    while (ids.at < ids.end && !ids.bad) {
        size_t len;
        const char *id = (const char *)unpack_bytes(&ids, &len);
        if (id && is_confirmed(ledger, ids_mark(identity, id, len), &known))
            request->unexplained++;
    }
}

static bool
append(struct ledger *ledger, enum kind kind, const GByteArray *bodies, bool sync, uint64_t *offset)
{
    const struct journal_part parts[] = {
        { ledger->scratch->data, ledger->scratch->len },
        { bodies ? bodies->data : NULL, bodies ? bodies->len : 0 },
    };
    uint64_t ignored;
    const bool ok = journal_append(&ledger->journal, kind, parts, G_N_ELEMENTS(parts), sync, offset ? offset : &ignored);

    g_byte_array_set_size(ledger->scratch, 0);
    return ok;
}

static bool
store_refused(struct ledger *ledger, struct request *request, const struct items *items)
{
    uint64_t offset;

    request_pack(request, items->ids, ledger->scratch);
    if (!append(ledger, KIND_REQUEST, NULL, false, &offset))
        return false;
    set_stored(ledger, request, offset);
    return true;
}

static bool
store_accepted(struct ledger *ledger, struct request *request, const struct items *items)
{
    struct unpack ids = { items->ids->data, items->ids->data + items->ids->len, false };
    uint64_t offset;

    request->accepted = true;
    request->accepted_ms = g_get_real_time() / 1000;
    request->first_seq = ledger->next_seq;
    request_pack(request, items->ids, ledger->scratch);
    if (!append(ledger, KIND_REQUEST, items->bodies, true, &offset)) {
        request->accepted = false;
        return false;
    }
    request->duplicates = add_messages(ledger, request, ids);
    set_stored(ledger, request, offset);
    return true;
}

bool
ledger_store(struct ledger *ledger, struct request *request, const struct items *items, bool accept)
{
    const bool room = ledger->messages_kept + items->count <= LEDGER_MESSAGES_MAX;
    const bool stored = accept ? room && store_accepted(ledger, request, items) : store_refused(ledger, request, items);

    if (stored)
        g_hash_table_remove(ledger->live, &request->number);
    return stored;
}

void
ledger_finish(struct ledger *ledger, uint64_t number, int64_t end_us, bool reply_sent)
{
    pack_u64(ledger->scratch, number);
    pack_u64(ledger->scratch, (uint64_t)end_us);
    pack_u32(ledger->scratch, reply_sent);
    append(ledger, KIND_FINISH, NULL, false, NULL);
    apply_finish(ledger, number, end_us, reply_sent);
}

void
ledger_confirm(struct ledger *ledger, uint64_t number)
{
    pack_u64(ledger->scratch, number);
    append(ledger, KIND_CONFIRM, NULL, false, NULL);
    apply_confirm(ledger, number);
}

void
ledger_in_flight(struct ledger *ledger, const char *device, uint32_t n)
{
    if (!apply_in_flight(ledger, device, n))
        return;
    pack_u32(ledger->scratch, n);
    pack_text(ledger->scratch, device);
    append(ledger, KIND_IN_FLIGHT, NULL, false, NULL);
}

bool
ledger_put_device(struct ledger *ledger, const json_t *device)
{
    char *text = json_dumps(device, JSON_COMPACT);
    bool ok;

    g_byte_array_append(ledger->scratch, (const guint8 *)text, (guint)strlen(text));
    ok = append(ledger, KIND_DEVICE, NULL, true, NULL);
    free(text);
    return ok;
}

bool
ledger_forget_messages(struct ledger *ledger)
{
    pack_u64(ledger->scratch, ledger->next_seq);
    if (!append(ledger, KIND_FORGET, NULL, true, NULL))
        return false;
    apply_forget(ledger, ledger->next_seq);
    return true;
}

void
ledger_counts(const struct ledger *ledger, struct ledger_counts *counts)
{
    *counts = ledger->counts;
}

json_t *
ledger_max_in_flight(const struct ledger *ledger)
{
    json_t *object = json_object();
    GHashTableIter iter;
    gpointer device, n;

    g_hash_table_iter_init(&iter, ledger->max_in_flight);
    while (g_hash_table_iter_next(&iter, &device, &n))
        json_object_set_new(object, device, json_integer(GPOINTER_TO_UINT(n)));
    return object;
}

static GBytes *
pack_live(const struct live *live)
{
    GByteArray *out = g_byte_array_new();

    request_pack(live->request, live->items->ids, out);
    return g_byte_array_free_to_bytes(out);
}

static void
clear_place(void *data)
{
    g_clear_pointer(&((struct ledger_place *)data)->live, g_bytes_unref);
}

static GArray *
places_new(void)
{
    GArray *places = g_array_new(FALSE, FALSE, sizeof(struct ledger_place));

    g_array_set_clear_func(places, clear_place);
    return places;
}

GArray *
ledger_requests(const struct ledger *ledger, uint64_t after, uint32_t limit)
{
    GArray *places = places_new();

    for (uint64_t number = after + 1; number && number <= ledger->entries->len && places->len < limit; number++) {
        const struct entry *entry = entry_of(ledger, number);
        const struct live *live = g_hash_table_lookup(ledger->live, &number);
        const struct ledger_place place = { .number = number,
                                            .offset = entry->offset,
                                            .end_us = entry->end_us,
                                            .reply_sent = entry->flags & REPLY_SENT,
                                            .live = live ? pack_live(live) : NULL };
        if (live || entry->flags & STORED)
            g_array_append_val(places, place);
    }
    return places;
}

/* The index of the run that holds seq, or of the first one after it. */
static guint
find_run(const struct ledger *ledger, uint64_t seq)
{
    guint low = 0, high = ledger->runs->len;

    while (low < high) {
        const guint middle = low + (high - low) / 2;
        if (g_array_index(ledger->runs, struct run, middle).first_seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : 0;
}

GArray *
ledger_messages(const struct ledger *ledger, uint64_t after, const char *device, uint32_t limit)
{
    GArray *places = places_new();

    if (after == UINT64_MAX)
        return places;
    for (guint i = find_run(ledger, after + 1); i < ledger->runs->len && places->len <= limit; i++) {
        const struct run *run = &g_array_index(ledger->runs, struct run, i);
        if (device && strcmp(device, run->device) != 0)
            continue;
        const struct ledger_place place = { .number = run->number,
                                            .first_seq = run->first_seq,
                                            .offset = entry_of(ledger, run->number)->offset };
        g_array_append_val(places, place);
    }
    return places;
}

GBytes *
ledger_read(const struct ledger *ledger, const struct ledger_place *place)
{
    return journal_read(&ledger->journal, place->offset, JOURNAL_RECORD_MAX);
}

/* Most heads fit the first read; the head's own length says when one does not. */
GBytes *
ledger_read_head(const struct ledger *ledger, const struct ledger_place *place)
{
    g_autoptr(GBytes) head = NULL;
    gsize size;
    uint32_t len;

    if (place->live)
        return g_bytes_ref(place->live);
    head = journal_read(&ledger->journal, place->offset, HEAD_FIRST_READ);
    if (!head)
        return NULL;
    const uint8_t *data = g_bytes_get_data(head, &size);
    if (size < sizeof len)
        return NULL;
    memcpy(&len, data, sizeof len);
    if (sizeof len + (gsize)len <= size)
        return g_steal_pointer(&head);
    return journal_read(&ledger->journal, place->offset, sizeof len + (gsize)len);
}
