/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-settings.h"
#include "daemon/api.h"
#include "daemon/slot.h"
#include "common/error.h"

#include <string.h>

#define TPM_NAME_DIGITS 68 /* hex digits of a Name: two bytes of algorithm, 32 of SHA-256 */

void
api_settings_clear(struct api_settings *settings)
{
    identity_free(settings->identity);
    g_free(settings->storage);
    g_free(settings->tpm_name);
    *settings = (struct api_settings){ 0 };
}

/* ---- reading ---- */

static const char *
known_keys(enum api_settings_of call)
{
    static const char *const texts[] = {
        [API_SETTINGS_PROVISION] = "HostName, DeviceId, ModuleId, GatewayHostName, Storage, Audience and KeyName",
        [API_SETTINGS_ADOPT] = "HostName, DeviceId and TpmName",
        [API_SETTINGS_ROTATE] = "HostName, DeviceId, ModuleId, GatewayHostName, Audience and KeyName",
    };
    return texts[call];
}

static const char *
argument_name(enum api_settings_of call)
{
    static const char *const texts[] = {
        [API_SETTINGS_PROVISION] = "settings", [API_SETTINGS_ADOPT] = "expected", [API_SETTINGS_ROTATE] = "options",
    };
    return texts[call];
}

static char **
place_of(struct api_settings *settings, const char *key, enum api_settings_of call)
{
    struct identity *identity = settings->identity;
    const bool provision = call == API_SETTINGS_PROVISION, adopt = call == API_SETTINGS_ADOPT;
    const struct {
        const char *name;
        char **text;
        bool known;
    } settable[] = {
        { "HostName", &identity->host, true },      { "DeviceId", &identity->device, true },
        { "ModuleId", &identity->module, !adopt },  { "GatewayHostName", &identity->gateway, !adopt },
        { "Audience", &identity->audience, !adopt }, { "KeyName", &identity->key_name, !adopt },
        { "Storage", &settings->storage, provision }, { "TpmName", &settings->tpm_name, adopt },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(settable); i++)
        if (settable[i].known && strcmp(settable[i].name, key) == 0)
            return settable[i].text;
    return NULL;
}

static bool
read_entry(struct api_settings *settings, const char *key, DBusMessageIter *value, enum api_settings_of call,
           GError **error)
{
    char **text = place_of(settings, key, call);
    const char *argument = argument_name(call), *given;
    if (!text)
        error_set(error, ERROR_INVALID_ARGUMENT, "%s: \"%.64s\" is not known; %s are", argument, key, known_keys(call));
    else if (dbus_message_iter_get_arg_type(value) != DBUS_TYPE_STRING)
        error_set(error, ERROR_INVALID_ARGUMENT, "%s: %s must be a string (s)", argument, key);
    else if (*text)
        error_set(error, ERROR_INVALID_ARGUMENT, "%s: %s stands twice", argument, key);
    else {
        dbus_message_iter_get_basic(value, &given);
        *text = g_strdup(given);
        return true;
    }
    return false;
}

bool
api_settings_read(struct api_settings *settings, DBusMessageIter *iter, enum api_settings_of call, GError **error)
{
    DBusMessageIter entries, value;
    const char *key;
    *settings = (struct api_settings){ .identity = identity_new() };
    dbus_message_iter_recurse(iter, &entries);
    while (api_next_entry(&entries, &key, &value))
        if (!read_entry(settings, key, &value, call, error))
            return false;
    return true;
}

/* ---- checking ---- */

bool
api_settings_check_new(struct api_settings *settings, uint32_t slot, bool *file, GError **error)
{
    const char *storage = settings->storage;
    if (!identity_check(settings->identity, error))
        return false;
    const char *unfit = settings->identity->audience ? "the key of an audience"
                        : settings->identity->module ? "the key of a module"
                        : slot >= SLOT_TPM_COUNT     ? "a slot above 9"
                                                     : NULL;
    *file = storage ? strcmp(storage, "file") == 0 : unfit != NULL;
    if (storage && !*file && strcmp(storage, "tpm") != 0)
        error_set(error, ERROR_INVALID_ARGUMENT, "settings: Storage is \"tpm\" or \"file\"");
    else if (!*file && unfit)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "settings: %s is kept in a file, wrapped by the TPM: leave Storage out, or let it be \"file\"",
                  unfit);
    else
        return true;
    return false;
}

bool
api_settings_check_expected(struct api_settings *settings, GError **error)
{
    const char *name = settings->tpm_name;
    if (!settings->identity->host || !settings->identity->device || !name)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "expected: HostName, DeviceId and TpmName must all be given, as the slot shows them");
    else if (strlen(name) != TPM_NAME_DIGITS || strspn(name, "0123456789abcdef") != TPM_NAME_DIGITS)
        error_set(error, ERROR_INVALID_ARGUMENT, "expected: TpmName is %d lower-case hex digits", TPM_NAME_DIGITS);
    else
        return identity_check(settings->identity, error);
    return false;
}

static void
keep(char **part, const char *now)
{
    if (!*part)
        *part = g_strdup(now);
}

bool
api_settings_check_next(struct api_settings *settings, const struct identity *now, bool file, GError **error)
{
    struct identity *next = settings->identity;
    if ((next->audience || next->key_name) && now->host)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "options: a device's slot cannot become an audience's; provision another");
    else if ((next->host || next->device) && now->audience)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "options: an audience's slot cannot become a device's; provision another");
    else if (next->module && !file)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "options: the key of a module is kept in a file, this slot's is in the TPM; provision another slot");
    else {
        if (!next->host && !next->device) { /* a module and a gateway are those of one device at one hub */
            keep(&next->module, now->module);
            keep(&next->gateway, now->gateway);
        }
        keep(&next->host, now->host);
        keep(&next->device, now->device);
        keep(&next->audience, now->audience);
        keep(&next->key_name, now->key_name);
        return identity_check(next, error);
    }
    return false;
}
