/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-change.h"
#include "daemon/api-settings.h"
#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/key-pipe.h"
#include "daemon/slot.h"
#include "dbus/names.h"
#include "common/error.h"

#include <unistd.h>

/* A change under way. */
struct change {
    struct api *api;
    struct object_request *request;
    void (*reply)(struct change *change); /* of one that went well */
    struct api_settings settings;
    bool file;           /* provision */
    uint64_t generation; /* rotate: of the slot as it was when the call came */
    struct audit_record record;
};

static struct change *
begin(struct object_request *request, struct api *api, void (*reply)(struct change *))
{
    struct change *change = g_new0(struct change, 1);
    change->api = api;
    change->request = request;
    change->reply = reply;
    change->record = (struct audit_record){ .event = api_event_of(request), .decision = "allowed",
                                            .slot = AUDIT_NO_SLOT };
    return change;
}

static void
finish(const GError *error, void *user)
{
    struct change *change = user;
    if (error) {
        api_refuse(change->api, change->request, &change->record, error);
    } else {
        api_describe_caller(change->request, &change->record);
        audit_write(&change->record);
        change->reply(change);
    }
    api_settings_clear(&change->settings);
    g_free(change);
}

static void
reply_path(struct change *change)
{
    char path[NAMES_SLOT_PATH_MAX];
    const char *object = path;
    api_slot_path(change->record.slot, path);
    object_reply(change->request, DBUS_TYPE_OBJECT_PATH, &object, DBUS_TYPE_INVALID);
}

static void
reply_nothing(struct change *change)
{
    object_reply(change->request, DBUS_TYPE_INVALID);
}

/* The slot as it is now; whoever changed it again meanwhile is told by its own signal. */
static void
reply_rotated(struct change *change)
{
    const struct slot *slot = slots_get(change->api->slots, change->record.slot);
    dbus_uint64_t generation = slot ? slot->generation : change->generation;
    dbus_bool_t can_undo = slot && slot->can_undo;
    DBusMessage *reply = object_reply_new(change->request);
    DBusMessageIter iter, entries;
    dbus_message_iter_init_append(reply, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &entries);
    api_append_entry(&entries, "Generation", DBUS_TYPE_UINT64, &generation);
    api_append_entry(&entries, "CanUndo", DBUS_TYPE_BOOLEAN, &can_undo);
    dbus_message_iter_close_container(&iter, &entries);
    object_reply_message(change->request, reply);
}

/* The slot argument of Manager1's calls. */
static bool
read_slot(struct change *change, DBusMessageIter *iter, GError **error)
{
    dbus_uint32_t slot;
    dbus_message_iter_get_basic(iter, &slot);
    dbus_message_iter_next(iter);
    change->record.slot = slot;
    if (slot <= NAMES_SLOT_MAX)
        return true;
    error_set(error, ERROR_NO_SUCH_SLOT, "slot: %u is above %d", slot, NAMES_SLOT_MAX);
    return false;
}

/* ---- Provision ---- */

static void
got_new_key(struct secret *key, const GError *error, void *user)
{
    struct change *change = user;
    if (error)
        finish(error, change);
    else
        slots_provision(change->api->slots, change->record.slot, change->file,
                        g_steal_pointer(&change->settings.identity), key, finish, change);
}

static bool
check_room(struct api *api, uint32_t slot, GError **error)
{
    if (slots_get(api->slots, slot) || slots_in_use(api->slots) < SLOT_IN_USE_MAX)
        return true;
    error_set(error, ERROR_NO_SPACE, "%d slots are in use, which is all there can be; free one with: hubkeyctl clear N",
              SLOT_IN_USE_MAX);
    return false;
}

static bool
read_provision(struct change *change, int *fd, GError **error)
{
    DBusMessageIter iter;
    dbus_message_iter_init(object_message(change->request), &iter);
    bool slot_ok = read_slot(change, &iter, error);
    bool ok = slot_ok && api_settings_read(&change->settings, &iter, API_SETTINGS_PROVISION, error);
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, fd);
    dbus_message_iter_next(&iter);
    return ok && api_check_no_options(&iter, error) &&
           api_settings_check_new(&change->settings, change->record.slot, &change->file, error) &&
           check_room(change->api, change->record.slot, error);
}

void
api_change_provision(struct object_request *request, void *user)
{
    struct change *change = begin(request, user, reply_path);
    g_autoptr(GError) error = NULL;
    int fd = -1;
    if (read_provision(change, &fd, &error)) {
        key_pipe_read(fd, KEY_PIPE_LIMIT_MS, got_new_key, change);
        return;
    }
    if (fd >= 0)
        close(fd);
    finish(error, change);
}

/* ---- Adopt ---- */

/* What somebody put into the TPM must not make us speak for a host of their choice. */
static bool
check_host(const struct change *change, GError **error)
{
    const char *host = change->settings.identity->host;
    if (config_host_allowed(change->api->config, host))
        return true;
    error_set(error, ERROR_INVALID_ARGUMENT, "expected: keys for %s are not adopted; where that is right, add it to "
              "AllowedHosts= of [hubkeyd] in hubkeyd.conf and reload", host);
    return false;
}

static bool
read_adopt(struct change *change, GError **error)
{
    DBusMessageIter iter;
    dbus_message_iter_init(object_message(change->request), &iter);
    if (!read_slot(change, &iter, error) ||
        !api_settings_read(&change->settings, &iter, API_SETTINGS_ADOPT, error))
        return false;
    dbus_message_iter_next(&iter);
    return api_check_no_options(&iter, error) && api_settings_check_expected(&change->settings, error) &&
           check_host(change, error);
}

void
api_change_adopt(struct object_request *request, void *user)
{
    struct change *change = begin(request, user, reply_path);
    g_autoptr(GError) error = NULL;
    if (!read_adopt(change, &error)) {
        finish(error, change);
        return;
    }
    const struct slot_expected expected = { g_steal_pointer(&change->settings.identity),
                                            g_steal_pointer(&change->settings.tpm_name) };
    slots_adopt(change->api->slots, change->record.slot, expected, finish, change);
}

/* ---- Rotate and UndoRotate ---- */

static void
got_next_key(struct secret *key, const GError *error, void *user)
{
    struct change *change = user;
    if (error)
        finish(error, change);
    else
        slots_rotate(change->api->slots, change->record.slot, change->generation,
                     g_steal_pointer(&change->settings.identity), key, finish, change);
}

static const struct slot *
ready_slot(struct change *change, GError **error)
{
    if (!api_slot_of_path(object_path(change->request), &change->record.slot, error) ||
        !slots_check_ready(change->api->slots, change->record.slot, error))
        return NULL;
    const struct slot *slot = slots_get(change->api->slots, change->record.slot);
    change->generation = slot->generation;
    return slot;
}

static bool
read_rotate(struct change *change, int *fd, GError **error)
{
    DBusMessageIter iter;
    dbus_message_iter_init(object_message(change->request), &iter);
    dbus_message_iter_get_basic(&iter, fd);
    dbus_message_iter_next(&iter);
    if (!api_settings_read(&change->settings, &iter, API_SETTINGS_ROTATE, error))
        return false;
    const struct slot *slot = ready_slot(change, error);
    return slot && api_settings_check_next(&change->settings, slot->identity, slot->file, error);
}

void
api_change_rotate(struct object_request *request, void *user)
{
    struct change *change = begin(request, user, reply_rotated);
    g_autoptr(GError) error = NULL;
    int fd = -1;
    if (read_rotate(change, &fd, &error)) {
        key_pipe_read(fd, KEY_PIPE_LIMIT_MS, got_next_key, change);
        return;
    }
    if (fd >= 0)
        close(fd);
    finish(error, change);
}

void
api_change_undo(struct object_request *request, void *user)
{
    struct change *change = begin(request, user, reply_nothing);
    g_autoptr(GError) error = NULL;
    DBusMessageIter iter;
    dbus_message_iter_init(object_message(request), &iter);
    if (!api_check_no_options(&iter, &error) || !ready_slot(change, &error))
        finish(error, change);
    else
        slots_undo(change->api->slots, change->record.slot, change->generation, finish, change);
}

/* ---- Clear ---- */

static bool
check_clear(struct api *api, uint32_t number, GError **error)
{
    const struct slot *slot = slots_get(api->slots, number);
    if (!slot || slot->state == SLOT_FOUND)
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u holds no key of hubkeyd's; there is nothing to clear", number);
    else if (slot->state == SLOT_FOREIGN)
        error_set(error, ERROR_FOREIGN, "slot %u: %s; hubkeyd leaves it alone", number, slot->reason);
    else
        return true;
    return false;
}

void
api_change_clear(struct object_request *request, void *user)
{
    struct change *change = begin(request, user, reply_nothing);
    g_autoptr(GError) error = NULL;
    DBusMessageIter iter;
    dbus_message_iter_init(object_message(request), &iter);
    if (!api_slot_of_path(object_path(request), &change->record.slot, &error) ||
        !api_check_no_options(&iter, &error) || !check_clear(change->api, change->record.slot, &error))
        finish(error, change);
    else
        slots_clear(change->api->slots, change->record.slot, finish, change);
}
