/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-slot.h"
#include "daemon/access.h"
#include "daemon/api-change.h"
#include "daemon/api-token.h"
#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/slot.h"
#include "dbus/names.h"

static const struct slot *
slot_at(const char *path, struct api *api)
{
    uint32_t number = 0;
    api_slot_of_path(path, &number, NULL);
    return slots_get(api->slots, number); /* there: the exists hook said so in this same turn of the loop */
}

static void
put_text(DBusMessageIter *iter, const char *text)
{
    const char *value = text ? text : "";
    if (!dbus_message_iter_append_basic(iter, DBUS_TYPE_STRING, &value))
        g_error("out of memory: a D-Bus reply");
}

static void
put(DBusMessageIter *iter, int type, const void *value)
{
    if (!dbus_message_iter_append_basic(iter, type, value))
        g_error("out of memory: a D-Bus reply");
}

static void
get_slot(const char *path, DBusMessageIter *iter, void *user)
{
    dbus_uint32_t number = slot_at(path, user)->number;
    put(iter, DBUS_TYPE_UINT32, &number);
}

static void
get_state(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, slot_state_name(slot_at(path, user)->state));
}

static void
get_state_reason(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, slot_at(path, user)->reason);
}

static void
get_generation(const char *path, DBusMessageIter *iter, void *user)
{
    dbus_uint64_t generation = slot_at(path, user)->generation;
    put(iter, DBUS_TYPE_UINT64, &generation);
}

static void
get_can_undo(const char *path, DBusMessageIter *iter, void *user)
{
    dbus_bool_t can_undo = slot_at(path, user)->can_undo;
    put(iter, DBUS_TYPE_BOOLEAN, &can_undo);
}

static const struct identity *
identity_at(const char *path, void *user)
{
    static const struct identity unknown = { 0 };
    const struct identity *identity = slot_at(path, user)->identity;
    return identity ? identity : &unknown;
}

static void
get_host(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, identity_at(path, user)->host);
}

static void
get_device(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, identity_at(path, user)->device);
}

static void
get_module(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, identity_at(path, user)->module);
}

static void
get_gateway(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, identity_at(path, user)->gateway);
}

static void
get_audience(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, identity_at(path, user)->audience);
}

static void
get_key_name(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, identity_at(path, user)->key_name);
}

static void
get_storage(const char *path, DBusMessageIter *iter, void *user)
{
    put_text(iter, slot_at(path, user)->file ? "file" : "tpm");
}

static void
get_tpm_name(const char *path, DBusMessageIter *iter, void *user)
{
    const struct slot *slot = slot_at(path, user);
    put_text(iter, slot->file ? "" : slot->tpm_name);
}

static void
get_hardware_id(const char *path, DBusMessageIter *iter, void *user)
{
    struct api *api = user;
    g_autofree char *id = slot_hardware_id(slot_at(path, api)->number, slots_srk_name(api->slots));
    put_text(iter, id);
}

static void
get_default_ttl(const char *path, DBusMessageIter *iter, void *user)
{
    struct api *api = user;
    dbus_uint32_t ttl = config_rules(api->config, slot_at(path, api)->number)->default_ttl;
    put(iter, DBUS_TYPE_UINT32, &ttl);
}

static void
get_max_ttl(const char *path, DBusMessageIter *iter, void *user)
{
    struct api *api = user;
    dbus_uint32_t ttl = config_rules(api->config, slot_at(path, api)->number)->max_ttl;
    put(iter, DBUS_TYPE_UINT32, &ttl);
}

/* ---- the rows ---- */

static const struct object_method methods[] = {
    { "GetToken", "su", "st", "scope ttl token expires", API_TOKEN, api_token_get },
    { "GetConnectionString", "u", "st", "ttl connection_string expires", API_TOKEN, api_token_get_connection_string },
    { "ReportRejected", "ts", "", "generation tracking_id", API_TOKEN, api_token_report_rejected },
    { "Rotate", "ha{sv}", "a{sv}", "key options result", API_ADMIN, api_change_rotate },
    { "UndoRotate", "a{sv}", "", "options", API_ADMIN, api_change_undo },
    { "Clear", "a{sv}", "", "options", API_ADMIN, api_change_clear },
    { 0 },
};

static const struct object_property properties[] = {
    { "Slot", "u", get_slot, true },
    { "State", "s", get_state },
    { "StateReason", "s", get_state_reason },
    { "Generation", "t", get_generation },
    { "CanUndo", "b", get_can_undo },
    { "HostName", "s", get_host },
    { "DeviceId", "s", get_device },
    { "ModuleId", "s", get_module },
    { "GatewayHostName", "s", get_gateway },
    { "Audience", "s", get_audience },
    { "KeyName", "s", get_key_name },
    { "Storage", "s", get_storage },
    { "TpmName", "s", get_tpm_name },
    { "HardwareDeviceId", "s", get_hardware_id },
    { "DefaultTtl", "u", get_default_ttl },
    { "MaxTtl", "u", get_max_ttl },
    { 0 },
};

static const struct object_signal signals[] = {
    { "TokensInvalidated", "t", "generation" },
    { 0 },
};

const struct object_interface api_slot_interface = { NAMES_SLOT, methods, properties, signals };
