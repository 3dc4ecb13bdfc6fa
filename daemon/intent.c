/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/intent.h"
#include "common/error.h"

#include <string.h>
#define GROUP "intent"
#define MADE_GROUP "made"
#define OLD_GROUP "old"
#define SRK_FILE "srk.intent"

static const struct {
    const char *word; /* in the file */
    const char *name;
} operations[] = {
    [INTENT_PROVISION] = { "provision", "provisioning" },
    [INTENT_CLEAR] = { "clear", "clearing" },
    [INTENT_ROTATE] = { "rotate", "rotating" },
    [INTENT_UNDO] = { "undo", "undoing a rotation" },
};

const char *
intent_name(enum intent_operation operation)
{
    return operations[operation].name;
}

void
intent_clear(struct intent *intent)
{
    store_key_clear(&intent->made);
    store_key_clear(&intent->old);
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
    g_key_file_set_string(file, GROUP, "Operation", operations[intent->operation].word);
    g_key_file_set_string(file, GROUP, "Storage", intent->file ? "file" : "tpm");
    g_key_file_set_uint64(file, GROUP, "Generation", intent->generation);
    store_put_key(file, MADE_GROUP, &intent->made);
    store_put_key(file, OLD_GROUP, &intent->old);
    return store_write(store, name, file, error);
}

static bool
parse(GKeyFile *file, struct intent *intent, GError **error)
{
    g_autofree char *operation = store_get_text(file, GROUP, "Operation", error);
    g_autofree char *storage = operation ? store_get_text(file, GROUP, "Storage", error) : NULL;
    if (!storage)
        return false;
    for (int i = INTENT_PROVISION; i <= INTENT_UNDO; i++)
        if (strcmp(operation, operations[i].word) == 0)
            intent->operation = (enum intent_operation)i;
    intent->file = strcmp(storage, "file") == 0;
    if (!store_get_generation(file, GROUP, "Generation", &intent->generation, error) ||
        !store_get_key(file, MADE_GROUP, &intent->made, error) || !store_get_key(file, OLD_GROUP, &intent->old, error))
        return false;
    /* A slot in a file is cleared without an intent, and what is open of it is always about a key that was made. */
    bool needs_made = intent->operation != INTENT_CLEAR || intent->file;
    bool needs_old = intent->operation != INTENT_PROVISION;
    if (intent->operation && (!needs_made || intent->made.name) && (!needs_old || intent->old.name))
        return true;
    error_set(error, ERROR_DAMAGED, "an intent says nothing that this version can finish: %s", operation);
    return false;
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
intent_write_srk(struct store *store, const char *scene, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_key_file_set_string(file, GROUP, "Operation", "make-srk");
    g_key_file_set_string(file, GROUP, "Before", scene);
    return store_write(store, SRK_FILE, file, error);
}

bool
intent_read_srk(struct store *store, char **scene, bool *absent, GError **error)
{
    *scene = NULL;
    g_autoptr(GKeyFile) file = store_read(store, SRK_FILE, absent, error);
    return *absent || (file && (*scene = store_get_text(file, GROUP, "Before", error)));
}

bool
intent_set_srk_aside(struct store *store, GError **error)
{
    return store_set_aside(store, SRK_FILE, error);
}

bool
intent_remove_srk(struct store *store, GError **error)
{
    return store_remove(store, SRK_FILE, error);
}
