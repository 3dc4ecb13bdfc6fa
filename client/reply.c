/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#define RETRY_AFTER_MAX_S 3600
#define HEADER_MAX 1024 /* bytes of a value that are looked at */

void
reply_init(struct reply *reply)
{
    *reply = (struct reply){ .retry_after_s = -1, .retry_after_at = -1, .date_s = -1 };
}

int64_t
reply_parse_date(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char day[4], month[4], zone[4];
    struct tm tm = { 0 };
    int end = 0;
    if (sscanf(text, "%3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3[A-Z]%n", day, &tm.tm_mday, month, &tm.tm_year,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, zone, &end) != 8 ||
        text[end] != '\0' || strcmp(zone, "GMT") != 0 || strlen(month) != 3)
        return -1;
    const char *found = strstr(months, month);
    if (!found || (found - months) % 3 != 0 || tm.tm_year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0)
        return -1;
    tm.tm_mon = (int)(found - months) / 3;
    tm.tm_year -= 1900;
    return timegm(&tm);
}

/* A gateway may tell in its answer what it was asked, and the token with it. Nothing of ours begins with either
 * word. */
static void
hide_token(char *text)
{
    static const char *const marks[] = { "sharedaccess", "sig=", "sig%3d" };
    g_autofree char *lower = g_ascii_strdown(text, -1);
    for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
        const char *found = strstr(lower, marks[i]);
        if (found)
            text[found - lower] = '\0';
    }
    explicit_bzero(lower, strlen(lower));
}

static void
copy_printable(char *into, size_t size, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++)
        into[n++] = g_ascii_isprint(text[i]) ? text[i] : ' ';
    into[n] = '\0';
    hide_token(into);
}

void
reply_set_text(struct reply *reply, const char *text, size_t len)
{
    copy_printable(reply->text, sizeof reply->text, text, len);
}

static void
set_code(struct reply *reply, const char *code, size_t len)
{
    copy_printable(reply->code, sizeof reply->code, code, len);
    reply->from_hub = reply->from_hub || reply->code[0] != '\0';
}

static void
read_retry_after(struct reply *reply, const char *value)
{
    char *end;
    int64_t seconds = strtoll(value, &end, 10);
    if (end != value && *end == '\0')
        reply->retry_after_s = CLAMP(seconds, 0, RETRY_AFTER_MAX_S);
    else
        reply->retry_after_at = reply_parse_date(value);
}

/* "HTTP/1.1 204 No Content". Interim answers (1xx) and what a proxy said before are forgotten by the next one. */
static void
read_status(struct reply *reply, const char *line)
{
    bool sent = reply->sent;
    unsigned sends = reply->sends;
    int status = 0;
    reply_init(reply);
    reply->sent = sent;
    reply->sends = sends;
    (void)sscanf(line, "HTTP/%*[0-9.] %3d", &status);
    reply->status = status >= 100 ? status : 0;
}

void
reply_header(struct reply *reply, const char *line, size_t len)
{
    while (len > 0 && g_ascii_isspace(line[len - 1]))
        len--;
    g_autofree char *text = g_strndup(line, MIN(len, HEADER_MAX));
    if (g_str_has_prefix(text, "HTTP/")) {
        read_status(reply, text);
        return;
    }
    char *colon = strchr(text, ':');
    if (!colon)
        return;
    *colon = '\0';
    const char *value = colon + 1;
    while (g_ascii_isspace(*value))
        value++;
    if (g_ascii_strcasecmp(text, "iothub-errorcode") == 0)
        set_code(reply, value, strlen(value));
    else if (g_ascii_strcasecmp(text, "content-type") == 0)
        reply->html = g_ascii_strncasecmp(value, "text/html", strlen("text/html")) == 0;
    else if (g_ascii_strcasecmp(text, "retry-after") == 0)
        read_retry_after(reply, value);
    else if (g_ascii_strcasecmp(text, "date") == 0)
        reply->date_s = reply_parse_date(value);
    else if (g_ascii_strcasecmp(text, "x-ms-request-id") == 0 && !reply->tracking[0])
        copy_printable(reply->tracking, sizeof reply->tracking, value, strlen(value));
}

/* {"Message":"{\"errorCode\":404001,\"trackingId\":\"...\",\"message\":\"...\"}"}: the Message is JSON again. */
static bool
read_newer_form(struct reply *reply, const char *message)
{
    json_t *inner = json_loads(message, 0, NULL);
    json_t *number = json_object_get(inner, "errorCode");
    const char *tracking = json_string_value(json_object_get(inner, "trackingId"));
    const char *text = json_string_value(json_object_get(inner, "message"));
    bool good = json_is_integer(number);
    if (good) {
        reply->number = (int)CLAMP(json_integer_value(number), 0, 999999);
        reply->from_hub = true;
    }
    if (good && tracking)
        copy_printable(reply->tracking, sizeof reply->tracking, tracking, strlen(tracking));
    if (good && text)
        reply_set_text(reply, text, strlen(text));
    json_decref(inner);
    return good;
}

/* {"Message":"ErrorCode:Name;words","ExceptionMessage":"Tracking ID:0123...-TimeStamp:..."} */
static void
read_older_form(struct reply *reply, const char *message, const char *exception)
{
    static const char prefix[] = "ErrorCode:", tracking[] = "Tracking ID:";
    if (g_str_has_prefix(message, prefix)) {
        const char *name = message + strlen(prefix);
        size_t len = strcspn(name, ";");
        if (!reply->code[0])
            set_code(reply, name, len);
        if (name[len])
            reply_set_text(reply, name + len + 1, strlen(name + len + 1));
    }
    const char *found = exception ? strstr(exception, tracking) : NULL;
    if (found) {
        const char *id = found + strlen(tracking), *end = strstr(id, "-TimeStamp:");
        copy_printable(reply->tracking, sizeof reply->tracking, id, end ? (size_t)(end - id) : strlen(id));
    }
}

void
reply_body(struct reply *reply, const char *body, size_t len)
{
    json_t *root = len > 0 ? json_loadb(body, len, 0, NULL) : NULL;
    const char *message = json_string_value(json_object_get(root, "Message"));
    if (message && !read_newer_form(reply, message))
        read_older_form(reply, message, json_string_value(json_object_get(root, "ExceptionMessage")));
    json_decref(root);
}

int64_t
reply_retry_after(const struct reply *reply, int64_t now_s)
{
    if (reply->retry_after_s >= 0)
        return reply->retry_after_s;
    if (reply->retry_after_at < 0)
        return 0;
    /* Against the hub's own clock where it told it: ours may be wrong. */
    int64_t from = reply->date_s >= 0 ? reply->date_s : now_s;
    return CLAMP(reply->retry_after_at - from, 0, RETRY_AFTER_MAX_S);
}
