/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-tpm.h"
#include "daemon/api.h"
#include "daemon/health.h"
#include "daemon/tpm-info.h"
#include "dbus/caller.h"

static void
reply(struct object_request *request, const struct tpm_info *info)
{
    const char *manufacturer = info->manufacturer, *firmware = info->firmware;
    const dbus_bool_t lockout = info->lockout, owner_auth_set = info->owner_auth_set;
    const struct {
        const char *name;
        int type;
        const void *value;
    } rows[] = {
        { "Manufacturer", DBUS_TYPE_STRING, &manufacturer },
        { "Firmware", DBUS_TYPE_STRING, &firmware },
        { "Lockout", DBUS_TYPE_BOOLEAN, &lockout },
        { "OwnerAuthSet", DBUS_TYPE_BOOLEAN, &owner_auth_set },
        { "PersistentUsed", DBUS_TYPE_UINT32, &info->persistent_used },
        { "PersistentFree", DBUS_TYPE_UINT32, &info->persistent_free },
        { "NvUsed", DBUS_TYPE_UINT32, &info->nv_used },
        { "NvFree", DBUS_TYPE_UINT32, &info->nv_free },
    };
    DBusMessage *message = object_reply_new(request);
    DBusMessageIter iter, entries;
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &entries);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        api_append_entry(&entries, rows[i].name, rows[i].type, rows[i].value);
    dbus_message_iter_close_container(&iter, &entries);
    object_reply_message(request, message);
}

static void
told(const struct tpm_info *info, const GError *error, void *user)
{
    if (error)
        object_fail(user, error);
    else
        reply(user, info);
}

void
api_tpm_get_info(struct object_request *request, void *user)
{
    struct api *api = user;
    health_ask(api->health, api_caller(request)->uid, told, request);
}
