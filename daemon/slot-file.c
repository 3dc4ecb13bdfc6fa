/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-file.h"
#include "daemon/slot-key.h"
#include "daemon/slot-settle.h"
#include "common/error.h"

#include <string.h>

#define POLICY_TAG "hubkey file slot, version 1"

struct slot_file {
    struct tpm *tpm;
    struct store *store;
    uint32_t key; /* loaded, or TPM_KEY_NONE */
    uint32_t slot;
    uint32_t epoch;
    uint64_t generation;
    uint32_t swept; /* the epoch in which leftovers were looked for; 0: in none */
    GHashTable *refused;  /* slots whose key the TPM did not load, although their record looks whole */
    bool srk_known;
    char *srk_name;
};

struct slot_file *
slot_file_new(struct tpm *tpm, struct store *store)
{
    struct slot_file *storage = g_new0(struct slot_file, 1);
    storage->tpm = tpm;
    storage->store = store;
    storage->key = TPM_KEY_NONE;
    storage->refused = g_hash_table_new(NULL, NULL);
    return storage;
}

void
slot_file_free(struct slot_file *storage)
{
    g_hash_table_destroy(storage->refused);
    g_free(storage->srk_name);
    g_free(storage);
}

void
slot_file_know_srk(struct slot_file *storage, const char *srk_name)
{
    g_free(storage->srk_name);
    storage->srk_name = g_strdup(srk_name);
    storage->srk_known = true;
}

/* ---- the policy ---- */

/* Each part with its length in front, so that no two identities read the same. An absent part is not an empty one. */
static void
add_part(GChecksum *digest, const char *text)
{
    size_t len = text ? strlen(text) : UINT32_MAX;
    const uint8_t prefix[4] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
    g_checksum_update(digest, prefix, sizeof prefix);
    if (text)
        g_checksum_update(digest, (const guchar *)text, (gssize)len);
}

static void
compute_policy(uint32_t slot, const struct identity *identity, uint8_t policy[TPM_POLICY_BYTES])
{
    char number[16];
    size_t policy_len = TPM_POLICY_BYTES;
    g_autoptr(GChecksum) digest = g_checksum_new(G_CHECKSUM_SHA256); /* libcrypto would be set up for nothing else */
    g_snprintf(number, sizeof number, "%u", slot);
    add_part(digest, POLICY_TAG);
    add_part(digest, number);
    add_part(digest, identity->host);
    add_part(digest, identity->device);
    add_part(digest, identity->module);
    add_part(digest, identity->audience);
    add_part(digest, identity->key_name);
    g_checksum_get_digest(digest, policy, &policy_len);
}

static bool
belongs(uint32_t slot, const struct store_key *key)
{
    uint8_t policy[TPM_POLICY_BYTES];
    compute_policy(slot, key->identity, policy);
    return key->blob && tpm_key_has_policy(key->blob, policy);
}

/* What is wrong with the record as far as it can be told without loading the key; NULL where nothing is. */
static const char *
find_fault(const struct slot_file *storage, uint32_t slot, const struct store_record *record)
{
    if (!belongs(slot, &record->key))
        return "its record names a slot or an identity that its key was not made for";
    if (storage->srk_known && g_strcmp0(storage->srk_name, record->srk_name) != 0)
        return "its key was made in another TPM, or this one was cleared since; a copied state directory is of no use";
    return NULL;
}

static char *
describe(uint32_t slot, const char *fault)
{
    return g_strdup_printf("%s; hubkeyctl clear %u forgets it", fault, slot);
}

void
slot_file_survey(struct slot_file *storage, uint32_t slot, const struct store_record *record,
                 struct slot_finding *finding)
{
    g_autoptr(GError) why = NULL;
    const char *fault = find_fault(storage, slot, record);
    if (!fault && g_hash_table_contains(storage->refused, GUINT_TO_POINTER(slot)) &&
        !slot_file_hold(storage, slot, record, &why) && g_error_matches(why, ERROR_DOMAIN, ERROR_DAMAGED))
        fault = "the TPM does not load its key: the record was altered";
    finding->state = fault ? SLOT_DAMAGED : SLOT_READY;
    if (fault)
        finding->reason = describe(slot, fault);
}

/* ---- signing ---- */

void
slot_file_let_go(struct slot_file *storage)
{
    if (storage->key != TPM_KEY_NONE && storage->epoch == tpm_epoch(storage->tpm) &&
        !tpm_key_flush(storage->tpm, &storage->key, NULL))
        storage->swept = 0; /* before the next one is loaded it is looked for */
    storage->key = TPM_KEY_NONE;
}

bool
slot_file_holds(const struct slot_file *storage, uint32_t slot, uint64_t generation)
{
    return storage->key != TPM_KEY_NONE && storage->slot == slot && storage->generation == generation &&
           storage->epoch == tpm_epoch(storage->tpm) && tpm_is_open(storage->tpm);
}

/* ---- what was left loaded ---- */

struct sweep {
    struct slot_file *storage;
    GArray *names;
};

static bool
flush_if_listed(const struct sweep *sweep, const char *hex, GError **error)
{
    struct tpm_name name;
    for (guint i = 0; hex && slot_key_parse_name(hex, &name, NULL) && i < sweep->names->len; i++)
        if (memcmp(&name, &g_array_index(sweep->names, struct tpm_name, i), sizeof name) == 0)
            return tpm_key_flush_leftovers(sweep->storage->tpm, &name, error);
    return true;
}

/* A record that cannot be read names no key. */
static bool
sweep_one(uint32_t slot, void *user, GError **error)
{
    const struct sweep *sweep = user;
    struct store_record record;
    if (!store_load_record(sweep->storage->store, slot, &record, NULL))
        return true;
    bool ok = flush_if_listed(sweep, record.key.name, error) && flush_if_listed(sweep, record.previous.name, error);
    store_record_clear(&record);
    return ok;
}

/* The records are read only where a key is loaded that may be one of theirs. */
bool
slot_file_sweep(struct slot_file *storage, GError **error)
{
    if (storage->swept == tpm_epoch(storage->tpm))
        return true;
    slot_file_let_go(storage);
    g_autoptr(GArray) names = tpm_key_list_transient(storage->tpm, error);
    if (!names)
        return false;
    if (names->len > 0 && !store_each_slot(storage->store, sweep_one, &(struct sweep){ storage, names }, error))
        return false;
    storage->swept = tpm_epoch(storage->tpm);
    return true;
}

/* ---- loading ---- */

static bool
refuse(uint32_t slot, const char *fault, GError **error)
{
    g_autofree char *text = describe(slot, fault);
    error_set(error, ERROR_DAMAGED, "slot %u is damaged: %s", slot, text);
    return false;
}

/* A TPM whose SRK was exchanged since the last look says of every key that its integrity is broken. */
static void
look_at_srk(struct slot_file *storage)
{
    g_autofree char *srk_name = NULL;
    if (tpm_is_open(storage->tpm) && slot_key_find_srk(storage->tpm, &srk_name, NULL))
        slot_file_know_srk(storage, srk_name);
}

bool
slot_file_hold(struct slot_file *storage, uint32_t slot, const struct store_record *record, GError **error)
{
    g_autoptr(GError) why = NULL;
    slot_file_let_go(storage);
    if (!tpm_open(storage->tpm, error) || !slot_file_sweep(storage, error))
        return false;
    const char *fault = find_fault(storage, slot, record);
    if (fault)
        return refuse(slot, fault, error);
    if (tpm_key_load_to_sign(storage->tpm, record->key.blob, &storage->key, &why)) {
        storage->slot = slot;
        storage->generation = record->generation;
        storage->epoch = tpm_epoch(storage->tpm);
        g_hash_table_remove(storage->refused, GUINT_TO_POINTER(slot));
        return true;
    }
    look_at_srk(storage);
    fault = find_fault(storage, slot, record);
    if (fault)
        return refuse(slot, fault, error);
    if (g_error_matches(why, ERROR_DOMAIN, ERROR_DAMAGED)) {
        g_hash_table_add(storage->refused, GUINT_TO_POINTER(slot));
        return refuse(slot, why->message, error);
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

bool
slot_file_sign(struct slot_file *storage, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES], GError **error)
{
    return tpm_key_hmac(storage->tpm, storage->key, text, len, mac, error);
}

/* ---- changes: the new record taking the old one's place is the whole of them ---- */

/* made has its identity; its key is made, proved and recorded. */
static bool
make(struct slot_file *storage, uint32_t slot, struct intent *intent, struct store_record *record,
     const struct secret *key, GError **error)
{
    uint8_t policy[TPM_POLICY_BYTES];
    uint32_t loaded = TPM_KEY_NONE;
    g_autofree char *srk_name = NULL;
    compute_policy(slot, intent->made.identity, policy);
    if (!slot_key_get_srk(storage->tpm, storage->store, &srk_name, error))
        return false;
    slot_file_know_srk(storage, srk_name);
    if (!slot_key_create(storage->tpm, srk_name, key, policy, &intent->made, error) ||
        !intent_write(storage->store, slot, intent, error))
        return false;
    bool ok = slot_key_load(storage->tpm, &intent->made, key, &loaded, error);
    ok = tpm_key_flush(storage->tpm, &loaded, ok ? error : NULL) && ok;
    record->srk_name = srk_name;
    record->key = intent->made;
    ok = ok && store_save_record(storage->store, slot, record, error) && intent_remove(storage->store, slot, error);
    record->srk_name = NULL;
    return ok;
}

bool
slot_file_provision(struct slot_file *storage, uint32_t slot, uint64_t generation, const struct identity *identity,
                    const struct secret *key, GError **error)
{
    struct intent intent = { .operation = INTENT_PROVISION, .file = true, .generation = generation };
    struct store_record record = { .in_use = true, .file = true, .generation = generation };
    slot_file_let_go(storage);
    intent.made.identity = identity_copy(identity);
    bool ok = make(storage, slot, &intent, &record, key, error);
    intent_clear(&intent);
    return slot_settle_result(storage->tpm, storage->store, slot, generation, ok, error);
}

bool
slot_file_rotate(struct slot_file *storage, uint32_t slot, const struct store_record *old,
                 const struct identity *identity, const struct secret *key, GError **error)
{
    struct intent intent = {
        .operation = INTENT_ROTATE, .file = true, .generation = old->generation + 1, .old = old->key
    };
    struct store_record record = {
        .in_use = true, .file = true, .generation = intent.generation, .previous = old->key
    };
    slot_file_let_go(storage);
    intent.made.identity = identity_copy(identity);
    bool ok = make(storage, slot, &intent, &record, key, error);
    store_key_clear(&intent.made);
    return slot_settle_result(storage->tpm, storage->store, slot, record.generation, ok, error);
}

bool
slot_file_undo(struct slot_file *storage, uint32_t slot, const struct store_record *old, GError **error)
{
    const struct store_record record = { .in_use = true, .file = true, .generation = old->generation + 1,
                                         .srk_name = old->srk_name, .key = old->previous };
    bool proved = slot_file_hold(storage, slot, &record, error);
    slot_file_let_go(storage);
    return proved && store_save_record(storage->store, slot, &record, error);
}

bool
slot_file_clear(struct slot_file *storage, uint32_t slot, const struct store_record *record, GError **error)
{
    const struct store_record empty = { .generation = record->generation + 1 };
    slot_file_let_go(storage);
    return store_save_record(storage->store, slot, &empty, error) &&
           slot_key_forget_srk_if_unused(storage->store, error);
}
