/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/intent.h"
#include "common/error.h"

#define GROUP "intent"
#define SRK_FILE "srk.intent"

static const char *const operation_names[] = { [INTENT_PROVISION] = "provision", [INTENT_CLEAR] = "clear" };

void
intent_clear(struct intent *intent)
{
    identity_free(intent->identity);
    g_free(intent->key_name);
    g_clear_pointer(&intent->blob, g_bytes_unref);
    *intent = (struct intent){ 0 };
}

static void
file_name(char name[32], uint32_t slot)
{
    g_snprintf(name, 32, "slot-%u.intent", slot);
}

bool
intent_write(struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    char name[32];
    file_name(name, slot);
    g_key_file_set_string(file, GROUP, "Operation", operation_names[intent->operation]);
    g_key_file_set_uint64(file, GROUP, "Generation", intent->generation);
    g_key_file_set_string(file, GROUP, "TpmName", intent->key_name);
    store_put_identity(file, GROUP, intent->identity);
    if (intent->blob) {
        gsize size;
        const guchar *bytes = g_bytes_get_data(intent->blob, &size);
        g_autofree char *text = g_base64_encode(bytes, size);
        g_key_file_set_string(file, GROUP, "Blob", text);
    }
    return store_write(store, name, file, error);
}

static bool
parse(GKeyFile *file, struct intent *intent, GError **error)
{
    g_autofree char *operation = store_get_text(file, GROUP, "Operation", error);
    if (!operation)
        return false;
    for (int i = INTENT_PROVISION; i <= INTENT_CLEAR; i++)
        if (g_strcmp0(operation, operation_names[i]) == 0)
            intent->operation = (enum intent_operation)i;
    if (!intent->operation) {
        error_set(error, ERROR_DAMAGED, "an intent names an operation that this version does not know: %s", operation);
        return false;
    }
    g_autofree char *blob = g_key_file_get_string(file, GROUP, "Blob", NULL);
    if (blob) {
        gsize size;
        guchar *bytes = g_base64_decode(blob, &size);
        intent->blob = g_bytes_new_take(bytes, size);
    }
    return store_get_number(file, GROUP, "Generation", &intent->generation, error) &&
           (intent->key_name = store_get_text(file, GROUP, "TpmName", error)) &&
           (intent->identity = store_get_identity(file, GROUP, error));
}

bool
intent_read(struct store *store, uint32_t slot, struct intent *intent, bool *absent, GError **error)
{
    char name[32];
    file_name(name, slot);
    *intent = (struct intent){ 0 };
    g_autoptr(GKeyFile) file = store_read(store, name, absent, error);
    if (!file)
        return *absent;
    if (parse(file, intent, error))
        return true;
    intent_clear(intent);
    return false;
}

bool
intent_remove(struct store *store, uint32_t slot, GError **error)
{
    char name[32];
    file_name(name, slot);
    return store_remove(store, name, error);
}

bool
intent_write_srk(struct store *store, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_key_file_set_string(file, GROUP, "Operation", "make-srk");
    return store_write(store, SRK_FILE, file, error);
}

bool
intent_find_srk(struct store *store, bool *absent, GError **error)
{
    g_autoptr(GKeyFile) file = store_read(store, SRK_FILE, absent, error);
    return file || *absent;
}

bool
intent_remove_srk(struct store *store, GError **error)
{
    return store_remove(store, SRK_FILE, error);
}
