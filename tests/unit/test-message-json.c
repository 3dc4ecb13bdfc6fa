/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 * tools/message-json.c: what queue export writes, queue import reads.
 */
#include <config.h>

#include "common/clock.h"
#include "tools/message-json.h"

#include <stdlib.h>
#include <string.h>

static const struct hubkey_property properties[] = { { "unit", "K" }, { "b", "'$" } };

static struct hubkey_message
sample(const char *body, size_t len)
{
    return (struct hubkey_message){ .size = sizeof(struct hubkey_message),
                                    .body = body,
                                    .len = len,
                                    .id = "id-1",
                                    .created_ms = 1700000000123 };
}

static char *
written(const struct hubkey_message *message, const char *reason, bool body)
{
    const struct hubkey_queue_row row = { .size = sizeof row,
                                          .seq = 5,
                                          .message = message,
                                          .buried_ms = reason ? 1700000000456 : 0,
                                          .status = reason ? 413 : 0,
                                          .reason = reason ? reason : "" };
    json_t *object = message_to_json(&row, body);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static void
expect_written(const struct hubkey_message *message, const char *reason, bool body, const char *expected)
{
    char *text = written(message, reason, body);
    g_assert_cmpstr(text, ==, expected);
    free(text);
}

static void
test_write(void)
{
    struct hubkey_message message = sample("\0\xff", 2);
    expect_written(&message, NULL, true,
                   "{\"seq\":5,\"id\":\"id-1\",\"created\":1700000000123,\"body\":\"AP8=\",\"properties\":{}}");
    expect_written(&message, NULL, false,
                   "{\"seq\":5,\"id\":\"id-1\",\"created\":1700000000123,\"bytes\":2,\"properties\":{}}");
    message = sample("", 0);
    message.content_type = "application/json";
    message.properties = properties;
    message.n_properties = 1;
    expect_written(&message, "too \"large\"", true,
                   "{\"seq\":5,\"id\":\"id-1\",\"created\":1700000000123,\"body\":\"\",\"properties\":{\"unit\":\"K\"},"
                   "\"content_type\":\"application/json\",\"buried\":1700000000456,\"status\":413,"
                   "\"reason\":\"too \\\"large\\\"\"}");
}

/* Every length of a body around what base64 takes together, and all that a message can have. */
static void
test_there_and_back(void)
{
    char bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        struct message_read read;
        struct hubkey_message message = sample(bytes, len);
        message.correlation_id = "c";
        message.content_type = "t";
        message.content_encoding = "utf-8";
        message.properties = properties;
        message.n_properties = 2;
        char *text = written(&message, len % 2 ? "why" : NULL, true);
        g_assert_null(message_read(&read, text, strlen(text)));
        g_assert_cmpmem(read.message.body, read.message.len, bytes, len);
        g_assert_cmpstr(read.message.id, ==, "id-1");
        g_assert_cmpstr(read.message.correlation_id, ==, "c");
        g_assert_cmpstr(read.message.content_type, ==, "t");
        g_assert_cmpstr(read.message.content_encoding, ==, "utf-8");
        g_assert_cmpint(read.message.created_ms, ==, 1700000000123);
        g_assert_cmpuint(read.message.n_properties, ==, 2);
        for (int i = 0; i < 2; i++) {
            g_assert_cmpstr(read.message.properties[i].name, ==, properties[i].name);
            g_assert_cmpstr(read.message.properties[i].value, ==, properties[i].value);
        }
        g_assert_cmpint(hubkey_message_check(&read.message, NULL, NULL), ==, 0);
        message_read_clear(&read);
        free(text);
    }
}

/* A moment there, seconds from now on here. */
static void
test_expires(void)
{
    static const struct {
        int64_t in_ms;
        uint64_t ttl_s;
    } rows[] = { { 3600000, 3600 }, { 3599001, 3600 }, { 0, 1 }, { -86400000, 1 },
                 { INT64_MAX / 2, HUBKEY_TTL_MAX_S } };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct message_read read;
        struct hubkey_message message = sample("", 0);
        struct hubkey_queue_row row = { .size = sizeof row, .seq = 5, .message = &message, .reason = "" };
        row.expires_ms = clock_wall_us() / 1000 + rows[i].in_ms;
        json_t *object = message_to_json(&row, true);
        char *text = json_dumps(object, JSON_COMPACT);
        json_decref(object);
        g_assert_null(message_read(&read, text, strlen(text)));
        g_assert_cmpuint(read.message.ttl_s, <=, rows[i].ttl_s);
        g_assert_cmpuint(read.message.ttl_s + 600, >, rows[i].ttl_s); /* time goes on meanwhile */
        g_assert_cmpuint(read.message.ttl_s, >, 0);
        message_read_clear(&read);
        free(text);
    }
}

static void
test_wrong(void)
{
    static const struct {
        const char *text, *fault;
    } rows[] = {
        { "", "not JSON" },
        { "x", "not JSON" },
        { "\"x\"", "not JSON" }, /* no object and no array */
        { "[]", "no JSON object" },
        { "{}", "\"body\" is missing" },
        { "{\"body\":\"\"} x", "not JSON" },
        { "{\"body\":1}", "\"body\" must be a string" },
        { "{\"body\":\"A\"}", "not base64" },
        { "{\"body\":\"AAA\"}", "not base64" },
        { "{\"body\":\"A A=\"}", "not base64" },
        { "{\"body\":\"AA==AA==\"}", "not base64" },
        { "{\"body\":\"AB==\"}", "not base64" }, /* bits that mean nothing */
        { "{\"body\":\"\",\"body\":\"\"}", "not JSON" },
        { "{\"body\":\"\",\"id\":7}", "\"id\" must be a string" },
        { "{\"body\":\"\",\"id\":null}", "\"id\" must be a string" },
        { "{\"body\":\"\",\"id\":\"a\\u0000b\"}", "not JSON" },
        { "{\"body\":\"\",\"created\":\"now\"}", "\"created\" must be" },
        { "{\"body\":\"\",\"created\":1.5}", "\"created\" must be" },
        { "{\"body\":\"\",\"expires\":\"soon\"}", "\"expires\" must be" },
        { "{\"body\":\"\",\"expires\":0}", "\"expires\" must be" },
        { "{\"body\":\"\",\"properties\":[]}", "\"properties\" must be an object" },
        { "{\"body\":\"\",\"properties\":{\"a\":1}}", "property \"a\" must be a string" },
        { "{\"body\":\"\",\"colour\":\"red\"}", "\"colour\" is no member" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct message_read read;
        g_autofree char *fault = message_read(&read, rows[i].text, strlen(rows[i].text));
        if (!fault || !strstr(fault, rows[i].fault))
            g_error("%s: %s", rows[i].text, fault ? fault : "was taken");
        message_read_clear(&read);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/message-json/write", test_write);
    g_test_add_func("/message-json/there-and-back", test_there_and_back);
    g_test_add_func("/message-json/expires", test_expires);
    g_test_add_func("/message-json/wrong", test_wrong);
    return g_test_run();
}
