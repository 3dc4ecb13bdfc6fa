/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Adopt, Rotate and UndoRotate on a private bus, over a storage in memory; and Provision where it goes into a file.
 */
#include <config.h>

#include "daemon/api.h"
#include "dbus/names.h"
#include "tests/lib/api-bus.h"
#include "tests/lib/await.h"

#include <string.h>
#include <unistd.h>

#define SLOT0 NAMES_SLOTS "/0"
#define NAME "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
#define NEW_KEY "another key of the hub"

static void
set_up(struct api_bus *api, gconstpointer unused)
{
    api_bus_start(api, "");
}

static void
tear_down(struct api_bus *api, gconstpointer unused)
{
    api_bus_stop(api);
    g_assert_false(api_bus_log_contains(NEW_KEY));
}

static bool
is_root(void)
{
    if (getuid() == 0)
        return true;
    g_test_skip("these calls are for root");
    return false;
}

/* ---- making the calls ---- */

static DBusMessage *
provision(struct api_bus *api, uint32_t slot, const struct api_bus_entry *settings)
{
    DBusMessage *message = api_bus_message(api, NAMES_ROOT, NAMES_MANAGER, "Provision");
    DBusMessageIter iter;
    dbus_uint32_t number = slot;
    int fd = api_bus_memfd(API_BUS_KEY, strlen(API_BUS_KEY));
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &number);
    api_bus_append_entries(&iter, settings);
    g_assert_true(dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &fd));
    api_bus_append_entries(&iter, NULL);
    close(fd);
    return api_bus_send(api, message);
}

static DBusMessage *
adopt(struct api_bus *api, uint32_t slot, const struct api_bus_entry *expected, const struct api_bus_entry *options)
{
    DBusMessage *message = api_bus_message(api, NAMES_ROOT, NAMES_MANAGER, "Adopt");
    DBusMessageIter iter;
    dbus_uint32_t number = slot;
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &number);
    api_bus_append_entries(&iter, expected);
    api_bus_append_entries(&iter, options);
    return api_bus_send(api, message);
}

static DBusMessage *
rotate(struct api_bus *api, const char *path, const char *key, const struct api_bus_entry *options)
{
    DBusMessage *message = api_bus_message(api, path, NAMES_SLOT, "Rotate");
    DBusMessageIter iter;
    int fd = api_bus_memfd(key, strlen(key));
    dbus_message_iter_init_append(message, &iter);
    g_assert_true(dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &fd));
    api_bus_append_entries(&iter, options);
    close(fd);
    return api_bus_send(api, message);
}

static DBusMessage *
undo(struct api_bus *api, const char *path)
{
    DBusMessage *message = api_bus_message(api, path, NAMES_SLOT, "UndoRotate");
    DBusMessageIter iter;
    dbus_message_iter_init_append(message, &iter);
    api_bus_append_entries(&iter, NULL);
    return api_bus_send(api, message);
}

/* A property of Slot1 as text: strings, numbers and booleans. g_free. */
static char *
get(struct api_bus *api, const char *path, const char *name)
{
    const char *interface = NAMES_SLOT;
    DBusMessage *reply = api_bus_call(api, path, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &interface,
                                      DBUS_TYPE_STRING, &name, DBUS_TYPE_INVALID);
    DBusMessageIter iter, value;
    DBusBasicValue basic = { 0 };
    g_assert_true(dbus_message_iter_init(reply, &iter));
    g_assert_cmpint(dbus_message_iter_get_arg_type(&iter), ==, DBUS_TYPE_VARIANT);
    dbus_message_iter_recurse(&iter, &value);
    dbus_message_iter_get_basic(&value, &basic);
    int type = dbus_message_iter_get_arg_type(&value);
    char *text = type == DBUS_TYPE_STRING    ? g_strdup(basic.str)
                 : type == DBUS_TYPE_BOOLEAN ? g_strdup(basic.bool_val ? "yes" : "no")
                                             : g_strdup_printf("%" G_GUINT64_FORMAT, (guint64)basic.u64);
    dbus_message_unref(reply);
    return text;
}

static void
expect_property(struct api_bus *api, const char *path, const char *name, const char *wanted)
{
    g_autofree char *got = get(api, path, name);
    g_assert_cmpstr(got, ==, wanted);
}

static bool
has_signal(struct api_bus *api, const char *text)
{
    for (guint i = 0; i < api->signals->len; i++)
        if (strcmp(api->signals->pdata[i], text) == 0)
            return true;
    return false;
}

static bool
is_completed(void *call)
{
    return dbus_pending_call_get_completed(call);
}

static bool
has_invalidated_4(void *user)
{
    return has_signal(user, "TokensInvalidated " SLOT0 " 4");
}

static bool
has_invalidated_5(void *user)
{
    return has_signal(user, "TokensInvalidated " SLOT0 " 5");
}

/* ---- Provision into files ---- */

static void
test_provision_file(struct api_bus *api, gconstpointer unused)
{
    static const struct api_bus_entry
        device[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "d" }, { NULL } },
        module[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "d" }, { "ModuleId", 's', "m" },
                     { "GatewayHostName", 's', "edge" }, { NULL } },
        audience[] = { { "Audience", 's', "sb://ns.servicebus.windows.net/hub" }, { "KeyName", 's', "send" },
                       { NULL } },
        in_file[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "d" }, { "Storage", 's', "file" },
                      { NULL } };
    dbus_uint32_t ttl = 0;
    if (!is_root())
        return;
    api_bus_expect_reply(provision(api, 12, device), "o");
    expect_property(api, NAMES_SLOTS "/12", "Storage", "file");
    expect_property(api, NAMES_SLOTS "/12", "TpmName", "");
    api_bus_expect_reply(provision(api, 1, module), "o");
    expect_property(api, NAMES_SLOTS "/1", "Storage", "file");
    expect_property(api, NAMES_SLOTS "/1", "ModuleId", "m");
    expect_property(api, NAMES_SLOTS "/1", "GatewayHostName", "edge");
    api_bus_expect_reply(provision(api, 2, audience), "o");
    expect_property(api, NAMES_SLOTS "/2", "Audience", "sb://ns.servicebus.windows.net/hub");
    expect_property(api, NAMES_SLOTS "/2", "KeyName", "send");
    expect_property(api, NAMES_SLOTS "/2", "HostName", "");
    api_bus_expect_error(api_bus_call(api, NAMES_SLOTS "/2", NAMES_SLOT, "GetConnectionString", DBUS_TYPE_UINT32, &ttl,
                                      DBUS_TYPE_INVALID), "Unsupported", "no connection string");
    api_bus_expect_reply(provision(api, 3, in_file), "o");
    expect_property(api, NAMES_SLOTS "/3", "Storage", "file");
    api_bus_expect_reply(provision(api, 4, device), "o");
    expect_property(api, NAMES_SLOTS "/4", "Storage", "tpm");
    expect_property(api, NAMES_SLOTS "/4", "TpmName", NAME);
}

/* ---- Adopt ---- */

static void
test_adopt(struct api_bus *api, gconstpointer unused)
{
    const struct api_bus_entry as_seen[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "pump" },
                                             { "TpmName", 's', NAME }, { NULL } };
    if (!is_root())
        return;
    fake_storage_put(api->storage, 3, SLOT_FOUND, 0, API_BUS_HOST, "pump", API_BUS_KEY);
    api_bus_look(api);
    expect_property(api, NAMES_SLOTS "/3", "State", "found");
    api_bus_expect_reply(adopt(api, 3, as_seen, NULL), "o");
    expect_property(api, NAMES_SLOTS "/3", "State", "ready");
    expect_property(api, NAMES_SLOTS "/3", "Generation", "1");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=adopt", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=3", NULL));
    api_bus_expect_error(adopt(api, 3, as_seen, NULL), "Tampered", ""); /* of the storage: not found any more */
}

static void
test_bad_adopt(struct api_bus *api, gconstpointer unused)
{
    static const struct {
        struct api_bus_entry expected[4];
        const char *words;
    } bad[] = {
        { { { NULL } }, "must all be given" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "pump" } }, "must all be given" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "pump" }, { "TpmName", 's', "ee" } },
          "68 lower-case" },
        { { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', ".." }, { "TpmName", 's', NAME } },
          "DeviceId must not" },
        { { { "HostName", 'b', NULL } }, "must be a string" },
        { { { "TpmName", 's', NAME }, { "TpmName", 's', NAME } }, "stands twice" },
        { { { "ModuleId", 's', "m" } }, "\"ModuleId\" is not known; HostName, DeviceId and TpmName are" },
        { { { "Storage", 's', "tpm" } }, "\"Storage\" is not known" },
    };
    const struct api_bus_entry good[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "pump" },
                                          { "TpmName", 's', NAME }, { NULL } };
    const struct api_bus_entry option[] = { { "Force", 'b', NULL }, { NULL } };
    const struct api_bus_entry evil[] = { { "HostName", 's', "hub.azure-devices.net.evil.example" }, good[1], good[2],
                                          { NULL } };
    if (!is_root())
        return;
    api_bus_expect_error(adopt(api, 3, evil, NULL), "InvalidArgument", "AllowedHosts=");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        api_bus_expect_error(adopt(api, 3, bad[i].expected, NULL), "InvalidArgument", bad[i].words);
    api_bus_expect_error(adopt(api, 3, good, option), "InvalidArgument", "options: \"Force\"");
    api_bus_expect_error(adopt(api, 65536, good, NULL), "NoSuchSlot", "above 65535");
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_ADOPT), ==, 0);
}

/* ---- Rotate and UndoRotate ---- */

static void
test_rotate(struct api_bus *api, gconstpointer unused)
{
    static const struct api_bus_entry elsewhere[] = { { "HostName", 's', "Other.azure-devices.net" }, { NULL } };
    if (!is_root())
        return;
    expect_property(api, SLOT0, "CanUndo", "no");
    g_ptr_array_set_size(api->signals, 0);
    api_bus_expect_reply(rotate(api, SLOT0, NEW_KEY, elsewhere), "a{sv}");
    g_assert_true(await(has_invalidated_4, api));
    expect_property(api, SLOT0, "Generation", "4");
    expect_property(api, SLOT0, "HostName", "other.azure-devices.net");
    expect_property(api, SLOT0, "DeviceId", "d"); /* as it was */
    expect_property(api, SLOT0, "CanUndo", "yes");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=rotate", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=0", NULL));
    api_bus_expect_reply(undo(api, SLOT0), "");
    g_assert_true(await(has_invalidated_5, api));
    expect_property(api, SLOT0, "HostName", API_BUS_HOST);
    expect_property(api, SLOT0, "CanUndo", "no");
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=undo-rotate", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=0", NULL));
    api_bus_expect_error(undo(api, SLOT0), "Unsupported", "no earlier key");
}

/* A module and a gateway belong to one device at one hub: they stay with a new key, and not with another device. */
static void
test_rotate_identity(struct api_bus *api, gconstpointer unused)
{
    static const struct api_bus_entry
        module[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "d" }, { "ModuleId", 's', "m" },
                     { "GatewayHostName", 's', "edge" }, { NULL } },
        gateway[] = { { "GatewayHostName", 's', "edge2" }, { NULL } },
        full[] = { { "HostName", 's', API_BUS_HOST }, { "DeviceId", 's', "e" }, { "ModuleId", 's', "n" }, { NULL } },
        device[] = { { "DeviceId", 's', "f" }, { NULL } }, host[] = { { "HostName", 's', API_BUS_HOST }, { NULL } };
    static const struct {
        const struct api_bus_entry *options;
        const char *device, *module, *gateway;
    } steps[] = {
        { NULL, "d", "m", "edge" },    { gateway, "d", "m", "edge2" }, { full, "e", "n", "" },
        { gateway, "e", "n", "edge2" }, { device, "f", "", "" },       { module, "d", "m", "edge" },
        { host, "d", "", "" },
    };
    if (!is_root())
        return;
    api_bus_expect_reply(provision(api, 1, module), "o");
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        api_bus_expect_reply(rotate(api, NAMES_SLOTS "/1", NEW_KEY, steps[i].options), "a{sv}");
        expect_property(api, NAMES_SLOTS "/1", "HostName", API_BUS_HOST);
        expect_property(api, NAMES_SLOTS "/1", "DeviceId", steps[i].device);
        expect_property(api, NAMES_SLOTS "/1", "ModuleId", steps[i].module);
        expect_property(api, NAMES_SLOTS "/1", "GatewayHostName", steps[i].gateway);
    }
}

static void
test_bad_rotate(struct api_bus *api, gconstpointer unused)
{
    static const struct {
        struct api_bus_entry options[4];
        const char *words;
    } bad[] = {
        { { { "HostName", 's', "a b" } }, "HostName is not a host name" },
        { { { "ModuleId", 's', "m" } }, "the key of a module is kept in a file" },
        { { { "Audience", 's', "sb://a/b" }, { "KeyName", 's', "k" } }, "cannot become an audience's" },
        { { { "Storage", 's', "file" } }, "\"Storage\" is not known" },
        { { { "TpmName", 's', NAME } }, "\"TpmName\" is not known" },
    };
    if (!is_root())
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        api_bus_expect_error(rotate(api, SLOT0, NEW_KEY, bad[i].options), "InvalidArgument", bad[i].words);
    api_bus_expect_error(rotate(api, SLOT0, "", NULL), "InvalidArgument", "key: empty");
    api_bus_expect_error(rotate(api, NAMES_SLOTS "/01", NEW_KEY, NULL), "NoSuchSlot", "");
    api_bus_expect_error(rotate(api, NAMES_SLOTS "/7", NEW_KEY, NULL), "NotProvisioned", "slot 7 is empty");
    api_bus_expect_error(undo(api, NAMES_SLOTS "/7"), "NotProvisioned", "slot 7 is empty");
    fake_storage_put(api->storage, 2, SLOT_TAMPERED, 3, API_BUS_HOST, "d", NULL);
    api_bus_look(api);
    api_bus_expect_error(rotate(api, NAMES_SLOTS "/2", NEW_KEY, NULL), "Tampered", "slot 2 is tampered");
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_ROTATE), ==, 0);
    g_assert_cmpuint(fake_storage_count(api->storage, FAKE_STORAGE_UNDO), ==, 0);
}

/* A token that was being made when the key was exchanged is no token of the slot any more. */
static void
test_rotate_beside_token(struct api_bus *api, gconstpointer unused)
{
    const char *scope = "";
    dbus_uint32_t ttl = 0;
    DBusPendingCall *call = NULL;
    if (!is_root())
        return;
    fake_storage_hold(api->storage, FAKE_STORAGE_SIGN);
    DBusMessage *message = api_bus_message(api, SLOT0, NAMES_SLOT, "GetToken");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    g_assert_true(dbus_connection_send_with_reply(api->client, message, &call, DBUS_TIMEOUT_INFINITE));
    dbus_message_unref(message);
    g_assert_true(await(fake_storage_is_inside, api->storage));
    fake_storage_put(api->storage, 0, SLOT_READY, 4, API_BUS_HOST, "d", NEW_KEY);
    fake_storage_release(api->storage);
    g_assert_true(await(is_completed, call));
    api_bus_expect_error(dbus_pending_call_steal_reply(call), "NotProvisioned", "changed");
    dbus_pending_call_unref(call);
}

/* A slot that another call changed while this one's key came is left alone. */
static void
test_rotate_late(struct api_bus *api, gconstpointer unused)
{
    if (!is_root())
        return;
    fake_storage_put(api->storage, 0, SLOT_READY, 9, API_BUS_HOST, "d", API_BUS_KEY);
    api_bus_expect_error(rotate(api, SLOT0, NEW_KEY, NULL), "Busy", "slot 0");
    api_bus_expect_reply(rotate(api, SLOT0, NEW_KEY, NULL), "a{sv}");
    expect_property(api, SLOT0, "Generation", "10");
}

#define ADD(path, test) g_test_add(path, struct api_bus, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    api_bus_keep_log();
    ADD("/api/change/provision-file", test_provision_file);
    ADD("/api/change/adopt", test_adopt);
    ADD("/api/change/bad-adopt", test_bad_adopt);
    ADD("/api/change/rotate", test_rotate);
    ADD("/api/change/rotate-identity", test_rotate_identity);
    ADD("/api/change/bad-rotate", test_bad_rotate);
    ADD("/api/change/rotate-beside-token", test_rotate_beside_token);
    ADD("/api/change/rotate-late", test_rotate_late);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
