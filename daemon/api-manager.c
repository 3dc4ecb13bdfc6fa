/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-manager.h"
#include "daemon/api-change.h"
#include "daemon/api-rules.h"
#include "daemon/api-tpm.h"
#include "daemon/api.h"
#include "daemon/health.h"
#include "daemon/slot.h"
#include "daemon/tpm.h"
#include "daemon/worker.h"
#include "dbus/names.h"

#define LIST_MAX 1024 /* slots in one answer of ListSlots */

/* ---- listing ---- */

static void
append_slot(DBusMessageIter *array, const struct slot *slot)
{
    const char *state = slot_state_name(slot->state), *storage = slot->file ? "file" : "tpm";
    const char *host = slot->identity && slot->identity->host ? slot->identity->host : "";
    const char *device = slot->identity && slot->identity->device ? slot->identity->device : "";
    dbus_uint32_t number = slot->number;
    DBusMessageIter row;
    if (!dbus_message_iter_open_container(array, DBUS_TYPE_STRUCT, NULL, &row) ||
        !dbus_message_iter_append_basic(&row, DBUS_TYPE_UINT32, &number) ||
        !dbus_message_iter_append_basic(&row, DBUS_TYPE_STRING, &state) ||
        !dbus_message_iter_append_basic(&row, DBUS_TYPE_STRING, &storage) ||
        !dbus_message_iter_append_basic(&row, DBUS_TYPE_STRING, &host) ||
        !dbus_message_iter_append_basic(&row, DBUS_TYPE_STRING, &device) ||
        !dbus_message_iter_close_container(array, &row))
        g_error("out of memory: a D-Bus reply");
}

static void
list_slots(struct object_request *request, void *user)
{
    struct api *api = user;
    dbus_uint32_t first = 0, max = 0, next = 0;
    DBusMessageIter iter, array;
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_UINT32, &first, DBUS_TYPE_UINT32, &max,
                          DBUS_TYPE_INVALID);
    if (max == 0 || max > LIST_MAX)
        max = LIST_MAX;
    DBusMessage *reply = object_reply_new(request);
    dbus_message_iter_init_append(reply, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "(ussss)", &array);
    const struct slot *slot = slots_next(api->slots, first);
    for (dbus_uint32_t n = 0; slot && n < max; n++) {
        append_slot(&array, slot);
        slot = slots_next(api->slots, slot->number + 1);
    }
    next = slot ? slot->number : 0;
    dbus_message_iter_close_container(&iter, &array);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &next);
    object_reply_message(request, reply);
}

/* ---- statistics and properties ---- */

static void
get_statistics(struct object_request *request, void *user)
{
    struct api *api = user;
    struct tpm_counters tpm = api->tpm ? tpm_counters(api->tpm) : (struct tpm_counters){ 0 };
    const struct {
        const char *name;
        dbus_uint64_t value;
    } rows[] = {
        { "TokensIssued", api->stats.tokens_issued },
        { "TokensShared", api->stats.tokens_shared },
        { "TokensDenied", api->stats.tokens_denied },
        { "TpmOperations", tpm.operations },
        { "TpmRetries", tpm.retries },
        { "TpmResets", tpm.resets },
        { "QueueDepth", worker_depth(api->worker) },
        { "LatencyP50Us", stats_latency_us(&api->stats, 500) },
        { "LatencyP99Us", stats_latency_us(&api->stats, 990) },
    };
    DBusMessage *reply = object_reply_new(request);
    DBusMessageIter iter, entries;
    dbus_message_iter_init_append(reply, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &entries);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        api_append_entry(&entries, rows[i].name, DBUS_TYPE_UINT64, &rows[i].value);
    dbus_message_iter_close_container(&iter, &entries);
    object_reply_message(request, reply);
}

static void
get_version(const char *path, DBusMessageIter *iter, void *user)
{
    const char *version = VERSION;
    dbus_message_iter_append_basic(iter, DBUS_TYPE_STRING, &version);
}

static void
get_tpm_state(const char *path, DBusMessageIter *iter, void *user)
{
    struct api *api = user;
    const char *state = health_state(api->health);
    dbus_message_iter_append_basic(iter, DBUS_TYPE_STRING, &state);
}

/* ---- the rows ---- */

static const struct object_method methods[] = {
    { "ListSlots", "uu", "a(ussss)u", "first max slots next", API_ANYBODY, list_slots },
    { "Provision", "ua{sv}ha{sv}", "o", "slot settings key options object", API_ADMIN, api_change_provision },
    { "Adopt", "ua{sv}a{sv}", "o", "slot expected options object", API_ADMIN, api_change_adopt },
    { "Reload", "", "", "", API_ADMIN, api_rules_reload },
    { "Explain", "uuaus", "bss", "slot uid gids scope allowed rule advice", API_ANYBODY, api_rules_explain },
    { "GetStatistics", "", "a{sv}", "statistics", API_ANYBODY, get_statistics },
    { "GetTpmInfo", "", "a{sv}", "info", API_ANYBODY, api_tpm_get_info },
    { 0 },
};

static const struct object_property properties[] = {
    { "Version", "s", get_version, true },
    { "TpmState", "s", get_tpm_state },
    { 0 },
};

static const struct object_signal signals[] = {
    { "SlotAdded", "u", "slot" },
    { "SlotRemoved", "u", "slot" },
    { 0 },
};

const struct object_interface api_manager_interface = { NAMES_MANAGER, methods, properties, signals };
