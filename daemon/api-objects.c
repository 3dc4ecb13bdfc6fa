/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-objects.h"
#include "daemon/api-manager.h"
#include "daemon/api-slot.h"
#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/health.h"
#include "daemon/slot.h"
#include "dbus/caller.h"
#include "dbus/names.h"
#include "common/error.h"

#include <string.h>
#include <unistd.h>

/* Properties of a slot object: any local user may read them, an empty slot has none. */
static bool
exists(const char *path, void *user, GError **error)
{
    struct api *api = user;
    uint32_t slot;
    if (strcmp(path, NAMES_ROOT) == 0)
        return true;
    if (!api_slot_of_path(path, &slot, error))
        return false;
    if (slots_get(api->slots, slot))
        return true;
    error_set(error, ERROR_NOT_PROVISIONED, "slot %u is empty; put a key in with: hubkeyctl provision %u", slot, slot);
    return false;
}

static char **
children(const char *path, void *user)
{
    struct api *api = user;
    GPtrArray *names = g_ptr_array_new();
    if (strcmp(path, NAMES_SLOTS) == 0)
        for (const struct slot *slot = slots_next(api->slots, 0); slot; slot = slots_next(api->slots, slot->number + 1))
            g_ptr_array_add(names, g_strdup_printf("%u", slot->number));
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static const struct object_hooks hooks = { .permit = api_permit, .exists = exists, .children = children };

/* ---- objects ---- */

static void
free_face(gpointer data)
{
    struct api_face *face = data;
    object_remove(face->slot_objects);
    object_remove(face->manager);
    caller_unref(face->caller);
    g_free(face);
}

bool
api_objects_add(struct api *api, DBusConnection *connection, struct caller *caller, GError **error)
{
    static const struct object_interface *const manager[] = { &api_manager_interface, NULL };
    static const struct object_interface *const slot[] = { &api_slot_interface, NULL };
    struct api_face *face = g_new0(struct api_face, 1);
    face->caller = caller ? caller_ref(caller) : NULL;
    face->manager = object_add(connection, NAMES_ROOT, false, manager, &hooks, api, error);
    if (face->manager)
        face->slot_objects = object_add(connection, NAMES_SLOTS, true, slot, &hooks, api, error);
    if (!face->slot_objects) {
        free_face(face);
        return false;
    }
    if (!api->faces)
        api->faces = g_hash_table_new_full(NULL, NULL, NULL, free_face);
    g_hash_table_insert(api->faces, connection, face);
    return true;
}

void
api_objects_remove(struct api *api, DBusConnection *connection)
{
    if (!api->faces)
        return;
    g_hash_table_remove(api->faces, connection);
    if (g_hash_table_size(api->faces) == 0)
        g_clear_pointer(&api->faces, g_hash_table_destroy);
}

bool
api_objects_busy(const struct api *api, DBusConnection *connection)
{
    const struct api_face *face = api->faces ? g_hash_table_lookup(api->faces, connection) : NULL;
    return face && !(object_is_idle(face->manager) && object_is_idle(face->slot_objects));
}

/* ---- signals ---- */

static const struct api_face *
next_face(struct api *api, GHashTableIter *iter)
{
    void *face;
    return api->faces && g_hash_table_iter_next(iter, NULL, &face) ? face : NULL;
}

static const struct api_face *
first_face(struct api *api, GHashTableIter *iter)
{
    if (api->faces)
        g_hash_table_iter_init(iter, api->faces);
    return next_face(api, iter);
}

#define EACH_FACE(face, api, iter) \
    for (const struct api_face *face = first_face(api, iter); face; face = next_face(api, iter))

void
api_objects_slot_changed(uint32_t slot, void *user)
{
    static const char *const names[] = { "State", "StateReason", "Generation", "CanUndo", "HostName", "DeviceId",
                                         "ModuleId", "GatewayHostName", "Audience", "KeyName", "Storage", "TpmName",
                                         "HardwareDeviceId", NULL };
    struct api *api = user;
    GHashTableIter iter;
    char path[NAMES_SLOT_PATH_MAX];
    api_slot_path(slot, path);
    EACH_FACE (face, api, &iter)
        object_changed(face->slot_objects, path, NAMES_SLOT, names);
}

static void
tell_lifetimes(struct api *api, uint32_t slot)
{
    static const char *const names[] = { "DefaultTtl", "MaxTtl", NULL };
    GHashTableIter iter;
    char path[NAMES_SLOT_PATH_MAX];
    api_slot_path(slot, path);
    EACH_FACE (face, api, &iter)
        object_changed(face->slot_objects, path, NAMES_SLOT, names);
}

void
api_objects_config_changed(struct api *api, const struct config *old)
{
    for (const struct slot *slot = slots_next(api->slots, 0); slot; slot = slots_next(api->slots, slot->number + 1)) {
        const struct access_rules *was = config_rules(old, slot->number), *is = config_rules(api->config, slot->number);
        if (was->default_ttl != is->default_ttl || was->max_ttl != is->max_ttl)
            tell_lifetimes(api, slot->number);
    }
}

void
api_objects_slot_appeared(uint32_t slot, bool there, void *user)
{
    struct api *api = user;
    GHashTableIter iter;
    dbus_uint32_t number = slot;
    EACH_FACE (face, api, &iter)
        object_signal(face->manager, NAMES_ROOT, NAMES_MANAGER, there ? "SlotAdded" : "SlotRemoved", DBUS_TYPE_UINT32,
                      &number, DBUS_TYPE_INVALID);
    if (there)
        api_objects_slot_changed(slot, api);
}

void
api_objects_slot_invalidated(uint32_t slot, uint64_t generation, void *user)
{
    struct api *api = user;
    GHashTableIter iter;
    char path[NAMES_SLOT_PATH_MAX];
    dbus_uint64_t value = generation;
    api_slot_path(slot, path);
    EACH_FACE (face, api, &iter)
        object_signal(face->slot_objects, path, NAMES_SLOT, "TokensInvalidated", DBUS_TYPE_UINT64, &value,
                      DBUS_TYPE_INVALID);
}

/* The generation stays: it is the same key. */
void
api_objects_clock_stepped(uint32_t number, void *user)
{
    struct api *api = user;
    const struct slot *slot = slots_get(api->slots, number);
    if (slot)
        api_objects_slot_invalidated(number, slot->generation, api);
}

void
api_objects_tpm_changed(void *user)
{
    struct api *api = user;
    health_tpm_changed(api->health);
    api_objects_health_changed(api);
}

void
api_objects_health_changed(void *user)
{
    static const char *const names[] = { "TpmState", NULL };
    struct api *api = user;
    GHashTableIter iter;
    EACH_FACE (face, api, &iter)
        object_changed(face->manager, NAMES_ROOT, NAMES_MANAGER, names);
}

const struct identity *
api_objects_wanted(uint32_t slot, void *user)
{
    const struct api *api = user;
    return config_adoption(api->config, slot);
}

/* Nobody called: the configuration decided. */
void
api_objects_adopted(uint32_t slot, const GError *error, void *user)
{
    const struct audit_record record = { .event = api_event("Adopt"), .decision = error ? "failed" : "allowed",
                                         .slot = slot, .rule = "configuration", .uid = getuid(),
                                         .error = error ? error_name(error->code) : NULL };
    audit_write(&record);
}
