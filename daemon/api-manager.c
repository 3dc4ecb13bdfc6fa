/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-manager.h"
#include "daemon/api-tpm.h"
#include "daemon/api.h"
#include "daemon/health.h"
#include "daemon/key-pipe.h"
#include "daemon/slot.h"
#include "daemon/tpm.h"
#include "daemon/worker.h"
#include "dbus/names.h"
#include "common/error.h"

#include <string.h>
#include <unistd.h>

#define LIST_MAX 1024 /* slots in one answer of ListSlots */

/* ---- listing ---- */

static void
append_slot(DBusMessageIter *array, const struct slot *slot)
{
    const char *state = slot_state_name(slot->state), *storage = "tpm";
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

/* ---- provisioning ---- */

struct provisioning {
    struct api *api;
    struct object_request *request;
    struct identity *identity;
    char *storage; /* NULL: the slot's default */
    struct audit_record record;
};

static void
finish(struct provisioning *provisioning, const GError *error)
{
    if (error) {
        api_refuse(provisioning->api, provisioning->request, &provisioning->record, error);
    } else {
        char path[NAMES_SLOT_PATH_MAX];
        const char *object = path;
        api_slot_path(provisioning->record.slot, path);
        api_describe_caller(provisioning->request, &provisioning->record);
        audit_write(&provisioning->record);
        object_reply(provisioning->request, DBUS_TYPE_OBJECT_PATH, &object, DBUS_TYPE_INVALID);
    }
    identity_free(provisioning->identity);
    g_free(provisioning->storage);
    g_free(provisioning);
}

static void
provisioned(const GError *error, void *user)
{
    finish(user, error);
}

static void
got_key(struct secret *key, const GError *error, void *user)
{
    struct provisioning *provisioning = user;
    if (error)
        finish(provisioning, error);
    else
        slots_provision(provisioning->api->slots, provisioning->record.slot, g_steal_pointer(&provisioning->identity),
                        key, provisioned, provisioning);
}

static bool
read_setting(struct provisioning *provisioning, const char *key, DBusMessageIter *value, GError **error)
{
    struct identity *identity = provisioning->identity;
    const struct {
        const char *name;
        char **text;
    } settings[] = {
        { "HostName", &identity->host },     { "DeviceId", &identity->device },
        { "ModuleId", &identity->module },   { "GatewayHostName", &identity->gateway },
        { "Audience", &identity->audience }, { "KeyName", &identity->key_name },
        { "Storage", &provisioning->storage },
    };
    const char *text;
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
        if (strcmp(settings[i].name, key) != 0)
            continue;
        if (dbus_message_iter_get_arg_type(value) != DBUS_TYPE_STRING) {
            error_set(error, ERROR_INVALID_ARGUMENT, "settings: %s must be a string (s)", key);
            return false;
        }
        if (*settings[i].text) {
            error_set(error, ERROR_INVALID_ARGUMENT, "settings: %s stands twice", key);
            return false;
        }
        dbus_message_iter_get_basic(value, &text);
        *settings[i].text = g_strdup(text);
        return true;
    }
    error_set(error, ERROR_INVALID_ARGUMENT, "settings: \"%.64s\" is not known; HostName, DeviceId, ModuleId, "
              "GatewayHostName, Storage, Audience and KeyName are", key);
    return false;
}

/* What the interface defines and this version does not do yet. */
static bool
check_supported(const struct provisioning *provisioning, GError **error)
{
    const struct identity *identity = provisioning->identity;
    uint32_t slot = provisioning->record.slot;
    if (slot > NAMES_SLOT_MAX) {
        error_set(error, ERROR_NO_SUCH_SLOT, "slot: %u is above %d", slot, NAMES_SLOT_MAX);
        return false;
    }
    const char *storage = provisioning->storage;
    if (storage && strcmp(storage, "tpm") != 0 && strcmp(storage, "file") != 0) {
        error_set(error, ERROR_INVALID_ARGUMENT, "settings: Storage is \"tpm\" or \"file\"");
        return false;
    }
    const char *what = slot >= SLOT_TPM_COUNT                  ? "slots above 9"
                       : g_strcmp0(storage, "file") == 0       ? "Storage \"file\""
                       : identity->module                      ? "ModuleId"
                       : identity->gateway                     ? "GatewayHostName"
                       : identity->audience || identity->key_name ? "Audience and KeyName"
                                                               : NULL;
    if (what)
        error_set(error, ERROR_UNSUPPORTED, "%s: not in this version; slots 0 to 9 hold keys of devices", what);
    return !what;
}

static bool
read_provision(struct provisioning *provisioning, int *fd, GError **error)
{
    DBusMessageIter iter, entries, value;
    const char *key;
    dbus_message_iter_init(object_message(provisioning->request), &iter);
    dbus_message_iter_get_basic(&iter, &provisioning->record.slot);
    dbus_message_iter_next(&iter);
    dbus_message_iter_recurse(&iter, &entries);
    while (api_next_entry(&entries, &key, &value))
        if (!read_setting(provisioning, key, &value, error))
            return false;
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, fd);
    dbus_message_iter_next(&iter);
    return api_check_no_options(&iter, error) && check_supported(provisioning, error) &&
           identity_check(provisioning->identity, error);
}

static void
provision(struct object_request *request, void *user)
{
    struct provisioning *provisioning = g_new0(struct provisioning, 1);
    g_autoptr(GError) error = NULL;
    int fd = -1;
    *provisioning = (struct provisioning){ .api = user, .request = request, .identity = identity_new(),
                                           .record = { .event = "provision", .decision = "allowed" } };
    if (read_provision(provisioning, &fd, &error)) {
        key_pipe_read(fd, KEY_PIPE_LIMIT_MS, got_key, provisioning);
        return;
    }
    if (fd >= 0)
        close(fd);
    finish(provisioning, error);
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
    { "Provision", "ua{sv}ha{sv}", "o", "slot settings key options object", API_ADMIN, provision },
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
