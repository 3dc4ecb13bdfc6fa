/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * An answer ends early, with a right cursor, once ADMIN_BYTES_MAX of the journal have been read for it.
 */
#include <config.h>

#include "tests/hub/admin-lists.h"
#include "tests/hub/codec.h"
#include "tests/hub/exchange.h"
#include "tests/hub/hub.h"
#include "tests/hub/items.h"
#include "tests/hub/ledger.h"
#include "tests/hub/request.h"

#define ADMIN_BYTES_MAX ((gsize)64 << 20)

/* null for absent text; what is no UTF-8 is shown with question marks. */
static json_t *
text_or_null(const char *text)
{
    g_autofree char *clean = NULL;

    if (!text)
        return json_null();
    for (char *c = clean = g_strdup(text); *c; c++)
        if (!g_ascii_isprint(*c))
            *c = '?';
    return json_string(clean);
}

static void
set_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void
add_properties(const struct item *item, json_t *app, json_t *system)
{
    struct unpack in = { item->properties, item->properties + item->properties_len, false };

    while (in.at < in.end && !in.bad) {
        const bool is_system = *in.at++;
        g_autofree char *name = unpack_text(&in);
        g_autofree char *value = unpack_text(&in);
        if (name && value)
            json_object_set_new(is_system ? system : app, name, json_string(value));
    }
}

/* What the hub itself knows about every message. */
static void
add_stamps(json_t *system, const struct request *request)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(request->accepted_ms / 1000);
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
    g_autofree char *stamp = g_strdup_printf("%s.%03dZ", text, (int)(request->accepted_ms % 1000));

    json_object_set_new(system, "iothub-enqueuedtime", json_string(stamp));
    json_object_set_new(system, "iothub-connection-device-id", json_string(request->device));
    if (request->module)
        json_object_set_new(system, "iothub-connection-module-id", json_string(request->module));
    json_object_set_new(system, "iothub-connection-auth-method",
                        json_string("{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\"}"));
}

static json_t *
message_json(const struct request *request, const struct item *item, uint64_t seq)
{
    json_t *message = json_object(), *app = json_object(), *system = json_object();
    g_autofree char *body = codec_base64_encode(item->body, item->body_len);

    add_properties(item, app, system);
    add_stamps(system, request);
    set_number(message, "seq", seq);
    json_object_set_new(message, "device", json_string(request->device));
    json_object_set_new(message, "module", text_or_null(request->module));
    json_object_set_new(message, "messageId", item->id ? json_stringn(item->id, item->id_len) : json_null());
    json_object_set_new(message, "body", json_string(body));
    json_object_set_new(message, "properties", app);
    json_object_set_new(message, "systemProperties", system);
    set_number(message, "request", request->number);
    set_number(message, "tokenExpiry", (uint64_t)request->token_expiry);
    return message;
}

/* The messages of one request with a sequence number above after. */
static uint64_t
add_run(json_t *array, GBytes *record, uint64_t after, uint32_t limit)
{
    gsize size;
    const uint8_t *data = g_bytes_get_data(record, &size);
    struct unpack in = { data, data + size, false }, ids;
    struct request request = { 0 };
    struct item item;
    uint64_t last = after;

    if (request_unpack(&in, &request, &ids)) {
        for (uint64_t seq = request.first_seq; json_array_size(array) < limit && items_next(&ids, &in, &item); seq++) {
            if (seq <= after)
                continue;
            json_array_append_new(array, message_json(&request, &item, seq));
            last = seq;
        }
    }
    request_clear(&request);
    return last;
}

static json_t *
page(const char *name, json_t *array, uint64_t next)
{
    json_t *object = json_object();

    json_object_set_new(object, name, array);
    set_number(object, "next", next);
    return object;
}

json_t *
admin_messages(struct hub *hub, const char *device, uint64_t after, uint32_t limit)
{
    json_t *array = json_array();
    uint64_t next = after;
    gsize read = 0;

    g_mutex_lock(&hub->lock);
    g_autoptr(GArray) places = ledger_messages(hub->ledger, after, device, limit);
    g_mutex_unlock(&hub->lock);
    for (guint i = 0; i < places->len && json_array_size(array) < limit && read < ADMIN_BYTES_MAX; i++) {
        g_autoptr(GBytes) record = ledger_read(hub->ledger, &g_array_index(places, struct ledger_place, i));
        if (!record)
            continue;
        next = add_run(array, record, next, limit);
        read += g_bytes_get_size(record);
    }
    return page("messages", array, next);
}

static json_t *
ids_json(struct unpack *ids)
{
    json_t *array = json_array();

    while (ids->at < ids->end && !ids->bad) {
        size_t len;
        const char *id = (const char *)unpack_bytes(ids, &len);
        json_array_append_new(array, id ? json_stringn(id, len) : json_null());
    }
    return array;
}

static json_t *
request_json(const struct request *r, struct unpack *ids, const struct ledger_place *place)
{
    json_t *object = json_object();

    set_number(object, "n", r->number);
    set_number(object, "start", (uint64_t)r->start_us);
    set_number(object, "end", (uint64_t)(place->live ? r->end_us : place->end_us));
    set_number(object, "connection", r->connection);
    json_object_set_new(object, "device", text_or_null(r->device));
    json_object_set_new(object, "module", text_or_null(r->module));
    json_object_set_new(object, "path", text_or_null(r->path));
    json_object_set_new(object, "apiVersion", text_or_null(r->api_version));
    json_object_set_new(object, "contentType", text_or_null(r->content_type));
    set_number(object, "items", r->items);
    set_number(object, "bytes", r->bytes);
    json_object_set_new(object, "tokenId", text_or_null(r->token_id));
    json_object_set_new(object, "srRaw", text_or_null(r->sr_raw));
    set_number(object, "status", r->status);
    json_object_set_new(object, "fault", text_or_null(r->fault));
    json_object_set_new(object, "replySent", json_boolean(place->live ? r->reply_sent : place->reply_sent));
    json_object_set_new(object, "accepted", json_boolean(r->accepted));
    json_object_set_new(object, "messageIds", ids_json(ids));
    return object;
}

static void
add_request(json_t *array, GBytes *head, const struct ledger_place *place)
{
    gsize size;
    const uint8_t *data = g_bytes_get_data(head, &size);
    struct unpack in = { data, data + size, false }, ids;
    struct request request = { 0 };

    if (request_unpack(&in, &request, &ids))
        json_array_append_new(array, request_json(&request, &ids, place));
    request_clear(&request);
}

json_t *
admin_requests(struct hub *hub, uint64_t after, uint32_t limit)
{
    json_t *array = json_array();
    uint64_t next = after;
    gsize read = 0;

    g_mutex_lock(&hub->lock);
    exchange_settle(hub);
    g_autoptr(GArray) places = ledger_requests(hub->ledger, after, limit);
    g_mutex_unlock(&hub->lock);
    for (guint i = 0; i < places->len && read < ADMIN_BYTES_MAX; i++) {
        const struct ledger_place *place = &g_array_index(places, struct ledger_place, i);
        g_autoptr(GBytes) head = ledger_read_head(hub->ledger, place);
        if (!head)
            continue;
        add_request(array, head, place);
        next = place->number;
        read += g_bytes_get_size(head);
    }
    return page("requests", array, next);
}

static json_t *
in_flight_json(const struct history *history)
{
    json_t *object = json_object();
    GHashTableIter iter;
    gpointer device, n;

    g_hash_table_iter_init(&iter, history_max_in_flight(history));
    while (g_hash_table_iter_next(&iter, &device, &n))
        set_number(object, device, GPOINTER_TO_UINT(n));
    return object;
}

json_t *
admin_stats(struct hub *hub)
{
    json_t *object = json_object();
    struct history_counts counts;

    g_mutex_lock(&hub->lock);
    exchange_settle(hub);
    counts = *history_counts(ledger_history(hub->ledger));
    json_object_set_new(object, "maxInFlight", in_flight_json(ledger_history(hub->ledger)));
    g_mutex_unlock(&hub->lock);
    set_number(object, "requests", counts.requests);
    set_number(object, "accepted", counts.accepted);
    set_number(object, "refused", counts.refused);
    set_number(object, "messages", counts.messages);
    set_number(object, "duplicates", counts.duplicates);
    set_number(object, "unexplainedDuplicates", counts.unexplained);
    set_number(object, "connections", counts.connections);
    return object;
}
