/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/message.h"
#include "client/failure.h"
#include "client/sized.h"
#include "common/clock.h"
#include "common/uuid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#define MESSAGE_MIN offsetof(struct hubkey_message, ttl_s) /* the first published form */
#define CREATED_MAX_MS INT64_C(253402300799999)            /* the end of the year 9999 */

/* What IoT Hub takes in a message id: ASCII letters, digits and these. */
#define ID_EXTRA "-:.+%_#*?!(),=@;$'"
/* What it takes in names and values of application properties over HTTPS: the token characters of RFC 9110. */
#define PROPERTY_EXTRA "!#$%&'*+-.^_`|~"

/* UTC with Z, as the hub wants creation times. */
static void
format_time(int64_t ms, char *text, size_t size)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    g_snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
               utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(ms % 1000));
}

static bool
check_characters(const char *what, const char *text, const char *extra, size_t max, GError **error)
{
    size_t len = strlen(text);
    if (len < 1 || len > max) {
        failure_set(error, HUBKEY_E_INVALID, "%s has %zu characters; 1 to %zu are allowed", what, len, max);
        return false;
    }
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(text[i]) && !strchr(extra, text[i])) {
            failure_set(error, HUBKEY_E_INVALID,
                        "%s: character %zu is not allowed; IoT Hub takes ASCII letters, digits and %s", what, i + 1,
                        extra);
            return false;
        }
    return true;
}

/* Goes into a header of its own: printable, and nothing that a header parser would trim. */
static bool
check_content(const char *what, const char *text, GError **error)
{
    size_t len = strlen(text);
    bool good = len >= 1 && len <= HUBKEY_CONTENT_MAX && text[0] != ' ' && text[len - 1] != ' ';
    for (size_t i = 0; good && i < len; i++)
        good = g_ascii_isprint(text[i]);
    if (!good)
        failure_set(error, HUBKEY_E_INVALID,
                    "%s must be 1 to %d printable ASCII characters without a space at either end", what,
                    HUBKEY_CONTENT_MAX);
    return good;
}

struct writer {
    json_t *object;
    bool complete; /* else there was no memory */
    size_t counted;
};

static void
put_system(struct writer *writer, const char *header, const char *value)
{
    if (!value)
        return;
    writer->complete &= json_object_set_new_nocheck(writer->object, header, json_string_nocheck(value)) == 0;
    writer->counted += strlen(value); /* the hub counts the values only */
}

static void
put_application(struct writer *writer, const char *name, const char *value)
{
    g_autofree char *header = g_strconcat("iothub-app-", name, NULL);
    writer->complete &= json_object_set_new_nocheck(writer->object, header, json_string_nocheck(value)) == 0;
    writer->counted += strlen(name) + strlen(value);
}

/* HTTP header names have no case, so neither have property names over HTTPS. */
static bool
is_taken(const struct hubkey_message *in, uint32_t index)
{
    const char *name = in->properties[index].name;
    bool taken = g_ascii_strcasecmp(name, "created") == 0;
    for (uint32_t i = 0; !taken && i < index; i++)
        taken = g_ascii_strcasecmp(name, in->properties[i].name) == 0;
    return taken;
}

static bool
check_properties(const struct hubkey_message *in, GError **error)
{
    size_t total = 0;
    /* Each has a name and a value of at least one byte. */
    if (in->n_properties > HUBKEY_PROPERTIES_MAX / 2 || (in->n_properties && !in->properties)) {
        failure_set(error, HUBKEY_E_INVALID, "properties: %u of them, %s", in->n_properties,
                    in->properties ? "more than can fit" : "but the pointer is NULL");
        return false;
    }
    for (uint32_t i = 0; i < in->n_properties; i++) {
        const struct hubkey_property *property = &in->properties[i];
        if (!property->name || !property->value) {
            failure_set(error, HUBKEY_E_INVALID, "property %u has no %s", i, property->name ? "value" : "name");
            return false;
        }
        g_autofree char *name = g_strdup_printf("the name of property %u", i);
        g_autofree char *value = g_strdup_printf("the value of property %u", i);
        if (!check_characters(name, property->name, PROPERTY_EXTRA, HUBKEY_PROPERTIES_MAX, error) ||
            !check_characters(value, property->value, PROPERTY_EXTRA, HUBKEY_PROPERTIES_MAX, error))
            return false;
        if (is_taken(in, i)) {
            failure_set(
                error, HUBKEY_E_INVALID,
                "property %u: the name %s stands twice (names that differ in case only are one) or is libhubkey's own",
                i, property->name);
            return false;
        }
        total += strlen(property->name) + strlen(property->value);
    }
    if (total > HUBKEY_PROPERTIES_MAX) {
        failure_set(error, HUBKEY_E_INVALID, "the properties have %zu bytes; up to %d are allowed", total,
                    HUBKEY_PROPERTIES_MAX);
        return false;
    }
    return true;
}

static bool
check(const struct hubkey_message *in, GError **error)
{
    if (in->len && !in->body) {
        failure_set(error, HUBKEY_E_INVALID, "body is NULL but len is not 0");
        return false;
    }
    if (in->created_ms < 0 || in->created_ms > CREATED_MAX_MS) {
        failure_set(error, HUBKEY_E_INVALID, "created_ms must be Unix time in milliseconds, up to the year 9999");
        return false;
    }
    if (in->ttl_s > HUBKEY_TTL_MAX_S) {
        failure_set(error, HUBKEY_E_INVALID, "ttl_s must be %" G_GUINT64_FORMAT " seconds at most", HUBKEY_TTL_MAX_S);
        return false;
    }
    if (in->len > HUBKEY_MESSAGE_MAX) {
        failure_set(error, HUBKEY_E_TOO_LARGE,
                    "the body has %" G_GUINT64_FORMAT " bytes; IoT Hub takes messages up to %d", in->len,
                    HUBKEY_MESSAGE_MAX);
        return false;
    }
    return (!in->id || check_characters("id", in->id, ID_EXTRA, HUBKEY_ID_MAX, error)) &&
           (!in->correlation_id ||
            check_characters("correlation_id", in->correlation_id, ID_EXTRA, HUBKEY_ID_MAX, error)) &&
           (!in->content_type || check_content("content_type", in->content_type, error)) &&
           (!in->content_encoding || check_content("content_encoding", in->content_encoding, error)) &&
           check_properties(in, error);
}

static bool
write_properties(const struct hubkey_message *in, int64_t created_ms, struct writer *writer, GError **error)
{
    char uuid[UUID_SIZE], iso[32], unix_ms[24];
    if (!in->id && !uuid_make(clock_wall_us() / 1000, uuid)) {
        failure_set(error, HUBKEY_E_SYSTEM,
                    "the kernel gives no random numbers for the message's id: %s; allow getrandom, or give an id",
                    g_strerror(errno));
        return false;
    }
    format_time(created_ms, iso, sizeof iso);
    g_snprintf(unix_ms, sizeof unix_ms, "%" G_GINT64_FORMAT, created_ms);

    put_system(writer, "iothub-messageid", in->id ? in->id : uuid);
    put_system(writer, "iothub-correlationid", in->correlation_id);
    put_system(writer, "iothub-contenttype", in->content_type);
    put_system(writer, "iothub-contentencoding", in->content_encoding);
    put_system(writer, "iothub-creation-time-utc", iso);
    put_application(writer, "created", unix_ms);
    for (uint32_t i = 0; i < in->n_properties; i++)
        put_application(writer, in->properties[i].name, in->properties[i].value);
    return true;
}

/* The properties as text, for free. */
static char *
make_properties(const struct hubkey_message *in, int64_t created_ms, size_t *counted, GError **error)
{
    struct writer writer = { .object = json_object(), .complete = true, .counted = (size_t)in->len };
    bool good = write_properties(in, created_ms, &writer, error);
    char *text = good && writer.complete ? json_dumps(writer.object, JSON_COMPACT) : NULL;
    json_decref(writer.object);
    if (good && !text)
        failure_set(error, HUBKEY_E_NOMEM, "out of memory for a message");
    *counted = writer.counted;
    return text;
}

bool
message_prepare(const struct hubkey_message *given, struct message *out, GError **error)
{
    struct hubkey_message in = { 0 };
    if (!sized_read("message", given, &in, sizeof in, MESSAGE_MIN, error) || !check(&in, error))
        return false;

    int64_t created_ms = in.created_ms ? in.created_ms : CLAMP(clock_wall_us() / 1000, 0, CREATED_MAX_MS);
    size_t counted;
    char *text = make_properties(&in, created_ms, &counted, error);
    if (!text)
        return false;
    if (counted > HUBKEY_MESSAGE_MAX) {
        failure_set(error, HUBKEY_E_TOO_LARGE, "the message has %zu bytes with its properties; IoT Hub takes up to %d",
                    counted, HUBKEY_MESSAGE_MAX);
        free(text);
        return false;
    }
    *out = (struct message){
        .body = in.body,
        .len = (size_t)in.len,
        .properties = text,
        .properties_len = strlen(text),
        .counted = (uint32_t)counted,
        .created_ms = created_ms,
        .ttl_s = in.ttl_s,
    };
    return true;
}

void
message_clear(struct message *message)
{
    free(message->properties);
    message->properties = NULL;
}

struct message *
message_prepare_all(const struct hubkey_message *const *messages, size_t n, uint64_t ttl_s, GError **error)
{
    if (!messages || n < 1 || n > MESSAGE_MANY_MAX) {
        failure_set(error, HUBKEY_E_INVALID, "%s", messages ? "n must be 1 to 10000" : "messages is NULL");
        return NULL;
    }
    struct message *prepared = g_new0(struct message, n);
    for (size_t i = 0; i < n; i++) {
        if (!message_prepare(messages[i], &prepared[i], error)) {
            if (n > 1)
                g_prefix_error(error, "message %zu of %zu: ", i + 1, n);
            message_free_all(prepared, n);
            return NULL;
        }
        prepared[i].ttl_s = prepared[i].ttl_s ? prepared[i].ttl_s : ttl_s;
    }
    return prepared;
}

void
message_free_all(struct message *messages, size_t n)
{
    for (size_t i = 0; messages && i < n; i++)
        message_clear(&messages[i]);
    g_free(messages);
}

int
hubkey_message_check(const struct hubkey_message *given, uint32_t *counted, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct message message;
    if (message_prepare(given, &message, &problem)) {
        if (counted)
            *counted = message.counted;
        message_clear(&message);
    }
    return failure_export(problem, 0, error);
}
