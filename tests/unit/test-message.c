/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 * client/message.c: IoT Hub's rules for a message, checked before it is accepted.
 */
#include <config.h>

#include "client/failure.h"
#include "client/message.h"

#include <string.h>

#include <jansson.h>

static struct hubkey_message
plain(void)
{
    return (struct hubkey_message){ .size = sizeof(struct hubkey_message), .body = "body", .len = 4 };
}

static void
expect_refused(const struct hubkey_message *given, int number)
{
    struct message message = { 0 };
    g_autoptr(GError) error = NULL;
    g_assert_false(message_prepare(given, &message, &error));
    g_assert_error(error, FAILURE_DOMAIN, number);
    g_assert_cmpuint(strlen(error->message), >, 10);
    g_assert_null(message.properties);

    struct hubkey_error told;
    uint32_t counted = 7;
    g_assert_cmpint(hubkey_message_check(given, &counted, &told), ==, number);
    g_assert_cmpstr(told.text, ==, error->message);
    g_assert_cmpuint(counted, ==, 7);
}

/* The properties as JSON; counted says what the hub would count. */
static json_t *
accept(const struct hubkey_message *given, uint32_t *counted)
{
    struct message message;
    g_autoptr(GError) error = NULL;
    g_assert_true(message_prepare(given, &message, &error));
    g_assert_no_error(error);
    uint32_t told = 0;
    g_assert_cmpint(hubkey_message_check(given, &told, NULL), ==, 0);
    g_assert_cmpuint(told, ==, message.counted);
    json_t *properties = json_loadb(message.properties, message.properties_len, JSON_REJECT_DUPLICATES, NULL);
    g_assert_true(json_is_object(properties));
    if (counted)
        *counted = message.counted;
    message_clear(&message);
    return properties;
}

static const char *
value(json_t *properties, const char *name)
{
    return json_string_value(json_object_get(properties, name));
}

static void
test_sizes_of_struct(void)
{
    struct {
        struct hubkey_message known;
        char tail[16];
    } longer = { .known = plain() };
    struct hubkey_message message = plain();
    message.size = 0;
    expect_refused(&message, HUBKEY_E_SIZE);
    message.size = 8;
    expect_refused(&message, HUBKEY_E_SIZE);
    longer.known.size = sizeof longer;
    json_decref(accept(&longer.known, NULL));
    longer.tail[15] = 1;
    expect_refused(&longer.known, HUBKEY_E_SIZE);
    expect_refused(NULL, HUBKEY_E_INVALID);
}

static void
test_body(void)
{
    struct hubkey_message message = plain();
    message.body = NULL;
    expect_refused(&message, HUBKEY_E_INVALID);
    message.len = 0;
    json_decref(accept(&message, NULL)); /* empty is legal */
    g_autofree char *large = g_malloc0(HUBKEY_MESSAGE_MAX + 1);
    message.body = large;
    message.len = HUBKEY_MESSAGE_MAX + 1;
    expect_refused(&message, HUBKEY_E_TOO_LARGE);
    message.len = UINT64_MAX;
    expect_refused(&message, HUBKEY_E_TOO_LARGE);
}

/* Body, values of system properties, names and values of application properties: to the byte. */
static void
test_counted(void)
{
    struct hubkey_message message = plain();
    const struct hubkey_property property = { "name", "value" };
    uint32_t counted;
    message.id = "id";
    message.created_ms = 1700000000000;
    message.properties = &property;
    message.n_properties = 1;
    json_decref(accept(&message, &counted));
    size_t own = strlen("2023-11-14T22:13:20.000Z") + strlen("created") + strlen("1700000000000");
    g_assert_cmpuint(counted, ==, 4 + 2 + 4 + 5 + own);

    g_autofree char *large = g_malloc0(HUBKEY_MESSAGE_MAX);
    message.body = large;
    message.len = HUBKEY_MESSAGE_MAX - 2 - 9 - own;
    json_decref(accept(&message, &counted));
    g_assert_cmpuint(counted, ==, HUBKEY_MESSAGE_MAX);
    message.len++;
    expect_refused(&message, HUBKEY_E_TOO_LARGE);
}

static void
test_ids(void)
{
    static const char *const wrong[] = { "",     "with space", "a\r\nInjected: header", "slash/", "caf\xc3\xa9", "a&b",
                                         "a\"b", "~" };
    struct hubkey_message message = plain();
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        message.id = wrong[i];
        expect_refused(&message, HUBKEY_E_INVALID);
        message.id = NULL;
        message.correlation_id = wrong[i];
        expect_refused(&message, HUBKEY_E_INVALID);
        message.correlation_id = NULL;
    }
    char text[HUBKEY_ID_MAX + 2] = { 0 };
    memset(text, 'x', HUBKEY_ID_MAX + 1);
    message.id = text;
    expect_refused(&message, HUBKEY_E_INVALID);
    text[HUBKEY_ID_MAX] = '\0';
    json_decref(accept(&message, NULL));
    message.id = "AZaz09-:.+%_#*?!(),=@;$'";
    json_t *properties = accept(&message, NULL);
    g_assert_cmpstr(value(properties, "iothub-messageid"), ==, message.id);
    json_decref(properties);
}

static void
test_uuid(void)
{
    struct hubkey_message message = plain();
    json_t *one = accept(&message, NULL), *two = accept(&message, NULL);
    const char *id = value(one, "iothub-messageid");
    g_assert_true(g_uuid_string_is_valid(id));
    g_assert_cmpint(id[14], ==, '7');
    g_assert_nonnull(strchr("89ab", id[19]));
    g_assert_cmpstr(id, !=, value(two, "iothub-messageid"));
    json_decref(one);
    json_decref(two);
}

static void
test_content(void)
{
    static const char *const wrong[] = { "", " text", "text ", "a\nb", "a\tb", "\xc3\xa9" };
    struct hubkey_message message = plain();
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        message.content_type = wrong[i];
        expect_refused(&message, HUBKEY_E_INVALID);
        message.content_type = NULL;
        message.content_encoding = wrong[i];
        expect_refused(&message, HUBKEY_E_INVALID);
        message.content_encoding = NULL;
    }
    message.content_type = "application/json; charset=utf-8";
    json_t *properties = accept(&message, NULL);
    g_assert_cmpstr(value(properties, "iothub-contenttype"), ==, message.content_type);
    json_decref(properties);
}

static void
test_properties(void)
{
    static const struct hubkey_property wrong[] = {
        { "", "v" },     { "n", "" },    { NULL, "v" },    { "n", NULL },      { "a b", "v" },
        { "n", "a b" },  { "n:m", "v" }, { "n", "12:30" }, { "n", "a,b" },     { "n", "\xc3\xa9" },
        { "n", "a\nb" }, { "n\r", "v" }, { "n", "\"q\"" }, { "created", "1" }, { "Created", "1" },
    };
    struct hubkey_message message = plain();
    message.n_properties = 1;
    expect_refused(&message, HUBKEY_E_INVALID); /* no array */
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        message.properties = &wrong[i];
        expect_refused(&message, HUBKEY_E_INVALID);
    }
    const struct hubkey_property twice[] = { { "Level", "1" }, { "level", "2" } };
    message.properties = twice;
    message.n_properties = 2;
    expect_refused(&message, HUBKEY_E_INVALID);
    message.n_properties = UINT32_MAX;
    expect_refused(&message, HUBKEY_E_INVALID);

    const struct hubkey_property odd = { "!#$%&'*+-.^_`|~aZ0", "!#$%&'*+-.^_`|~aZ0" };
    message.properties = &odd;
    message.n_properties = 1;
    json_t *properties = accept(&message, NULL);
    g_assert_cmpstr(value(properties, "iothub-app-!#$%&'*+-.^_`|~aZ0"), ==, odd.value);
    json_decref(properties);

    char text[HUBKEY_PROPERTIES_MAX + 1] = { 0 };
    memset(text, 'x', HUBKEY_PROPERTIES_MAX - 1);
    const struct hubkey_property large = { "n", text };
    message.properties = &large;
    json_decref(accept(&message, NULL));
    text[HUBKEY_PROPERTIES_MAX - 1] = 'x';
    expect_refused(&message, HUBKEY_E_INVALID);
}

static void
test_created(void)
{
    struct hubkey_message message = plain();
    message.created_ms = -1;
    expect_refused(&message, HUBKEY_E_INVALID);
    message.created_ms = INT64_MAX;
    expect_refused(&message, HUBKEY_E_INVALID);
    message.created_ms = 1700000000123;
    json_t *properties = accept(&message, NULL);
    g_assert_cmpstr(value(properties, "iothub-creation-time-utc"), ==, "2023-11-14T22:13:20.123Z");
    g_assert_cmpstr(value(properties, "iothub-app-created"), ==, "1700000000123");
    json_decref(properties);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/message/sizes-of-struct", test_sizes_of_struct);
    g_test_add_func("/message/body", test_body);
    g_test_add_func("/message/counted", test_counted);
    g_test_add_func("/message/ids", test_ids);
    g_test_add_func("/message/uuid", test_uuid);
    g_test_add_func("/message/content", test_content);
    g_test_add_func("/message/properties", test_properties);
    g_test_add_func("/message/created", test_created);
    return g_test_run();
}
