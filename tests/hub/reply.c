/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * 204 has neither body nor Content-Type. Errors carry iothub-errorcode and a body of shape A or B; html and empty are
 * what a proxy in between would say, and carry no error code of the hub unless the fault names one.
 */
#include <config.h>

#include "tests/hub/reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <microhttpd.h>
#include <openssl/rand.h>

#define HEX_ID_MAX 33
#define BIG_BYTES (1 << 20)
#define PIECE_BYTES 64

static void
random_hex(char out[HEX_ID_MAX])
{
    uint8_t bytes[16];

    RAND_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* The hub's own clock, in UTC. */
static struct tm
hub_time(int64_t offset_s)
{
    const time_t now = (time_t)(g_get_real_time() / G_USEC_PER_SEC + offset_s);
    struct tm tm;

    gmtime_r(&now, &tm);
    return tm;
}

static void
format_date(char *out, size_t size, int64_t offset_s)
{
    const struct tm tm = hub_time(offset_s);

    strftime(out, size, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/* The reason may quote what the client sent: only printable ASCII goes back. */
static char *
clean_reason(const struct verdict *v)
{
    char *clean = g_strdup(v->reason);

    for (char *c = clean; *c; c++)
        if (!g_ascii_isprint(*c))
            *c = '?';
    return clean;
}

static json_t *
body_a(const struct reply *reply, const char *tracking)
{
    g_autofree char *reason = clean_reason(&reply->verdict);
    g_autofree char *message = g_strdup_printf("ErrorCode:%s;%s", reply->verdict.code, reason);
    g_autofree char *exception = NULL;
    const struct tm tm = hub_time(reply->date_offset_s);
    char stamp[64];

    strftime(stamp, sizeof stamp, "%m/%d/%Y %H:%M:%S", &tm);
    exception = g_strdup_printf("Tracking ID:%s-G:0-TimeStamp:%s", tracking, stamp);
    return json_pack("{s:s,s:s}", "Message", message, "ExceptionMessage", exception);
}

static json_t *
body_b(const struct reply *reply, const char *tracking)
{
    g_autofree char *reason = clean_reason(&reply->verdict);
    const struct tm tm = hub_time(reply->date_offset_s);
    char stamp[64];
    json_t *inner, *outer;
    char *text;

    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
    inner = json_pack("{s:i,s:s,s:s,s:s}", "errorCode", (int)verdict_number(reply->verdict.code, reply->verdict.status),
                      "trackingId", tracking, "message", reason, "timestampUtc", stamp);
    text = json_dumps(inner, JSON_COMPACT);
    outer = json_pack("{s:s,s:s}", "Message", text, "ExceptionMessage", "");
    free(text);
    json_decref(inner);
    return outer;
}

static char *
html(unsigned status)
{
    return g_strdup_printf("<html><head><title>%u</title></head><body><h1>%u</h1></body></html>\r\n", status, status);
}

static char *
pad(char *text)
{
    g_autofree char *padded = g_strdup_printf("%-*s", BIG_BYTES, text);

    free(text);
    return strdup(padded);
}

/* NULL: no body. Caller frees with free(). */
static char *
body_text(const struct reply *reply)
{
    char tracking[HEX_ID_MAX];
    json_t *json;
    char *text;

    if (reply->verdict.status == 204 || reply->shape == FAULT_SHAPE_EMPTY)
        return NULL;
    if (reply->shape == FAULT_SHAPE_HTML) {
        g_autofree char *page = html(reply->verdict.status);
        return strdup(page);
    }
    random_hex(tracking);
    json = reply->shape == FAULT_SHAPE_B || reply->shape == FAULT_SHAPE_NUMBER ? body_b(reply, tracking)
                                                                               : body_a(reply, tracking);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return reply->shape == FAULT_SHAPE_BIG ? pad(text) : text;
}

/* A body that is sent piece by piece, whole or not. */
struct pieces {
    char *text;
    size_t len, end;
};

static ssize_t
read_piece(void *cls, uint64_t position, char *out, size_t max)
{
    const struct pieces *pieces = cls;

    if (position >= pieces->end)
        return pieces->end < pieces->len ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    const size_t n = MIN(max, pieces->end - position);
    memcpy(out, pieces->text + position, n);
    return (ssize_t)n;
}

static void
free_pieces(void *cls)
{
    struct pieces *pieces = cls;

    free(pieces->text);
    g_free(pieces);
}

/* Takes text. */
static struct MHD_Response *
response_of(enum fault_shape shape, char *text)
{
    const size_t len = text ? strlen(text) : 0;

    if (shape == FAULT_SHAPE_CHUNKED || shape == FAULT_SHAPE_CUT) {
        struct pieces *pieces = g_new(struct pieces, 1);
        *pieces = (struct pieces){ text, len, shape == FAULT_SHAPE_CUT ? len / 2 : len };
        return MHD_create_response_from_callback(shape == FAULT_SHAPE_CUT ? len : MHD_SIZE_UNKNOWN, PIECE_BYTES,
                                                 read_piece, pieces, free_pieces);
    }
    return MHD_create_response_from_buffer(len, text, text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
}

static void
add_request_id(struct MHD_Response *response)
{
    char hex[HEX_ID_MAX];
    g_autofree char *id = NULL;

    random_hex(hex);
    id = g_strdup_printf("%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    MHD_add_response_header(response, "x-ms-request-id", id);
}

static void
add_date(struct MHD_Response *response, int64_t offset_s)
{
    char date[64];

    format_date(date, sizeof date, offset_s);
    MHD_add_response_header(response, "Date", date);
}

struct MHD_Response *
reply_response(const struct reply *reply)
{
    char *text = body_text(reply);
    const bool has_body = text != NULL;
    struct MHD_Response *response = response_of(reply->shape, text);

    add_date(response, reply->date_offset_s);
    add_request_id(response);
    if (has_body)
        MHD_add_response_header(response, "Content-Type",
                                reply->shape == FAULT_SHAPE_HTML ? "text/html" : "application/json; charset=utf-8");
    if (reply->verdict.code && reply->shape != FAULT_SHAPE_NUMBER)
        MHD_add_response_header(response, "iothub-errorcode", reply->verdict.code);
    if (reply->verdict.status == 405)
        MHD_add_response_header(response, "Allow", "POST");
    if (reply->retry_after)
        MHD_add_response_header(response, "Retry-After", reply->retry_after);
    if (reply->location)
        MHD_add_response_header(response, "Location", reply->location);
    return response;
}

char *
reply_cut_text(const struct reply *reply)
{
    char date[64];

    format_date(date, sizeof date, reply->date_offset_s);
    return g_strdup_printf("HTTP/1.1 %u %s\r\nDate: %s\r\nx-ms-requ", reply->verdict.status,
                           MHD_get_reason_phrase_for(reply->verdict.status), date);
}
