/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What stands in the files: keys and whom they speak for, the records of slots, the SRK.
 */
#include <config.h>

#include "daemon/store.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

#define RECORD_GROUP "slot"
#define PREVIOUS_GROUP "previous"

char *
store_get_text(GKeyFile *file, const char *group, const char *key, GError **error)
{
    g_autofree char *value = g_key_file_get_string(file, group, key, NULL);
    if (!value) {
        error_set(error, ERROR_DAMAGED, "a stored record has no %s", key);
        return NULL;
    }
    for (const char *c = value; *c; c++)
        if (g_ascii_iscntrl(*c)) { /* errors repeat some of these texts, on one line */
            error_set(error, ERROR_DAMAGED, "a stored record has a bad %s", key);
            return NULL;
        }
    return g_steal_pointer(&value);
}

bool
store_get_generation(GKeyFile *file, const char *group, const char *key, uint64_t *value, GError **error)
{
    g_autofree char *text = store_get_text(file, group, key, error);
    guint64 parsed;
    if (!text)
        return false;
    if (!g_ascii_string_to_unsigned(text, 10, 0, STORE_GENERATION_MAX, &parsed, NULL)) {
        error_set(error, ERROR_DAMAGED, "a stored record has a bad %s", key);
        return false;
    }
    *value = parsed;
    return true;
}

static void
put(GKeyFile *file, const char *group, const char *key, const char *value)
{
    if (value)
        g_key_file_set_string(file, group, key, value);
}

void
store_put_key(GKeyFile *file, const char *group, const struct store_key *key)
{
    const struct identity *identity = key->identity;
    if (!key->name)
        return;
    put(file, group, "HostName", identity->host);
    put(file, group, "DeviceId", identity->device);
    put(file, group, "ModuleId", identity->module);
    put(file, group, "GatewayHostName", identity->gateway);
    put(file, group, "Audience", identity->audience);
    put(file, group, "KeyName", identity->key_name);
    put(file, group, "NvText", key->nv_text);
    put(file, group, "TpmName", key->name);
    if (key->blob) {
        gsize size;
        const guchar *bytes = g_bytes_get_data(key->blob, &size);
        g_autofree char *text = g_base64_encode(bytes, size);
        put(file, group, "Blob", text);
    }
}

/* NULL where there is none. Not without a look: about a key that is missing GLib writes a text and translates it,
 * though nobody wants the error, and that would be five times in each of ten thousand records. */
static char *
get(GKeyFile *file, const char *group, const char *key)
{
    return g_key_file_has_key(file, group, key, NULL) ? g_key_file_get_string(file, group, key, NULL) : NULL;
}

static struct identity *
get_identity(GKeyFile *file, const char *group, GError **error)
{
    g_autoptr(identity_auto) identity = identity_new();
    *identity = (struct identity){
        .host = get(file, group, "HostName"),
        .device = get(file, group, "DeviceId"),
        .module = get(file, group, "ModuleId"),
        .gateway = get(file, group, "GatewayHostName"),
        .audience = get(file, group, "Audience"),
        .key_name = get(file, group, "KeyName"),
    };
    g_autoptr(GError) why = NULL;
    if (identity_check(identity, &why))
        return g_steal_pointer(&identity);
    error_set(error, ERROR_DAMAGED, "a stored record has a bad identity: %s", why->message);
    return NULL;
}

static bool
get_blob(GKeyFile *file, const char *group, GBytes **blob, GError **error)
{
    g_autofree char *text = get(file, group, "Blob");
    size_t len = text ? strlen(text) : 0, size;
    if (!text)
        return true;
    g_autofree uint8_t *bytes = g_malloc(len / 4 * 3 + 3);
    if (!text_base64_decode(text, len, bytes, &size, NULL)) {
        error_set(error, ERROR_DAMAGED, "a stored record has a bad Blob");
        return false;
    }
    *blob = g_bytes_new_take(g_steal_pointer(&bytes), size);
    return true;
}

bool
store_get_key(GKeyFile *file, const char *group, struct store_key *key, GError **error)
{
    *key = (struct store_key){ 0 };
    if (!g_key_file_has_key(file, group, "TpmName", NULL))
        return true;
    key->name = get(file, group, "TpmName");
    key->nv_text = get(file, group, "NvText");
    if ((key->identity = get_identity(file, group, error)) && get_blob(file, group, &key->blob, error))
        return true;
    store_key_clear(key);
    return false;
}

void
store_key_clear(struct store_key *key)
{
    identity_free(key->identity);
    g_free(key->name);
    g_free(key->nv_text);
    g_clear_pointer(&key->blob, g_bytes_unref);
    *key = (struct store_key){ 0 };
}

void
store_record_clear(struct store_record *record)
{
    store_key_clear(&record->key);
    store_key_clear(&record->previous);
    g_free(record->srk_name);
    *record = (struct store_record){ 0 };
}

static void
record_name(char name[16], uint32_t slot)
{
    g_snprintf(name, 16, "slot-%u", slot);
}

static bool
parse_record(GKeyFile *file, struct store_record *record, GError **error)
{
    if (!store_get_generation(file, RECORD_GROUP, "Generation", &record->generation, error) ||
        !store_get_key(file, RECORD_GROUP, &record->key, error) ||
        !store_get_key(file, PREVIOUS_GROUP, &record->previous, error))
        return false;
    record->in_use = record->key.name || g_key_file_has_key(file, RECORD_GROUP, "Storage", NULL);
    if (!record->in_use)
        return true;
    if (!record->key.name) {
        error_set(error, ERROR_DAMAGED, "a stored record has no TpmName");
        return false;
    }
    g_autofree char *storage = store_get_text(file, RECORD_GROUP, "Storage", error);
    record->file = g_strcmp0(storage, "file") == 0;
    return storage && (record->srk_name = store_get_text(file, RECORD_GROUP, "SrkName", error));
}

bool
store_load_record(struct store *store, uint32_t slot, struct store_record *record, GError **error)
{
    char name[16];
    bool absent;
    record_name(name, slot);
    *record = (struct store_record){ 0 };
    g_autoptr(GKeyFile) file = store_read(store, name, &absent, error);
    if (!file)
        return absent;
    if (parse_record(file, record, error))
        return true;
    store_record_clear(record);
    return false;
}

bool
store_save_record(struct store *store, uint32_t slot, const struct store_record *record, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    char name[16];
    record_name(name, slot);
    g_key_file_set_uint64(file, RECORD_GROUP, "Generation", record->generation);
    if (record->in_use) {
        g_key_file_set_string(file, RECORD_GROUP, "Storage", record->file ? "file" : "tpm");
        g_key_file_set_string(file, RECORD_GROUP, "SrkName", record->srk_name);
        store_put_key(file, RECORD_GROUP, &record->key);
        store_put_key(file, PREVIOUS_GROUP, &record->previous);
    }
    return store_write(store, name, file, error);
}

char *
store_load_srk(struct store *store, GError **error)
{
    bool absent;
    g_autoptr(GKeyFile) file = store_read(store, "srk", &absent, error);
    return file ? store_get_text(file, "srk", "TpmName", error) : NULL;
}

bool
store_save_srk(struct store *store, const char *name, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_key_file_set_string(file, "srk", "TpmName", name);
    return store_write(store, "srk", file, error);
}
