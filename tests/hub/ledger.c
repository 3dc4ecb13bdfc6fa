/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Accepted messages are synced before anything is said of them; the rest only has to outlive this process.
 */
#include <config.h>

#include "tests/hub/ledger.h"
#include "tests/hub/journal.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_FIRST_READ 65536u

enum kind { KIND_REQUEST = 1, KIND_FINISH, KIND_CONFIRM, KIND_FORGET, KIND_DEVICE, KIND_IN_FLIGHT };

struct live {
    const struct request *request;
    const struct items *items;
};

struct ledger {
    struct journal journal;
    struct history *history;
    GHashTable *live; /* number -> struct live: begun, not stored */
    GByteArray *scratch;
    ledger_device_fn put_device;
    void *user;
};

static void
replay_request(struct ledger *ledger, uint64_t offset, struct unpack in)
{
    struct request request = { 0 };
    struct unpack ids;

    if (request_unpack(&in, &request, &ids))
        history_store(ledger->history, &request, ids, offset);
    request_clear(&request);
}

static void
replay_finish(struct ledger *ledger, struct unpack in)
{
    const uint64_t number = unpack_u64(&in);
    const int64_t end_us = (int64_t)unpack_u64(&in);

    history_finish(ledger->history, number, end_us, unpack_u32(&in));
}

static void
replay_in_flight(struct ledger *ledger, struct unpack in)
{
    const uint32_t n = unpack_u32(&in);
    g_autofree char *device = unpack_text(&in);

    if (device)
        history_in_flight(ledger->history, device, n);
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

    switch ((enum kind)kind) {
    case KIND_REQUEST:
        replay_request(ledger, offset, in);
        break;
    case KIND_FINISH:
        replay_finish(ledger, in);
        break;
    case KIND_CONFIRM:
        history_confirm(ledger->history, unpack_u64(&in));
        break;
    case KIND_FORGET:
        history_forget(ledger->history, unpack_u64(&in));
        break;
    case KIND_DEVICE:
        replay_device(ledger, payload, len);
        break;
    case KIND_IN_FLIGHT:
        replay_in_flight(ledger, in);
        break;
    }
}

struct ledger *
ledger_open(const char *path, ledger_device_fn put_device, void *user, GError **error)
{
    struct ledger *ledger = g_new0(struct ledger, 1);

    ledger->history = history_new();
    ledger->live = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
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
    history_free(ledger->history);
    g_hash_table_unref(ledger->live);
    g_byte_array_unref(ledger->scratch);
    g_free(ledger);
}

const struct history *
ledger_history(const struct ledger *ledger)
{
    return ledger->history;
}

uint64_t
ledger_connection(struct ledger *ledger)
{
    return history_connection(ledger->history);
}

void
ledger_begin(struct ledger *ledger, struct request *request, const struct items *items)
{
    struct live *live;

    request->number = history_begin(ledger->history);
    if (request->number == 0)
        return;
    live = g_new(struct live, 1);
    *live = (struct live){ request, items };
    g_hash_table_insert(ledger->live, g_memdup2(&request->number, sizeof request->number), live);
}

static struct unpack
ids_of(const struct items *items)
{
    return (struct unpack){ items->ids->data, items->ids->data + items->ids->len, false };
}

void
ledger_arrived(struct ledger *ledger, struct request *request, const struct items *items)
{
    request->unexplained = history_unexplained(ledger->history, request, ids_of(items));
}

/* What was packed into scratch, and bodies, as one record. */
static bool
append(struct ledger *ledger, enum kind kind, const GByteArray *bodies, bool sync, uint64_t *offset)
{
    const struct journal_part parts[] = {
        { ledger->scratch->data, ledger->scratch->len },
        { bodies ? bodies->data : NULL, bodies ? bodies->len : 0 },
    };
    const bool ok = journal_append(&ledger->journal, kind, parts, G_N_ELEMENTS(parts), sync, offset);

    g_byte_array_set_size(ledger->scratch, 0);
    return ok;
}

bool
ledger_store(struct ledger *ledger, struct request *request, const struct items *items, bool accept)
{
    uint64_t offset;

    if (accept && !history_has_room(ledger->history, items->count))
        return false;
    request->accepted = accept;
    request->accepted_ms = accept ? g_get_real_time() / 1000 : 0;
    request->first_seq = accept ? history_next_seq(ledger->history) : 0;
    request_pack(request, items->ids, ledger->scratch);
    if (!append(ledger, KIND_REQUEST, accept ? items->bodies : NULL, accept, &offset)) {
        request->accepted = false;
        return false;
    }
    history_store(ledger->history, request, ids_of(items), offset);
    g_hash_table_remove(ledger->live, &request->number);
    return true;
}

void
ledger_finish(struct ledger *ledger, uint64_t number, int64_t end_us, bool reply_sent)
{
    uint64_t ignored;

    pack_u64(ledger->scratch, number);
    pack_u64(ledger->scratch, (uint64_t)end_us);
    pack_u32(ledger->scratch, reply_sent);
    append(ledger, KIND_FINISH, NULL, false, &ignored);
    history_finish(ledger->history, number, end_us, reply_sent);
}

void
ledger_confirm(struct ledger *ledger, uint64_t number)
{
    uint64_t ignored;

    pack_u64(ledger->scratch, number);
    append(ledger, KIND_CONFIRM, NULL, false, &ignored);
    history_confirm(ledger->history, number);
}

void
ledger_in_flight(struct ledger *ledger, const char *device, uint32_t n)
{
    uint64_t ignored;

    if (!history_in_flight(ledger->history, device, n))
        return;
    pack_u32(ledger->scratch, n);
    pack_text(ledger->scratch, device);
    append(ledger, KIND_IN_FLIGHT, NULL, false, &ignored);
}

bool
ledger_put_device(struct ledger *ledger, const json_t *device)
{
    char *text = json_dumps(device, JSON_COMPACT);
    uint64_t ignored;
    bool ok;

    g_byte_array_append(ledger->scratch, (const guint8 *)text, (guint)strlen(text));
    ok = append(ledger, KIND_DEVICE, NULL, true, &ignored);
    free(text);
    return ok;
}

bool
ledger_forget_messages(struct ledger *ledger)
{
    const uint64_t next_seq = history_next_seq(ledger->history);
    uint64_t ignored;

    pack_u64(ledger->scratch, next_seq);
    if (!append(ledger, KIND_FORGET, NULL, true, &ignored))
        return false;
    history_forget(ledger->history, next_seq);
    return true;
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
    const struct history_entry *entry;

    for (uint64_t number = after + 1; places->len < limit && (entry = history_entry(ledger->history, number));
         number++) {
        const struct live *live = g_hash_table_lookup(ledger->live, &number);
        const struct ledger_place place = { number, entry->offset, entry->end_us, entry->reply_sent,
                                            live ? pack_live(live) : NULL };
        if (live || entry->stored)
            g_array_append_val(places, place);
    }
    return places;
}

GArray *
ledger_messages(const struct ledger *ledger, uint64_t after, const char *device, uint32_t limit)
{
    GArray *places = places_new();
    const struct history_run *run;

    /* One run more than the limit, because the first may lie before the cursor for the most part. */
    for (guint i = history_find_run(ledger->history, after + 1);
         places->len <= limit && (run = history_run(ledger->history, i)); i++) {
        const struct ledger_place place = { .number = run->number,
                                            .offset = history_entry(ledger->history, run->number)->offset };
        if (!device || strcmp(device, run->device) == 0)
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
