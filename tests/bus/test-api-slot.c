/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * org.hubkey.Slot1: what goes wrong and how it is called, then tokens, properties and signals.
 */
#include <config.h>

#include "common/clock.h"
#include "common/error.h"
#include "daemon/limits.h"
#include "daemon/worker.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "tests/lib/api-bus.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SLOT0 NAMES_SLOTS "/0"

static void
set_up(struct api_bus *api, gconstpointer configuration)
{
    api_bus_start(api, configuration ? configuration : "");
}

static void
tear_down(struct api_bus *api, gconstpointer unused)
{
    api_bus_stop(api);
    /* Whatever was called, and however it ended. */
    g_assert_false(api_bus_log_contains("SharedAccessSignature"));
    g_assert_false(api_bus_log_contains("sig="));
    g_assert_false(api_bus_log_contains(API_BUS_KEY));
}

static DBusMessage *
get_token(struct api_bus *api, const char *path, const char *scope, dbus_uint32_t ttl)
{
    return api_bus_call(api, path, NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl,
                        DBUS_TYPE_INVALID);
}

static DBusMessage *
get_connection_string(struct api_bus *api, const char *path, dbus_uint32_t ttl)
{
    return api_bus_call(api, path, NAMES_SLOT, "GetConnectionString", DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
}

static DBusMessage *
report(struct api_bus *api, const char *path, dbus_uint64_t generation, const char *tracking_id)
{
    return api_bus_call(api, path, NAMES_SLOT, "ReportRejected", DBUS_TYPE_UINT64, &generation, DBUS_TYPE_STRING,
                        &tracking_id, DBUS_TYPE_INVALID);
}

static DBusMessage *
get_all(struct api_bus *api, const char *path)
{
    const char *interface = NAMES_SLOT;
    return api_bus_call(api, path, DBUS_INTERFACE_PROPERTIES, "GetAll", DBUS_TYPE_STRING, &interface,
                        DBUS_TYPE_INVALID);
}

static DBusMessage *
clear_with(struct api_bus *api, const char *path, const char *option)
{
    DBusMessage *message = api_bus_message(api, path, NAMES_SLOT, "Clear");
    DBusMessageIter iter, entries;
    dbus_bool_t yes = TRUE;
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &entries);
    if (option)
        api_append_entry(&entries, option, DBUS_TYPE_BOOLEAN, &yes);
    dbus_message_iter_close_container(&iter, &entries);
    return api_bus_send(api, message);
}

static char *
token_of(DBusMessage *reply, dbus_uint64_t *expires)
{
    const char *token;
    g_assert_true(
        dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &token, DBUS_TYPE_UINT64, expires, DBUS_TYPE_INVALID));
    char *copy = g_strdup(token);
    dbus_message_unref(reply);
    return copy;
}

/* ---- arguments ---- */

static void
test_paths(struct api_bus *api, gconstpointer unused)
{
    static const char *const bad[] = { "/00", "/01",  "/000000", "/65536", "/4294967296", "/18446744073709551616",
                                       "/x",  "/0x0", "/0/0",    "/_0",    "/0_" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *path = g_strconcat(NAMES_SLOTS, bad[i], NULL);
        const char *words = "slots are /org/hubkey/slot/0 to /org/hubkey/slot/65535";
        api_bus_expect_error(get_token(api, path, "", 0), "NoSuchSlot", words);
        api_bus_expect_error(get_token(api, path, "a//b", 99999999), "NoSuchSlot", words); /* before the arguments */
        api_bus_expect_error(get_connection_string(api, path, 0), "NoSuchSlot", words);
        api_bus_expect_error(report(api, path, 1, ""), "NoSuchSlot", words);
        api_bus_expect_error(get_all(api, path), "NoSuchSlot", words);
        if (getuid() == 0)
            api_bus_expect_error(clear_with(api, path, NULL), "NoSuchSlot", words);
    }
    api_bus_expect_error(get_token(api, NAMES_SLOTS, "", 0), DBUS_ERROR_UNKNOWN_INTERFACE, "");
    api_bus_expect_error(get_token(api, NAMES_ROOT, "", 0), DBUS_ERROR_UNKNOWN_INTERFACE, "");
    api_bus_expect_error(get_token(api, "/org/hubkey/other", "", 0), DBUS_ERROR_UNKNOWN_METHOD, "");
}

static void
test_types(struct api_bus *api, gconstpointer unused)
{
    static const struct {
        const char *method, *signature;
    } rows[] = { { "GetToken", "\"su\"" },
                 { "GetConnectionString", "\"u\"" },
                 { "ReportRejected", "\"ts\"" },
                 { "Clear", "\"a{sv}\"" } };
    dbus_int32_t number = 1;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (strcmp(rows[i].method, "Clear") == 0 && getuid() != 0)
            continue;
        g_autofree char *words = g_strdup_printf("%s takes arguments of signature %s, not \"i\"", rows[i].method,
                                                 rows[i].signature);
        api_bus_expect_error(
            api_bus_call(api, SLOT0, NAMES_SLOT, rows[i].method, DBUS_TYPE_INT32, &number, DBUS_TYPE_INVALID),
            "InvalidArgument", words);
        api_bus_expect_error(api_bus_call(api, SLOT0, NAMES_SLOT, rows[i].method, DBUS_TYPE_INVALID), "InvalidArgument",
                             rows[i].signature);
    }
    api_bus_expect_error(api_bus_call(api, SLOT0, NAMES_SLOT, "getToken", DBUS_TYPE_INVALID), DBUS_ERROR_UNKNOWN_METHOD,
                         "");
    api_bus_expect_error(api_bus_call(api, SLOT0, NAMES_SLOT "x", "GetToken", DBUS_TYPE_INVALID),
                         DBUS_ERROR_UNKNOWN_INTERFACE, "");
}

static void
test_arguments(struct api_bus *api, gconstpointer unused)
{
    g_autofree char *too_long = g_strnfill(257, 'x'), *long_id = g_strnfill(129, 'x'), *id = g_strnfill(128, 'x');
    static const char *const scopes[] = { "/", "a/", "/a", "a//b", "..", "a/./b", "a%2fb", "a b", "a\nb", "\xc3\xa9" };
    for (size_t i = 0; i < G_N_ELEMENTS(scopes); i++)
        api_bus_expect_error(get_token(api, SLOT0, scopes[i], 0), "InvalidArgument", "scope: ");
    api_bus_expect_error(get_token(api, SLOT0, too_long, 0), "InvalidArgument", "at most 256");
    api_bus_expect_error(get_token(api, SLOT0, "", 86401), "InvalidArgument", "MaxTtl of slot 0, which is 86400 s");
    api_bus_expect_error(get_connection_string(api, SLOT0, UINT32_MAX), "InvalidArgument",
                         "MaxTtl of slot 0, which is 86400 s");
    api_bus_expect_reply(get_token(api, SLOT0, "", 86400), "st");
    api_bus_expect_error(report(api, SLOT0, 0, ""), "InvalidArgument", "generations 1 to 3");
    api_bus_expect_error(report(api, SLOT0, 4, ""), "InvalidArgument", "generations 1 to 3");
    api_bus_expect_error(report(api, SLOT0, G_MAXUINT64, ""), "InvalidArgument", "generations 1 to 3");
    api_bus_expect_error(report(api, SLOT0, 3, long_id), "InvalidArgument", "at most 128");
    api_bus_expect_error(report(api, SLOT0, 3, "a\nb"), "InvalidArgument", "printable");
    api_bus_expect_error(report(api, SLOT0, 3, "\xc3\xa9"), "InvalidArgument", "printable");
    api_bus_expect_reply(report(api, SLOT0, 3, id), "");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=failed", "HUBKEY_ERROR=InvalidArgument",
                                     "HUBKEY_SLOT=0", NULL));
    if (getuid() == 0)
        api_bus_expect_error(clear_with(api, SLOT0, "Force"), "InvalidArgument", "\"Force\" is not known");
}

static int
count_descriptors(void)
{
    int n = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

/* A descriptor that nobody asked for is closed with its message. */
static void
test_descriptors(struct api_bus *api, gconstpointer unused)
{
    const char *scope = "";
    dbus_uint32_t ttl = 0;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    api_bus_expect_reply(get_token(api, SLOT0, "", 0), "st");
    int before = count_descriptors();
    for (int i = 0; i < 10; i++)
        api_bus_expect_error(api_bus_call(api, SLOT0, NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope,
                                          DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_UNIX_FD, &fd, DBUS_TYPE_UNIX_FD, &fd,
                                          DBUS_TYPE_INVALID),
                             "InvalidArgument", "takes no file descriptor");
    g_assert_cmpint(count_descriptors(), ==, before);
    close(fd);
}

/* However much a caller sends, it is the caller who gets the error, and the service goes on. */
static void
test_oversized(struct api_bus *api, gconstpointer unused)
{
    static const size_t sizes[] = { 8000, 8192, 64 << 10, 1 << 20, 4 << 20 };
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *huge = g_strnfill(sizes[i], 'x');
        bool read_at_all = sizes[i] < OBJECT_ARGUMENTS_MAX;
        api_bus_expect_error(get_token(api, SLOT0, huge, 0), "InvalidArgument",
                             read_at_all ? "at most 256" : "8192 bytes");
        api_bus_expect_error(report(api, SLOT0, 3, huge), "InvalidArgument",
                             read_at_all ? "at most 128" : "8192 bytes");
        if (getuid() == 0)
            api_bus_expect_error(clear_with(api, SLOT0, huge), "InvalidArgument",
                                 read_at_all ? "is not known" : "8192 bytes");
        api_bus_expect_error(
            api_bus_call(api, SLOT0, NAMES_SLOT, "GetConnectionString", DBUS_TYPE_STRING, &huge, DBUS_TYPE_INVALID),
            "InvalidArgument", read_at_all ? "signature \"u\"" : "8192 bytes");
    }
    /* Refused before libdbus takes it apart, element by element; also where no object is. */
    g_autofree char *elements = g_strnfill(1 << 20, '/');
    for (size_t i = 1; i < 1 << 20; i += 2)
        elements[i] = 'a';
    api_bus_expect_error(api_bus_call(api, elements, DBUS_INTERFACE_INTROSPECTABLE, "Introspect", DBUS_TYPE_INVALID),
                         "InvalidArgument", "the path is too long");
    api_bus_expect_reply(get_token(api, SLOT0, "", 0), "st");
    g_autofree char *some = g_strnfill(300, 'x');
    g_assert_false(api_bus_log_contains(some)); /* nor is the log filled with it */
}

/* ---- states and failures ---- */

static void
test_states(struct api_bus *api, gconstpointer unused)
{
    static const struct {
        enum slot_state state;
        const char *error, *report, *clear; /* NULL: it works */
    } rows[] = {
        { SLOT_EMPTY, "NotProvisioned", "NotProvisioned", "NotProvisioned" },
        { SLOT_FOUND, "NotProvisioned", "NotProvisioned", "NotProvisioned" },
        { SLOT_PENDING, "NotProvisioned", NULL, NULL },
        { SLOT_TAMPERED, "Tampered", NULL, NULL },
        { SLOT_DAMAGED, "Damaged", NULL, NULL },
        { SLOT_FOREIGN, "Foreign", NULL, "Foreign" },
    };
    for (uint32_t i = 0; i < G_N_ELEMENTS(rows); i++)
        fake_storage_put(api->storage, i + 1, rows[i].state, rows[i].state == SLOT_FOUND ? 0 : 2, NULL, NULL, NULL);
    api_bus_look(api);
    for (uint32_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strdup_printf(NAMES_SLOTS "/%u", i + 1), *words = g_strdup_printf("slot %u", i + 1);
        api_bus_expect_error(get_token(api, path, "", 0), rows[i].error, words);
        api_bus_expect_error(get_connection_string(api, path, 0), rows[i].error, words);
        api_bus_expect_error(get_token(api, path, "a//b", 0), "InvalidArgument",
                             "scope"); /* the arguments come first */
        if (rows[i].report)
            api_bus_expect_error(report(api, path, 1, ""), rows[i].report, words);
        else
            api_bus_expect_reply(report(api, path, 1, ""), "");
        if (rows[i].state == SLOT_EMPTY)
            api_bus_expect_error(get_all(api, path), "NotProvisioned", words);
        else
            api_bus_expect_reply(get_all(api, path), "a{sv}");
        if (getuid() != 0)
            continue;
        if (rows[i].clear)
            api_bus_expect_error(clear_with(api, path, NULL), rows[i].clear, words);
        else
            api_bus_expect_reply(clear_with(api, path, NULL), "");
    }
    api_bus_expect_error(get_token(api, NAMES_SLOTS "/10", "", 0), "NotProvisioned", "slot 10 is empty");
    api_bus_expect_error(get_token(api, NAMES_SLOTS "/65535", "", 0), "NotProvisioned", "slot 65535 is empty");
}

static void
test_storage_errors(struct api_bus *api, gconstpointer unused)
{
    static const int codes[] = { ERROR_TPM_ABSENT, ERROR_TPM_FAILED,      ERROR_BUSY,
                                 ERROR_NO_SPACE,   ERROR_TAMPERED,        ERROR_FOREIGN,
                                 ERROR_DAMAGED,    ERROR_NOT_PROVISIONED, ERROR_INTERNAL };
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        fake_storage_fail(api->storage, FAKE_STORAGE_SIGN, codes[i]);
        fake_storage_fail(api->storage, FAKE_STORAGE_CLEAR, codes[i]);
        api_bus_expect_error(get_token(api, SLOT0, "", 0), error_name(codes[i]), "told to fail");
        api_bus_expect_error(get_connection_string(api, SLOT0, 0), error_name(codes[i]), "told to fail");
        if (getuid() == 0)
            api_bus_expect_error(clear_with(api, SLOT0, NULL), error_name(codes[i]), "told to fail");
        g_autofree char *error = g_strdup_printf("HUBKEY_ERROR=%s", error_name(codes[i]));
        g_assert_true(api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=failed", error, NULL));
    }
    fake_storage_fail(api->storage, FAKE_STORAGE_SIGN, 0);
    api_bus_expect_reply(get_token(api, SLOT0, "", 0), "st");
}

/* A clock before this version's release: an error, not a token that is dead on arrival. */
static void
test_clock(struct api_bus *api, gconstpointer unused)
{
    static const int64_t wrong[] = { 0, -1, 1000000000, RELEASE_TIME - 1 };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        fake_clock_set_wall(wrong[i]);
        api_bus_expect_error(get_token(api, SLOT0, "", 0), "ClockUnset", "clock is not set");
        api_bus_expect_error(get_connection_string(api, SLOT0, 0), "ClockUnset", "clock is not set");
    }
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_SIGN), ==, 0);
    fake_clock_set_wall(RELEASE_TIME);
    api_bus_expect_reply(get_token(api, SLOT0, "", 0), "st");
}

static void
send_get_token(DBusConnection *client, struct api_bus *api, const char *scope)
{
    DBusMessage *message = api_bus_message(api, SLOT0, NAMES_SLOT, "GetToken");
    dbus_uint32_t ttl = 0;
    dbus_message_append_args(message, DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    g_assert_true(dbus_connection_send(client, message, NULL));
    dbus_message_unref(message);
}

static bool
queue_is_full(void *user)
{
    return worker_depth(((struct api_bus *)user)->api.worker) == LIMITS_WAITING_PER_UID;
}

static bool
is_idle(void *user)
{
    return worker_depth(((struct api_bus *)user)->api.worker) == 0;
}

static void
test_busy(struct api_bus *api, gconstpointer unused)
{
    DBusConnection *clients[8]; /* the bus lets each of them wait for 128 replies */
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        clients[i] = private_bus_connect(api->bus);
    fake_storage_hold(api->storage, FAKE_STORAGE_SIGN);
    for (int i = 0; i < LIMITS_WAITING_PER_UID; i++) {
        g_autofree char *scope = g_strdup_printf("s%d", i);
        send_get_token(clients[i % G_N_ELEMENTS(clients)], api, scope);
    }
    g_assert_true(await(queue_is_full, api));
    api_bus_expect_error(get_token(api, SLOT0, "one-more", 0), "Busy", "retry in 100 ms");
    api_bus_expect_error(get_token(api, SLOT0, "s0", 0), "Busy",
                         "retry in 100 ms"); /* waiting with another is waiting */
    fake_storage_release(api->storage);
    g_assert_true(await(is_idle, api));
    api_bus_expect_reply(get_token(api, SLOT0, "one-more", 0), "st");
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        loop_close(clients[i]);
}

static bool
is_late(void *user)
{
    return api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_ERROR=TpmFailed", "HUBKEY_SCOPE=late", NULL);
}

static void
test_hanging(struct api_bus *api, gconstpointer unused)
{
    fake_storage_hold(api->storage, FAKE_STORAGE_SIGN);
    send_get_token(api->client, api, "late");
    g_assert_true(await(fake_storage_is_inside, api->storage));
    fake_clock_pass(5 * G_USEC_PER_SEC);
    g_assert_true(await(is_late, api));
    api_bus_expect_reply(get_all(api, SLOT0), "a{sv}"); /* the bus thread is not held up */
    fake_storage_release(api->storage);
    api_bus_expect_reply(get_token(api, SLOT0, "", 0), "st");
}

static bool
somebody_left(void *user)
{
    return ((struct api_bus *)user)->gone > 0;
}

/* Callers that leave while they wait: what they asked for is given up, others are served. */
static void
test_leaving(struct api_bus *api, gconstpointer unused)
{
    DBusConnection *other = private_bus_connect(api->bus);
    fake_storage_hold(api->storage, FAKE_STORAGE_SIGN);
    send_get_token(other, api, "inside");
    g_assert_true(await(fake_storage_is_inside, api->storage));
    send_get_token(other, api, "waiting");
    send_get_token(api->client, api, "other");
    while (worker_depth(api->api.worker) < 3)
        g_main_context_iteration(NULL, TRUE);
    loop_close(other);
    g_assert_true(await(somebody_left, api));
    g_assert_cmpuint(worker_depth(api->api.worker), ==, 2);
    fake_storage_release(api->storage);
    api_bus_expect_reply(get_token(api, SLOT0, "", 0), "st");
    g_assert_true(await(is_idle, api));
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_SIGN), ==, 3); /* not "waiting" */
    g_assert_cmpuint(api->api.stats.tokens_issued, ==, 2);
}

/* ---- tokens ---- */

static void
test_token(struct api_bus *api, gconstpointer unused)
{
    dbus_uint64_t expires = 0, same = 0;
    g_autofree char *token = token_of(get_token(api, SLOT0, "messages/events", 600), &expires);
    g_assert_cmpuint(expires, ==, FAKE_CLOCK_START_S + 600);
    g_assert_true(
        g_str_has_prefix(token, "SharedAccessSignature sr=" API_BUS_HOST "%2Fdevices%2Fd%2Fmessages%2Fevents&sig="));
    g_assert_true(g_str_has_suffix(token, "&se=1800000600"));
    g_autofree char *again = token_of(get_token(api, SLOT0, "messages/events", 600), &same);
    g_assert_cmpstr(again, ==, token);
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_SIGN), ==, 1);
    g_assert_cmpuint(api->api.stats.tokens_issued, ==, 2);
    g_assert_cmpuint(api->api.stats.tokens_shared, ==, 1);
    g_free(token_of(get_token(api, SLOT0, "", 0), &expires));
    g_assert_cmpuint(expires, ==, FAKE_CLOCK_START_S + 3600);
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, token, -1);
    g_autofree char *id = g_strdup_printf("HUBKEY_TOKEN_ID=%.16s", digest);
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=allowed", "HUBKEY_SCOPE=messages/events",
                                     "HUBKEY_TTL=600", id, NULL));
}

static void
test_connection_string(struct api_bus *api, gconstpointer unused)
{
    dbus_uint64_t expires = 0, token_expires = 0;
    g_autofree char *text = token_of(get_connection_string(api, SLOT0, 600), &expires);
    g_autofree char *token = token_of(get_token(api, SLOT0, "", 600), &token_expires);
    g_autofree char *wanted = g_strconcat("HostName=" API_BUS_HOST ";DeviceId=d;SharedAccessSignature=", token, NULL);
    g_assert_cmpstr(text, ==, wanted);
    g_assert_cmpuint(expires, ==, token_expires);
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=connection-string", "HUBKEY_DECISION=allowed", NULL));
}

/* A slot that is limited to scopes gives nobody the whole identity, root included. */
static void
test_limited_scopes(struct api_bus *api, gconstpointer unused)
{
    dbus_uint64_t expires;
    api_bus_expect_error(get_token(api, SLOT0, "", 0), "NotAuthorized", "\"/\" is none of them");
    api_bus_expect_error(get_token(api, SLOT0, "messages", 0), "NotAuthorized", "Scopes= of [slot 0]");
    api_bus_expect_error(get_token(api, SLOT0, "messages/events2", 0), "NotAuthorized", "\"messages/events2\"");
    api_bus_expect_error(get_connection_string(api, SLOT0, 0), "NotAuthorized", "\"/\" is none of them");
    g_assert_true(api_bus_has_record("HUBKEY_DECISION=denied", "HUBKEY_RULE=Scopes", NULL));
    api_bus_expect_error(get_token(api, SLOT0, "messages/events", 121), "InvalidArgument",
                         "MaxTtl of slot 0, which is 120 s");
    g_free(token_of(get_token(api, SLOT0, "messages/events/x", 0), &expires));
    g_assert_cmpuint(expires, ==, FAKE_CLOCK_START_S + 60); /* DefaultTtl=60, a multiple of 60 already */
    g_free(token_of(get_token(api, SLOT0, "messages/events", 61), &expires));
    g_assert_cmpuint(expires, ==, FAKE_CLOCK_START_S + 120); /* rounded up to TokenGranularity=60 */
    fake_clock_pass(G_USEC_PER_SEC);
    g_free(token_of(get_token(api, SLOT0, "messages/events", 120), &expires));
    g_assert_cmpuint(expires, ==, FAKE_CLOCK_START_S + 121); /* never beyond MaxTtl */
}

/* ---- properties and signals ---- */

static void
test_properties(struct api_bus *api, gconstpointer unused)
{
    static const struct {
        const char *name, *text; /* NULL: a number or boolean */
        char type;
        dbus_uint64_t number;
    } rows[] = {
        { "Slot", NULL, 'u', 0 },
        { "State", "ready", 's', 0 },
        { "StateReason", "", 's', 0 },
        { "Generation", NULL, 't', 3 },
        { "CanUndo", NULL, 'b', 0 },
        { "HostName", API_BUS_HOST, 's', 0 },
        { "DeviceId", "d", 's', 0 },
        { "ModuleId", "", 's', 0 },
        { "GatewayHostName", "", 's', 0 },
        { "Audience", "", 's', 0 },
        { "KeyName", "", 's', 0 },
        { "Storage", "tpm", 's', 0 },
        { "TpmName", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", 's', 0 },
        { "HardwareDeviceId", NULL, 's', 0 },
        { "DefaultTtl", NULL, 'u', 3600 },
        { "MaxTtl", NULL, 'u', 86400 },
    };
    DBusMessage *reply = get_all(api, SLOT0);
    DBusMessageIter iter, entries, value;
    const char *key, *text;
    size_t n = 0;
    dbus_message_iter_init(reply, &iter);
    for (dbus_message_iter_recurse(&iter, &entries); api_next_entry(&entries, &key, &value); n++) {
        dbus_uint64_t number = 0;
        g_assert_cmpuint(n, <, G_N_ELEMENTS(rows));
        g_assert_cmpstr(key, ==, rows[n].name);
        g_assert_cmpint(dbus_message_iter_get_arg_type(&value), ==, rows[n].type);
        if (rows[n].type == 's') {
            dbus_message_iter_get_basic(&value, &text);
            if (rows[n].text)
                g_assert_cmpstr(text, ==, rows[n].text);
            else
                g_assert_cmpuint(strlen(text), ==, 64);
        } else {
            dbus_message_iter_get_basic(&value, &number);
            g_assert_cmpuint(number, ==, rows[n].number);
        }
    }
    g_assert_cmpuint(n, ==, G_N_ELEMENTS(rows));
    dbus_message_unref(reply);

    const char *interface = NAMES_SLOT, *other = NAMES_MANAGER, *missing = "Key", *host = "HostName";
    api_bus_expect_reply(api_bus_call(api, SLOT0, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &interface,
                                      DBUS_TYPE_STRING, &host, DBUS_TYPE_INVALID),
                         "v");
    api_bus_expect_error(api_bus_call(api, SLOT0, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &interface,
                                      DBUS_TYPE_STRING, &missing, DBUS_TYPE_INVALID),
                         DBUS_ERROR_UNKNOWN_PROPERTY, "Key");
    api_bus_expect_error(api_bus_call(api, SLOT0, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &other,
                                      DBUS_TYPE_STRING, &host, DBUS_TYPE_INVALID),
                         DBUS_ERROR_UNKNOWN_INTERFACE, "");
    api_bus_expect_error(api_bus_call(api, NAMES_SLOTS "/1", DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING,
                                      &interface, DBUS_TYPE_STRING, &host, DBUS_TYPE_INVALID),
                         "NotProvisioned", "slot 1 is empty");
    DBusMessage *set = api_bus_message(api, SLOT0, DBUS_INTERFACE_PROPERTIES, "Set");
    dbus_message_iter_init_append(set, &iter);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &interface);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &host);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_VARIANT, "s", &value);
    dbus_message_iter_append_basic(&value, DBUS_TYPE_STRING, &host);
    dbus_message_iter_close_container(&iter, &value);
    api_bus_expect_error(api_bus_send(api, set), DBUS_ERROR_PROPERTY_READ_ONLY, "HostName");
}

static bool
has_signals(void *user)
{
    return ((struct api_bus *)user)->signals->len >= 2;
}

/* Whatever changed in the slot, names are announced, never values. */
static void
test_tampered_signals(struct api_bus *api, gconstpointer unused)
{
    g_ptr_array_set_size(api->signals, 0);
    fake_storage_put(api->storage, 0, SLOT_TAMPERED, 3, API_BUS_HOST, "d", NULL);
    api_bus_expect_reply(report(api, SLOT0, 3, "0123-G:7"), ""); /* which looks again */
    g_assert_true(await(has_signals, api));
    g_assert_cmpstr(api->signals->pdata[0], ==, "TokensInvalidated " SLOT0 " 3");
    g_assert_cmpstr(api->signals->pdata[1], ==,
                    "PropertiesChanged " SLOT0 " " NAMES_SLOT
                    " State StateReason Generation CanUndo HostName DeviceId ModuleId GatewayHostName Audience KeyName"
                    " Storage TpmName HardwareDeviceId");
    api_bus_expect_error(get_token(api, SLOT0, "", 0), "Tampered", "slot 0 is tampered");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=rejected", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=0", NULL));
    g_assert_true(
        api_bus_has_record("HUBKEY_EVENT=rejected", "HUBKEY_GENERATION=3", "HUBKEY_TRACKING_ID=0123-G:7", NULL));
}

static void
test_clear_signals(struct api_bus *api, gconstpointer unused)
{
    if (getuid() != 0) {
        g_test_skip("Clear is for root");
        return;
    }
    g_ptr_array_set_size(api->signals, 0);
    api_bus_expect_reply(clear_with(api, SLOT0, NULL), "");
    g_assert_true(await(has_signals, api));
    g_assert_cmpstr(api->signals->pdata[0], ==, "TokensInvalidated " SLOT0 " 4");
    g_assert_cmpstr(api->signals->pdata[1], ==, "SlotRemoved " NAMES_ROOT " 0");
    api_bus_expect_error(get_token(api, SLOT0, "", 0), "NotProvisioned", "slot 0 is empty");
    api_bus_expect_error(clear_with(api, SLOT0, NULL), "NotProvisioned", "nothing to clear");
    g_assert_true(
        api_bus_has_record("HUBKEY_EVENT=clear", "HUBKEY_DECISION=allowed", "HUBKEY_RULE=root", "HUBKEY_SLOT=0", NULL));
}

static bool
has_one_signal(void *user)
{
    return ((struct api_bus *)user)->signals->len >= 1;
}

/* Tokens that are about were made by a time that does not hold any more; the key is the same. */
static void
test_clock_step(struct api_bus *api, gconstpointer unused)
{
    fake_storage_put(api->storage, 1, SLOT_READY, 7, API_BUS_HOST, "e", API_BUS_KEY); /* has given out nothing */
    api_bus_look(api);
    api_bus_expect_reply(get_token(api, SLOT0, "", 60), "st");
    g_ptr_array_set_size(api->signals, 0);
    fake_clock_set_wall(FAKE_CLOCK_START_S + 86400);
    g_assert_cmpint(eventfd_write(api->clock_fd, 1), ==, 0);
    g_assert_true(await(has_one_signal, api));
    api_bus_expect_reply(get_token(api, SLOT0, "", 60), "st"); /* all signals are in by then */
    g_assert_cmpuint(api->signals->len, ==, 1);
    g_assert_cmpstr(api->signals->pdata[0], ==, "TokensInvalidated " SLOT0 " 3");
    g_assert_true(api_bus_log_contains("the clock was set forward by 86400 s"));
}

/* Each user may ask so often, for tokens and connection strings together, shared ones too; root like the others. */
static void
test_rate(struct api_bus *api, gconstpointer unused)
{
    fake_storage_put(api->storage, 1, SLOT_READY, 7, API_BUS_HOST, "e", API_BUS_KEY);
    api_bus_look(api);
    api_bus_expect_error(get_token(api, SLOT0, "a//b", 60), "InvalidArgument", ""); /* no request for a token yet */
    api_bus_expect_error(get_token(api, SLOT0, "", 90000), "InvalidArgument", "");
    api_bus_expect_reply(get_token(api, SLOT0, "", 60), "st");
    api_bus_expect_reply(get_token(api, SLOT0, "", 60), "st");
    api_bus_expect_reply(get_connection_string(api, SLOT0, 60), "st");
    api_bus_expect_error(get_token(api, SLOT0, "", 60), "Busy", "retry in 20000 ms");
    api_bus_expect_error(get_connection_string(api, SLOT0, 60), "Busy", "3 tokens a minute");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=failed", "HUBKEY_ERROR=Busy",
                                     "HUBKEY_RULE=RequestsPerMinute", NULL));
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_SIGN), ==, 1); /* the three were one */
    api_bus_expect_reply(get_token(api, NAMES_SLOTS "/1", "", 60), "st"); /* slot 1 has no such rule */
    fake_clock_pass(20 * G_USEC_PER_SEC);
    api_bus_expect_reply(get_token(api, SLOT0, "", 60), "st");
    api_bus_expect_error(get_token(api, SLOT0, "", 60), "Busy", "retry in 20000 ms");
}

#define ADD(path, test) g_test_add(path, struct api_bus, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    static const char limited[] =
        "[hubkeyd]\nTokenGranularity=60\n[slot 0]\nScopes=messages/events;files\nDefaultTtl=60\nMaxTtl=120\n";
    g_test_init(&argc, &argv, NULL);
    api_bus_keep_log();
    ADD("/api/slot/paths", test_paths);
    ADD("/api/slot/types", test_types);
    ADD("/api/slot/arguments", test_arguments);
    ADD("/api/slot/descriptors", test_descriptors);
    ADD("/api/slot/oversized", test_oversized);
    ADD("/api/slot/states", test_states);
    ADD("/api/slot/storage-errors", test_storage_errors);
    ADD("/api/slot/clock", test_clock);
    ADD("/api/slot/busy", test_busy);
    ADD("/api/slot/hanging", test_hanging);
    ADD("/api/slot/leaving", test_leaving);
    ADD("/api/slot/token", test_token);
    ADD("/api/slot/connection-string", test_connection_string);
    g_test_add("/api/slot/limited-scopes", struct api_bus, limited, set_up, test_limited_scopes, tear_down);
    g_test_add("/api/slot/rate", struct api_bus, "[slot 0]\nRequestsPerMinute=3\n", set_up, test_rate, tear_down);
    ADD("/api/slot/properties", test_properties);
    ADD("/api/slot/tampered-signals", test_tampered_signals);
    ADD("/api/slot/clear-signals", test_clear_signals);
    ADD("/api/slot/clock-step", test_clock_step);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
