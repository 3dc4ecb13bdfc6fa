/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * org.hubkey.Manager1: provisioning and all that can be wrong with it, lists, statistics, signals.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/health.h"
#include "daemon/key-pipe.h"
#include "daemon/worker.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "tests/lib/api-bus.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void
set_up(struct api_bus *api, gconstpointer configuration)
{
    api_bus_start(api, configuration ? configuration : "");
}

static void
tear_down(struct api_bus *api, gconstpointer unused)
{
    api_bus_stop(api);
    g_assert_false(api_bus_log_contains(API_BUS_KEY));
}

static bool
is_root(void)
{
    if (getuid() == 0)
        return true;
    g_test_skip("Provision is for root");
    return false;
}

/* ---- making the call ---- */

static const struct api_bus_entry good[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "dev-1" },
                                             { NULL } };

static DBusMessage *
provision_message(struct api_bus *api, uint32_t slot, const struct api_bus_entry *settings, int fd,
                  const struct api_bus_entry *options)
{
    DBusMessage *message = api_bus_message(api, NAMES_ROOT, NAMES_MANAGER, "Provision");
    DBusMessageIter iter;
    dbus_uint32_t number = slot;
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &number);
    api_bus_append_entries(&iter, settings);
    g_assert_true(dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &fd));
    api_bus_append_entries(&iter, options);
    return message;
}

/* With a good key, unless fd is one. */
static DBusMessage *
provision(struct api_bus *api, uint32_t slot, const struct api_bus_entry *settings, const struct api_bus_entry *options)
{
    int fd = api_bus_memfd(API_BUS_KEY, strlen(API_BUS_KEY));
    DBusMessage *message = provision_message(api, slot, settings, fd, options);
    close(fd);
    return api_bus_send(api, message);
}

static DBusMessage *
provision_key(struct api_bus *api, uint32_t slot, int fd)
{
    DBusMessage *message = provision_message(api, slot, good, fd, NULL);
    close(fd);
    return api_bus_send(api, message);
}

/* ---- what is wrong with it ---- */

static void
test_settings(struct api_bus *api, gconstpointer unused)
{
    static const struct {
        struct api_bus_entry settings[6];
        const char *words;
    } bad[] = {
        { { { NULL } }, "HostName and DeviceId are needed" },
        { { { "HostName", 's', API_BUS_HOST } }, "DeviceId is missing" },
        { { { "DeviceId", 's', "d" } }, "HostName is missing" },
        { { { "HostName", 's', "" }, { "DeviceId", 's', "d" } }, "HostName is not a host name" },
        { { { "HostName", 's', "a b" }, { "DeviceId", 's', "d" } }, "HostName is not a host name" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "" } }, "DeviceId has 0 characters" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', ".." } }, "DeviceId must not be" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "a/b" } }, "DeviceId: character 2" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceID", 's', "d" } }, "\"DeviceID\" is not known" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "d" }, { "Key", 's', "x" } },
          "\"Key\" is not known" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 'u', NULL } }, "DeviceId must be a string (s)" },
        { { { "HostName", 'b', NULL }, { "DeviceId", 's', "d" } }, "HostName must be a string (s)" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "HostName", 's', "a" } }, "HostName stands twice" },
        { { { "Storage", 's', "tpm" }, { "Storage", 's', "tpm" } }, "Storage stands twice" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "Storage", 's', "disk" } }, "Storage is \"tpm\"" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "Storage", 's', "" } }, "Storage is \"tpm\"" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "ModuleId", 's', "m" }, { "Storage", 's', "tpm" } },
          "the key of a module is kept in a file" },
        { { { "Audience", 's', "sb://a/b" }, { "KeyName", 's', "k" }, { "Storage", 's', "tpm" } },
          "the key of an audience is kept in a file" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "ModuleId", 's', "." } }, "ModuleId must not be" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "GatewayHostName", 's', "g/" } },
          "GatewayHostName is not" },
        { { { "KeyName", 's', "k" } }, "Audience" },
        { { { "HostName", 's', "a" }, { "DeviceId", 's', "d" }, { "TpmName", 's', "00" } },
          "\"TpmName\" is not known" },
    };
    if (!is_root())
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        api_bus_expect_error(provision(api, 1, bad[i].settings, NULL), "InvalidArgument", bad[i].words);
    const struct api_bus_entry option[] = { { "Force", 'b', NULL }, { NULL } };
    api_bus_expect_error(provision(api, 1, good, option), "InvalidArgument", "options: \"Force\" is not known");
    static const uint32_t file_only[] = { 10, 11, 65535 }, none[] = { 65536, UINT32_MAX };
    const struct api_bus_entry in_tpm[] = { good[0], good[1], { "Storage", 's', "tpm" }, { NULL } };
    for (size_t i = 0; i < G_N_ELEMENTS(file_only); i++)
        api_bus_expect_error(provision(api, file_only[i], in_tpm, NULL), "InvalidArgument",
                             "a slot above 9 is kept in a file");
    for (size_t i = 0; i < G_N_ELEMENTS(none); i++)
        api_bus_expect_error(provision(api, none[i], good, NULL), "NoSuchSlot", "above 65535");
    g_autofree char *huge = g_strnfill(8000, 'x'); /* the most that is read at all */
    const struct api_bus_entry name[] = { { huge, 's', "x" }, { NULL } },
                       value[] = { { "DeviceId", 's', huge }, { "HostName", 's', "a" }, { NULL } };
    api_bus_expect_error(provision(api, 1, name, NULL), "InvalidArgument", "is not known");
    api_bus_expect_error(provision(api, 1, value, NULL), "InvalidArgument", "DeviceId has 8000 characters");
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_PROVISION), ==, 0); /* none of it came that far */
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=provision", "HUBKEY_DECISION=failed", "HUBKEY_ERROR=InvalidArgument",
                                     "HUBKEY_SLOT=1", NULL));
}

static void
test_types(struct api_bus *api, gconstpointer unused)
{
    dbus_uint32_t slot = 1;
    if (!is_root())
        return;
    api_bus_expect_error(api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "Provision", DBUS_TYPE_INVALID),
                         "InvalidArgument", "signature \"ua{sv}ha{sv}\"");
    api_bus_expect_error(
        api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "Provision", DBUS_TYPE_UINT32, &slot, DBUS_TYPE_INVALID),
        "InvalidArgument", "signature \"ua{sv}ha{sv}\", not \"u\"");
    api_bus_expect_error(
        api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "ListSlots", DBUS_TYPE_UINT32, &slot, DBUS_TYPE_INVALID),
        "InvalidArgument", "signature \"uu\"");
    api_bus_expect_error(
        api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "GetStatistics", DBUS_TYPE_UINT32, &slot, DBUS_TYPE_INVALID),
        "InvalidArgument", "signature \"\"");
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

/* Bad keys, each of whose descriptors is closed; settings that carry one. */
static void
test_keys(struct api_bus *api, gconstpointer unused)
{
    uint8_t bytes[KEY_PIPE_MAX + 1] = { 0 };
    if (!is_root())
        return;
    api_bus_expect_reply(api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "GetStatistics", DBUS_TYPE_INVALID), "a{sv}");
    int before = count_descriptors();
    api_bus_expect_error(provision_key(api, 1, api_bus_memfd(bytes, 0)), "InvalidArgument", "key: empty");
    api_bus_expect_error(provision_key(api, 1, api_bus_memfd(bytes, sizeof bytes)), "InvalidArgument",
                         "longer than 1024 bytes");
    api_bus_expect_error(provision_key(api, 1, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), "InvalidArgument",
                         "neither a pipe nor a file");
    api_bus_expect_error(provision_key(api, 1, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), "InvalidArgument",
                         "neither a pipe nor a file");
    api_bus_expect_error(provision(api, 65536, good, NULL), "NoSuchSlot", "");
    DBusMessage *message = api_bus_message(api, NAMES_ROOT, NAMES_MANAGER, "Provision");
    DBusMessageIter iter, dict;
    dbus_uint32_t slot = 1;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &slot);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &dict);
    api_append_entry(&dict, "HostName", DBUS_TYPE_UNIX_FD, &null);
    dbus_message_iter_close_container(&iter, &dict);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &null);
    api_bus_append_entries(&iter, NULL);
    close(null);
    api_bus_expect_error(api_bus_send(api, message), "InvalidArgument", "HostName must be a string");
    g_assert_cmpint(count_descriptors(), ==, before);
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_PROVISION), ==, 0);
}

static void
test_storage_errors(struct api_bus *api, gconstpointer unused)
{
    static const int codes[] = { ERROR_TPM_ABSENT, ERROR_TPM_FAILED, ERROR_NO_SPACE, ERROR_FOREIGN, ERROR_INTERNAL };
    if (!is_root())
        return;
    api_bus_expect_error(provision(api, 0, good, NULL), "SlotInUse", "slot 0");
    fake_storage_put(api->storage, 2, SLOT_FOREIGN, 0, NULL, NULL, NULL);
    api_bus_expect_error(provision(api, 2, good, NULL), "Foreign", "slot 2");
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        fake_storage_fail(api->storage, FAKE_STORAGE_PROVISION, codes[i]);
        api_bus_expect_error(provision(api, 1, good, NULL), error_name(codes[i]), "told to fail");
    }
    g_assert_null(slots_get(api->api.slots, 1));
}

/* ---- what comes of it ---- */

static bool
has_signals(void *user)
{
    return ((struct api_bus *)user)->signals->len >= 3;
}

static void
test_provision(struct api_bus *api, gconstpointer unused)
{
    const struct api_bus_entry settings[] = {
        { "Storage", 's', "tpm" }, { "HostName", 's', "H.Azure-Devices.net" }, { "DeviceId", 's', "Dev:1" }, { NULL }
    };
    const char *path = NULL, *scope = "";
    dbus_uint32_t ttl = 60;
    if (!is_root())
        return;
    g_ptr_array_set_size(api->signals, 0);
    DBusMessage *reply = provision(api, 4, settings, NULL);
    g_assert_true(dbus_message_get_args(reply, NULL, DBUS_TYPE_OBJECT_PATH, &path, DBUS_TYPE_INVALID));
    g_assert_cmpstr(path, ==, NAMES_SLOTS "/4");
    dbus_message_unref(reply);
    g_assert_true(await(has_signals, api));
    g_assert_cmpstr(api->signals->pdata[0], ==, "TokensInvalidated " NAMES_SLOTS "/4 1");
    g_assert_cmpstr(api->signals->pdata[1], ==, "SlotAdded " NAMES_ROOT " 4");
    g_assert_true(
        g_str_has_prefix(api->signals->pdata[2], "PropertiesChanged " NAMES_SLOTS "/4 " NAMES_SLOT " State "));
    const struct slot *slot = slots_get(api->api.slots, 4);
    g_assert_cmpstr(slot->identity->host, ==, "h.azure-devices.net");
    g_assert_cmpstr(slot->identity->device, ==, "Dev:1");
    api_bus_expect_reply(api_bus_call(api, NAMES_SLOTS "/4", NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope,
                                      DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID),
                         "st");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=provision", "HUBKEY_DECISION=allowed", "HUBKEY_RULE=root",
                                     "HUBKEY_SLOT=4", "HUBKEY_UID=0", NULL));
}

static bool
is_read(void *fd)
{
    int unread = -1;
    return ioctl(*(int *)fd, FIONREAD, &unread) == 0 && unread == 0;
}

static bool
somebody_left(void *user)
{
    return ((struct api_bus *)user)->gone > 0;
}

static bool
is_provisioned(void *user)
{
    return slots_get(((struct api_bus *)user)->api.slots, 5) != NULL;
}

/* A caller that leaves between the call and the end of its key: what was ordered is done, nobody is answered. */
static void
test_leaving(struct api_bus *api, gconstpointer unused)
{
    int ends[2];
    if (!is_root())
        return;
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    g_assert_cmpint(write(ends[1], "k", 1), ==, 1);
    DBusConnection *other = private_bus_connect(api->bus);
    DBusMessage *message = provision_message(api, 5, good, ends[0], NULL);
    close(ends[0]);
    g_assert_true(dbus_connection_send(other, message, NULL));
    dbus_connection_flush(other);
    dbus_message_unref(message);
    g_assert_true(await(is_read, &ends[1])); /* the caller was known and let in by then */
    loop_close(other);
    g_assert_true(await(somebody_left, api));
    close(ends[1]);
    g_assert_true(await(is_provisioned, api));
    api_bus_expect_reply(api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "GetStatistics", DBUS_TYPE_INVALID), "a{sv}");
}

/* ---- lists and figures ---- */

/* "0:ready:tpm:HOST:d 3:... next" */
static char *
list(struct api_bus *api, dbus_uint32_t first, dbus_uint32_t max)
{
    GString *text = g_string_new(NULL);
    DBusMessageIter iter, rows, row;
    dbus_uint32_t number;
    DBusMessage *reply = api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "ListSlots", DBUS_TYPE_UINT32, &first,
                                      DBUS_TYPE_UINT32, &max, DBUS_TYPE_INVALID);
    g_assert_cmpstr(dbus_message_get_signature(reply), ==, "a(ussss)u");
    dbus_message_iter_init(reply, &iter);
    for (dbus_message_iter_recurse(&iter, &rows); dbus_message_iter_get_arg_type(&rows) == DBUS_TYPE_STRUCT;
         dbus_message_iter_next(&rows)) {
        dbus_message_iter_recurse(&rows, &row);
        dbus_message_iter_get_basic(&row, &number);
        g_string_append_printf(text, "%u", number);
        while (dbus_message_iter_next(&row)) {
            const char *field;
            dbus_message_iter_get_basic(&row, &field);
            g_string_append_printf(text, ":%s", field);
        }
        g_string_append_c(text, ' ');
    }
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &number);
    g_string_append_printf(text, "%u", number);
    dbus_message_unref(reply);
    return g_string_free(text, FALSE);
}

static void
test_list(struct api_bus *api, gconstpointer unused)
{
#define ZERO "0:ready:tpm:" API_BUS_HOST ":d "
#define THREE "3:found:tpm:g:e "
#define NINE "9:foreign:tpm:: "
    static const struct {
        dbus_uint32_t first, max;
        const char *wanted;
    } rows[] = {
        { 0, 0, ZERO THREE NINE "0" }, { 0, 1024, ZERO THREE NINE "0" }, { 0, UINT32_MAX, ZERO THREE NINE "0" },
        { 0, 1, ZERO "3" },            { 0, 2, ZERO THREE "9" },         { 0, 3, ZERO THREE NINE "0" },
        { 1, 1, THREE "9" },           { 3, 1, THREE "9" },              { 4, 5, NINE "0" },
        { 9, 1, NINE "0" },            { 10, 1, "0" },                   { 65535, 1, "0" },
        { UINT32_MAX, UINT32_MAX, "0" },
    };
    fake_storage_put(api->storage, 3, SLOT_FOUND, 0, "g", "e", NULL);
    fake_storage_put(api->storage, 9, SLOT_FOREIGN, 0, NULL, NULL, NULL);
    api_bus_look(api);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *got = list(api, rows[i].first, rows[i].max);
        g_assert_cmpstr(got, ==, rows[i].wanted);
    }
}

static dbus_uint64_t
statistic(struct api_bus *api, const char *name)
{
    DBusMessage *reply = api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "GetStatistics", DBUS_TYPE_INVALID);
    DBusMessageIter iter, entries, value;
    const char *key;
    dbus_uint64_t found = G_MAXUINT64;
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &entries);
    while (api_next_entry(&entries, &key, &value)) {
        g_assert_cmpint(dbus_message_iter_get_arg_type(&value), ==, DBUS_TYPE_UINT64);
        if (strcmp(key, name) == 0)
            dbus_message_iter_get_basic(&value, &found);
    }
    dbus_message_unref(reply);
    return found;
}

static void
test_statistics(struct api_bus *api, gconstpointer unused)
{
    static const char *const names[] = { "TokensIssued", "TokensShared", "TokensDenied", "TpmOperations", "TpmRetries",
                                         "TpmResets",    "QueueDepth",   "LatencyP50Us", "LatencyP99Us" };
    const char *scope = "", *bad = "a//b";
    dbus_uint32_t ttl = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_cmpuint(statistic(api, names[i]), ==, 0);
    for (int i = 0; i < 3; i++)
        api_bus_expect_reply(api_bus_call(api, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope,
                                          DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID),
                             "st");
    api_bus_expect_error(api_bus_call(api, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &bad,
                                      DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID),
                         "InvalidArgument", "");
    g_assert_cmpuint(statistic(api, "TokensIssued"), ==, 3);
    g_assert_cmpuint(statistic(api, "TokensShared"), ==, 2);
    g_assert_cmpuint(statistic(api, "TokensDenied"), ==, 0);
}

static char *
property(struct api_bus *api, const char *name)
{
    const char *interface = NAMES_MANAGER, *text;
    DBusMessage *reply = api_bus_call(api, NAMES_ROOT, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &interface,
                                      DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID);
    DBusMessageIter iter, value;
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &value);
    dbus_message_iter_get_basic(&value, &text);
    char *copy = g_strdup(text);
    dbus_message_unref(reply);
    return copy;
}

static bool
has_signal(void *user)
{
    return ((struct api_bus *)user)->signals->len >= 1;
}

static void
test_tpm_state(struct api_bus *api, gconstpointer unused)
{
    const char *scope = "";
    dbus_uint32_t ttl = 0;
    g_autofree char *version = property(api, "Version"), *ready = property(api, "TpmState");
    g_assert_cmpstr(version, ==, VERSION);
    g_assert_cmpstr(ready, ==, "ready");
    g_ptr_array_set_size(api->signals, 0);
    fake_storage_fail(api->storage, FAKE_STORAGE_SIGN, ERROR_TPM_ABSENT);
    fake_storage_fail(api->storage, FAKE_STORAGE_ATTACH, ERROR_TPM_ABSENT);
    api_bus_expect_error(api_bus_call(api, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope,
                                      DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID),
                         "TpmAbsent", "");
    g_assert_true(await(has_signal, api));
    g_assert_cmpstr(api->signals->pdata[0], ==, "PropertiesChanged " NAMES_ROOT " " NAMES_MANAGER " TpmState");
    g_autofree char *absent = property(api, "TpmState"), *slots = list(api, 0, 0);
    g_assert_cmpstr(absent, ==, "absent");
    g_assert_cmpstr(slots, ==, ZERO "0"); /* what is in the slots is known all the same */
}

/* "NAME=VALUE NAME=VALUE …" */
static char *
tpm_info(struct api_bus *api)
{
    DBusMessage *reply = api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "GetTpmInfo", DBUS_TYPE_INVALID);
    DBusMessageIter iter, entries, value;
    const char *key, *text;
    dbus_uint32_t number;
    GString *line = g_string_new(NULL);
    g_assert_cmpstr(dbus_message_get_signature(reply), ==, "a{sv}");
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &entries);
    while (api_next_entry(&entries, &key, &value)) {
        if (dbus_message_iter_get_arg_type(&value) == DBUS_TYPE_STRING) {
            dbus_message_iter_get_basic(&value, &text);
            g_string_append_printf(line, "%s=%s ", key, text);
        } else {
            dbus_message_iter_get_basic(&value, &number);
            g_string_append_printf(line, "%s=%u%c ", key, number, dbus_message_iter_get_arg_type(&value));
        }
    }
    dbus_message_unref(reply);
    return g_string_free(line, FALSE);
}

static void
test_tpm_info(struct api_bus *api, gconstpointer unused)
{
    g_autofree char *first = tpm_info(api);
    int reads = g_atomic_int_get(&api->tpm_reads);
    g_assert_cmpstr(first, ==, "Manufacturer=FAKE Firmware=1.2.3.4 Lockout=0b OwnerAuthSet=0b PersistentUsed=3u "
                               "PersistentFree=4u NvUsed=5u NvFree=6u ");
    /* Whoever asks within the second gets the same answer, the TPM is not asked. */
    api->tpm.nv_used = 7;
    g_autofree char *second = tpm_info(api);
    g_assert_cmpstr(second, ==, first);
    g_assert_cmpint(g_atomic_int_get(&api->tpm_reads), ==, reads);
    fake_clock_pass(HEALTH_KEPT_MS * 1000);
    g_autofree char *third = tpm_info(api);
    g_assert_nonnull(strstr(third, " NvUsed=7u "));
    fake_clock_pass(HEALTH_KEPT_MS * 1000);
    api->tpm_error = ERROR_TPM_ABSENT;
    api_bus_expect_error(api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "GetTpmInfo", DBUS_TYPE_INVALID), "TpmAbsent",
                         "the fake TPM fails");
}

static void
expect_tpm_state(struct api_bus *api, const char *expected)
{
    fake_clock_pass(HEALTH_KEPT_MS * 1000);
    g_ptr_array_set_size(api->signals, 0);
    g_free(tpm_info(api)); /* whoever asks finds it out for all */
    g_autofree char *state = property(api, "TpmState");
    g_assert_cmpstr(state, ==, expected);
    g_assert_true(await(has_signal, api));
    g_assert_cmpstr(api->signals->pdata[0], ==, "PropertiesChanged " NAMES_ROOT " " NAMES_MANAGER " TpmState");
}

static void
expect_token(struct api_bus *api)
{
    const char *scope = "";
    dbus_uint32_t ttl = 0;
    api_bus_expect_reply(api_bus_call(api, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope,
                                      DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID), "st");
}

static void
test_lockout(struct api_bus *api, gconstpointer unused)
{
    api->tpm.lockout = true;
    expect_tpm_state(api, "lockout");
    g_assert_true(api_bus_log_contains("tpm2_dictionarylockout --clear-lockout"));
    expect_token(api);
    api->tpm.lockout = false;
    expect_tpm_state(api, "ready");
    api->tpm.owner_auth_set = true;
    api->tpm.owner = TPM_OWNER_REFUSED;
    expect_tpm_state(api, "auth-required");
    g_assert_true(api_bus_log_contains("the TPM has refused the one in OwnerAuthFile="));
    expect_token(api);
    api->tpm.owner = TPM_OWNER_KNOWN;
    expect_tpm_state(api, "ready");
}

/* What fails is a reason to look, also where nobody asks. */
static void
test_failure_looks(struct api_bus *api, gconstpointer unused)
{
    const char *scope = "";
    dbus_uint32_t ttl = 0;
    api->tpm.owner = TPM_OWNER_NOT_GIVEN;
    g_ptr_array_set_size(api->signals, 0);
    fake_storage_fail(api->storage, FAKE_STORAGE_SIGN, ERROR_TPM_FAILED);
    api_bus_expect_error(api_bus_call(api, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope,
                                      DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID), "TpmFailed", "");
    g_assert_true(await(has_signal, api));
    g_autofree char *state = property(api, "TpmState");
    g_assert_cmpstr(state, ==, "auth-required");
}

/* Slots that are there are children of the slots' node, for whoever looks around. */
static void
test_introspection(struct api_bus *api, gconstpointer unused)
{
    const char *xml;
    DBusMessage *reply = api_bus_call(api, NAMES_SLOTS, DBUS_INTERFACE_INTROSPECTABLE, "Introspect", DBUS_TYPE_INVALID);
    g_assert_true(dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &xml, DBUS_TYPE_INVALID));
    g_assert_nonnull(strstr(xml, "<node name=\"0\"/>"));
    g_assert_null(strstr(xml, "<node name=\"1\"/>"));
    dbus_message_unref(reply);
    api_bus_expect_reply(api_bus_call(api, NAMES_ROOT, DBUS_INTERFACE_PEER, "Ping", DBUS_TYPE_INVALID), "");
}

#define ADD(path, test) g_test_add(path, struct api_bus, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    api_bus_keep_log();
    ADD("/api/manager/provision/settings", test_settings);
    ADD("/api/manager/provision/types", test_types);
    ADD("/api/manager/provision/keys", test_keys);
    ADD("/api/manager/provision/storage-errors", test_storage_errors);
    ADD("/api/manager/provision/done", test_provision);
    ADD("/api/manager/provision/leaving", test_leaving);
    ADD("/api/manager/list", test_list);
    ADD("/api/manager/statistics", test_statistics);
    ADD("/api/manager/tpm-state", test_tpm_state);
    ADD("/api/manager/tpm-info", test_tpm_info);
    ADD("/api/manager/lockout", test_lockout);
    ADD("/api/manager/failure-looks", test_failure_looks);
    ADD("/api/manager/introspection", test_introspection);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
