/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A row a method and path. Whatever is wrong with the input: 400 with {"error"}, and nothing has changed.
 */
#include <config.h>

#include "tests/hub/admin.h"
#include "tests/hub/admin-lists.h"
#include "tests/hub/charset.h"
#include "tests/hub/device.h"
#include "tests/hub/fault.h"
#include "tests/hub/hub.h"
#include "tests/hub/ledger.h"
#include "tests/hub/refusal.h"

#include <string.h>

#include <microhttpd.h>

#define BODY_MAX 65536u

struct call {
    GByteArray *body;
    bool oversized;
};

struct answer {
    unsigned status;
    json_t *json; /* owned; NULL: no body */
};

static struct answer
bad(const char *why)
{
    return (struct answer){ MHD_HTTP_BAD_REQUEST, json_pack("{s:s}", "error", why) };
}

struct query {
    const char *device;
    uint64_t after;
    uint64_t limit;
    const char *why; /* what is wrong with it */
    bool takes_device;
};

static void
read_parameter(struct query *query, const char *name, const char *value)
{
    if (strcmp(name, "after") == 0) {
        if (!value || !g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &query->after, NULL))
            query->why = "after must be a cursor: 0, or what next said";
    } else if (strcmp(name, "limit") == 0) {
        if (!value || !g_ascii_string_to_unsigned(value, 10, 1, ADMIN_LIMIT_MAX, &query->limit, NULL))
            query->why = "limit must be 1 to 10000";
    } else if (strcmp(name, "device") == 0 && query->takes_device) {
        query->device = value && *value ? value : NULL;
        if (query->device && !charset_is_id(value, strlen(value)))
            query->why = "device must be a device id";
    } else {
        query->why = "the query has a parameter that this resource does not take";
    }
}

static enum MHD_Result
on_parameter(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    read_parameter(cls, name, value);
    return MHD_YES;
}

static struct query
read_query(struct MHD_Connection *http, bool takes_device)
{
    struct query query = { .limit = ADMIN_LIMIT_DEFAULT, .takes_device = takes_device };

    MHD_get_connection_values(http, MHD_GET_ARGUMENT_KIND, on_parameter, &query);
    return query;
}

static struct answer
get_messages(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    const struct query query = read_query(http, true);

    if (query.why)
        return bad(query.why);
    return (struct answer){ MHD_HTTP_OK, admin_messages(hub, query.device, query.after, (uint32_t)query.limit) };
}

static struct answer
get_requests(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    const struct query query = read_query(http, false);

    if (query.why)
        return bad(query.why);
    return (struct answer){ MHD_HTTP_OK, admin_requests(hub, query.after, (uint32_t)query.limit) };
}

static struct answer
get_stats(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    return (struct answer){ MHD_HTTP_OK, admin_stats(hub) };
}

static struct answer
disk_failed(void)
{
    return (struct answer){ MHD_HTTP_INTERNAL_SERVER_ERROR,
                            json_pack("{s:s}", "error", "the journal cannot be written") };
}

static struct answer
delete_messages(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    bool ok;

    g_mutex_lock(&hub->lock);
    ok = ledger_forget_messages(hub->ledger);
    g_mutex_unlock(&hub->lock);
    return ok ? (struct answer){ MHD_HTTP_NO_CONTENT, NULL } : disk_failed();
}

static struct answer
post_device(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    const char *why = NULL;
    struct answer answer;

    g_mutex_lock(&hub->lock);
    const struct device *device = device_put(hub->devices, body, &why);
    if (!device)
        answer = bad(why);
    else if (!ledger_put_device(hub->ledger, body))
        answer = disk_failed();
    else
        answer = (struct answer){ MHD_HTTP_CREATED, json_pack("{s:s,s:s?,s:b}", "deviceId", device->id, "moduleId",
                                                              device->module, "enabled", device->enabled) };
    g_mutex_unlock(&hub->lock);
    return answer;
}

static struct answer
post_fault(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    const int64_t now_us = g_get_monotonic_time();
    const char *why = NULL;
    uint64_t id;

    g_mutex_lock(&hub->lock);
    id = fault_post(hub->faults, body, now_us, &why);
    refusal_apply(hub, now_us);
    hub_wake(hub);
    g_mutex_unlock(&hub->lock);
    return id ? (struct answer){ MHD_HTTP_CREATED, json_pack("{s:I}", "id", (json_int_t)id) } : bad(why);
}

static struct answer
delete_faults(struct hub *hub, struct MHD_Connection *http, const json_t *body)
{
    g_mutex_lock(&hub->lock);
    fault_delete_all(hub->faults);
    refusal_apply(hub, g_get_monotonic_time());
    hub_wake(hub);
    g_mutex_unlock(&hub->lock);
    return (struct answer){ MHD_HTTP_NO_CONTENT, NULL };
}

static const struct {
    const char *path;
    const char *method;
    bool takes_body;
    struct answer (*call)(struct hub *hub, struct MHD_Connection *http, const json_t *body);
} rows[] = {
    { "/messages", "GET", false, get_messages },   { "/messages", "DELETE", false, delete_messages },
    { "/requests", "GET", false, get_requests },   { "/stats", "GET", false, get_stats },
    { "/devices", "POST", true, post_device },     { "/faults", "POST", true, post_fault },
    { "/faults", "DELETE", false, delete_faults },
};

static struct answer
call_with_body(struct hub *hub, struct MHD_Connection *http, const struct call *call, size_t row)
{
    json_t *body = json_loadb((const char *)call->body->data, call->body->len, JSON_REJECT_DUPLICATES, NULL);
    struct answer answer;

    if (call->oversized)
        answer = bad("the body is larger than 65536 bytes");
    else
        answer = body ? rows[row].call(hub, http, body) : bad("the body is not JSON");
    json_decref(body);
    return answer;
}

static struct answer
dispatch(struct hub *hub, struct MHD_Connection *http, const char *path, const char *method, const struct call *call)
{
    bool known = false;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (strcmp(rows[i].path, path) != 0)
            continue;
        known = true;
        if (strcmp(rows[i].method, method) == 0)
            return rows[i].takes_body ? call_with_body(hub, http, call, i) : rows[i].call(hub, http, NULL);
    }
    return known ? (struct answer){ MHD_HTTP_METHOD_NOT_ALLOWED, json_pack("{s:s}", "error", "no such method here") }
                 : (struct answer){ MHD_HTTP_NOT_FOUND, json_pack("{s:s}", "error", "no such resource") };
}

static enum MHD_Result
send_answer(struct MHD_Connection *http, const struct answer *answer)
{
    char *text = answer->json ? json_dumps(answer->json, JSON_COMPACT) : NULL;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        text ? strlen(text) : 0, text, text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result;

    if (text)
        MHD_add_response_header(response, "Content-Type", "application/json");
    result = MHD_queue_response(http, answer->status, response);
    MHD_destroy_response(response);
    json_decref(answer->json);
    return result;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *http, const char *url, const char *method, const char *version,
           const char *data, size_t *size, void **context)
{
    struct call *call = *context;

    if (!call) {
        *context = call = g_new0(struct call, 1);
        call->body = g_byte_array_new();
        return MHD_YES;
    }
    if (*size) {
        call->oversized |= call->body->len + *size > BODY_MAX;
        if (!call->oversized)
            g_byte_array_append(call->body, (const guint8 *)data, (guint)*size);
        *size = 0;
        return MHD_YES;
    }
    const struct answer answer = dispatch(cls, http, url, method, call);
    return send_answer(http, &answer);
}

static void
on_completed(void *cls, struct MHD_Connection *http, void **context, enum MHD_RequestTerminationCode code)
{
    struct call *call = *context;

    if (call)
        g_byte_array_unref(call->body);
    g_free(call);
    *context = NULL;
}

struct MHD_Daemon *
admin_start(struct hub *hub, int listen_fd)
{
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request, hub,
                            MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                            MHD_OPTION_END);
}

void
admin_stop(struct MHD_Daemon *daemon)
{
    MHD_stop_daemon(daemon);
}
