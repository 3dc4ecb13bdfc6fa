/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-storage.h"
#include "daemon/generations.h"
#include "daemon/intent.h"
#include "daemon/slot-file.h"
#include "daemon/slot-key.h"
#include "daemon/slot-settle.h"
#include "daemon/slot-tpm.h"
#include "daemon/tpm.h"
#include "common/error.h"

struct slot_storage {
    struct tpm *tpm;
    struct store *store;
    struct slot_tpm *in_tpm;
    struct slot_file *in_files;
    GHashTable *refused; /* slot -> the epoch in which the TPM refused to finish or undo what was cut short */
    GHashTable *intents; /* which slots have one, while all are loaded; else NULL, and each file is tried */
};

struct slot_storage *
slot_storage_new(struct tpm *tpm, struct store *store)
{
    struct slot_storage *storage = g_new0(struct slot_storage, 1);
    *storage = (struct slot_storage){ .tpm = tpm, .store = store };
    storage->in_tpm = slot_tpm_new(tpm, store);
    storage->in_files = slot_file_new(tpm, store);
    storage->refused = g_hash_table_new(NULL, NULL);
    return storage;
}

void
slot_storage_free(struct slot_storage *storage)
{
    if (!storage)
        return;
    slot_tpm_free(storage->in_tpm);
    slot_file_free(storage->in_files);
    g_hash_table_destroy(storage->refused);
    g_free(storage);
}

/* ---- what disk tells ---- */

static void
describe_intent(uint32_t slot, const struct intent *intent, struct slot_finding *finding)
{
    const struct store_key *key = intent->made.name ? &intent->made : &intent->old;
    finding->state = SLOT_PENDING;
    finding->file = intent->file;
    finding->reason = g_strdup_printf(
        "%s was cut short and is %s as soon as the TPM allows; hubkeyctl clear %u says what keeps it",
        intent_name(intent->operation), intent->operation == INTENT_PROVISION ? "undone" : "finished or undone", slot);
    finding->identity = identity_copy(key->identity);
}

static bool
is_misplaced(uint32_t slot, bool there, bool file)
{
    return there && !file && slot >= SLOT_TPM_COUNT;
}

static bool
read_intent(struct slot_storage *storage, uint32_t slot, struct intent *intent, bool *absent, GError **error)
{
    *absent = storage->intents && !g_hash_table_contains(storage->intents, GUINT_TO_POINTER(slot));
    return *absent || intent_read(storage->store, slot, intent, absent, error);
}

/* Reads the slot's record, and fills in what disk alone tells. True where that settles it: an intent that is open, a
 * record that cannot be read. */
static bool
read_disk(struct slot_storage *storage, uint32_t slot, struct store_record *record, struct slot_finding *finding)
{
    g_autoptr(GError) why = NULL;
    struct intent intent = { 0 };
    bool absent = false;
    *finding = (struct slot_finding){ 0 };
    if (!store_load_record(storage->store, slot, record, &why) ||
        !read_intent(storage, slot, &intent, &absent, &why)) {
        finding->state = SLOT_DAMAGED;
        finding->file = slot >= SLOT_TPM_COUNT;
        finding->reason = g_strdup_printf("%s; hubkeyctl clear %u forgets it", why->message, slot);
        return true;
    }
    finding->generation = record->generation;
    finding->file = record->file;
    if (is_misplaced(slot, record->in_use, record->file) || is_misplaced(slot, !absent, intent.file)) {
        finding->state = SLOT_DAMAGED;
        finding->file = true;
        finding->reason = g_strdup_printf("its record says that its key is in the TPM, where only slots 0 to %d are; "
                                          "hubkeyctl clear %u forgets it", SLOT_TPM_COUNT - 1, slot);
        intent_clear(&intent);
        return true;
    }
    if (!absent) {
        describe_intent(slot, &intent, finding);
    } else if (record->in_use) {
        finding->identity = identity_copy(record->key.identity);
        finding->tpm_name = g_strdup(record->key.name);
        finding->can_undo = record->previous.name != NULL;
    }
    intent_clear(&intent);
    return !absent;
}

/* The record of a slot with nothing under way. */
static bool
read_quiet(struct slot_storage *storage, uint32_t slot, struct store_record *record, GError **error)
{
    struct slot_finding finding;
    *record = (struct store_record){ 0 };
    bool quiet = !read_disk(storage, slot, record, &finding);
    if (finding.state == SLOT_PENDING)
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u is pending: %s", slot, finding.reason);
    else if (!quiet)
        error_set(error, ERROR_DAMAGED, "slot %u is damaged: %s", slot, finding.reason);
    slot_finding_clear(&finding);
    if (!quiet)
        store_record_clear(record);
    return quiet;
}

static void
load(void *data, uint32_t slot, struct slot_finding *finding)
{
    struct slot_storage *storage = data;
    struct store_record record = { 0 };
    if (!read_disk(storage, slot, &record, finding) && record.in_use) {
        if (record.file)
            slot_file_survey(storage->in_files, slot, &record, finding);
        else
            finding->state = SLOT_READY; /* until the TPM says otherwise: every signature compares first */
    }
    store_record_clear(&record);
}

struct loading {
    struct slot_storage *storage;
    slot_loaded_fn loaded;
    void *user;
};

static bool
load_one(uint32_t slot, void *user, GError **error)
{
    struct loading *loading = user;
    struct slot_finding finding;
    load(loading->storage, slot, &finding);
    loading->loaded(slot, &finding, loading->user);
    slot_finding_clear(&finding);
    return true;
}

static bool
note_intent(uint32_t slot, void *intents, GError **error)
{
    g_hash_table_add(intents, GUINT_TO_POINTER(slot));
    return true;
}

/* Intents are few: one listing finds them, where a file would be looked for in vain for each of ten thousand slots. */
static bool
load_all(void *data, slot_loaded_fn loaded, void *user, GError **error)
{
    struct slot_storage *storage = data;
    struct loading loading = { storage, loaded, user };
    storage->intents = g_hash_table_new(NULL, NULL);
    bool ok = store_each_intent(storage->store, note_intent, storage->intents, error) &&
              store_each_slot(storage->store, load_one, &loading, error);
    g_clear_pointer(&storage->intents, g_hash_table_destroy);
    return ok;
}

static bool
survey(void *data, uint32_t slot, struct slot_finding *finding, GError **error)
{
    struct slot_storage *storage = data;
    struct store_record record = { 0 };
    bool ok = true;
    if (!read_disk(storage, slot, &record, finding)) {
        if (record.file)
            slot_file_survey(storage->in_files, slot, &record, finding);
        else if (slot < SLOT_TPM_COUNT)
            ok = slot_tpm_survey(storage->in_tpm, slot, &record, finding, error);
    }
    store_record_clear(&record);
    if (!ok)
        slot_finding_clear(finding);
    return ok;
}

/* ---- attaching ---- */

/* What the TPM refuses, a wrong owner password above all, is not tried over and over: only after the TPM was opened
 * anew, or when an administrator clears the slot. */
static bool
settle_once(uint32_t slot, void *user, GError **error)
{
    struct slot_storage *storage = user;
    g_autoptr(GError) why = NULL;
    gpointer key = GUINT_TO_POINTER(slot), epoch = GUINT_TO_POINTER(tpm_epoch(storage->tpm));
    if (!tpm_is_open(storage->tpm) || g_hash_table_lookup(storage->refused, key) == epoch)
        return true;
    if (slot_settle_open(storage->tpm, storage->store, slot, &why))
        return true;
    g_warning("slot %u: %s", slot, why->message);
    if (tpm_is_open(storage->tpm) && g_error_matches(why, ERROR_DOMAIN, ERROR_TPM_FAILED))
        g_hash_table_insert(storage->refused, key, epoch);
    return true; /* it stays pending, and the others have their turn */
}

static bool
attach(void *data, bool afresh, struct slot_medium *medium, GError **error)
{
    struct slot_storage *storage = data;
    if (afresh) {
        g_hash_table_remove_all(storage->refused);
        tpm_forget_owner_refusal(storage->tpm);
    }
    if (!tpm_open(storage->tpm, error) || !slot_file_sweep(storage->in_files, error) ||
        !slot_key_settle_srk(storage->tpm, storage->store, error) ||
        !store_each_intent(storage->store, settle_once, storage, error) ||
        !slot_key_forget_srk_if_unused(storage->store, error) ||
        !slot_key_find_srk(storage->tpm, &medium->srk_name, error))
        return false;
    slot_file_know_srk(storage->in_files, medium->srk_name);
    g_autofree char *pinned = store_load_srk(storage->store, NULL);
    slot_key_pin_srk(storage->tpm, pinned);
    medium->cleared = pinned && g_strcmp0(pinned, medium->srk_name) != 0;
    return true;
}

/* ---- signing ---- */

static bool
holds(const struct slot_storage *storage, uint32_t slot, uint64_t generation, bool *file)
{
    *file = slot_file_holds(storage->in_files, slot, generation);
    return *file || (slot < SLOT_TPM_COUNT && slot_tpm_holds(storage->in_tpm, slot, generation));
}

static bool
hold(struct slot_storage *storage, uint32_t slot, uint64_t generation, bool *file, GError **error)
{
    struct store_record record;
    /* Not by what a change that was cut short a moment ago has left in the TPM: that would look tampered with. */
    if (!read_quiet(storage, slot, &record, error))
        return false;
    bool ok = record.in_use && record.generation == generation;
    if (!record.in_use)
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u was cleared a moment ago", slot);
    else if (!ok)
        error_set(error, ERROR_BUSY, "slot %u was changed a moment ago; retry in 0 ms", slot);
    *file = record.file;
    ok = ok && (record.file ? slot_file_hold(storage->in_files, slot, &record, error)
                            : slot_tpm_hold(storage->in_tpm, slot, &record, error));
    store_record_clear(&record);
    return ok;
}

static void
let_go(struct slot_storage *storage, uint32_t slot)
{
    slot_file_let_go(storage->in_files);
    if (slot < SLOT_TPM_COUNT)
        slot_tpm_let_go(storage->in_tpm, slot);
}

static bool
sign(void *data, uint32_t slot, uint64_t generation, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
     GError **error)
{
    struct slot_storage *storage = data;
    for (int attempt = 0;; attempt++) {
        g_autoptr(GError) why = NULL;
        bool file, was_open = tpm_is_open(storage->tpm), held = holds(storage, slot, generation, &file);
        if ((held || hold(storage, slot, generation, &file, &why)) &&
            (file ? slot_file_sign(storage->in_files, text, len, mac, &why)
                  : slot_tpm_sign(storage->in_tpm, slot, text, len, mac, &why)))
            return true;
        /* Once more, afresh: a connection that was lost may be back already, a key that was held may be gone. */
        bool lost = was_open && !tpm_is_open(storage->tpm);
        let_go(storage, slot);
        if (attempt == 0 && (lost || (held && tpm_is_unwell(why))))
            continue;
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
}

static void
idle(void *data)
{
    struct slot_storage *storage = data;
    slot_file_let_go(storage->in_files);
}

/* ---- changes ---- */

static bool
refuse_occupied(uint32_t slot, const struct slot_finding *finding, GError **error)
{
    if (finding->state == SLOT_FOREIGN)
        error_set(error, ERROR_FOREIGN, "slot %u: %s; hubkeyd leaves it alone", slot, finding->reason);
    else if (finding->state == SLOT_FOUND)
        error_set(error, ERROR_SLOT_IN_USE, "slot %u holds a key of %s/%s: %s", slot, finding->identity->host,
                  finding->identity->device, finding->reason);
    else
        error_set(error, ERROR_SLOT_IN_USE, "slot %u is in use; free it first with: hubkeyctl clear %u", slot, slot);
    return false;
}

/* The slot must be empty; where the key goes into a file, what stands in the TPM at its number is of no concern. */
static bool
check_free(struct slot_storage *storage, uint32_t slot, bool file, uint64_t *generation, GError **error)
{
    struct store_record record = { 0 };
    struct slot_finding finding;
    bool settled = read_disk(storage, slot, &record, &finding), ok = true;
    if (!settled && !record.in_use && !file)
        ok = slot_tpm_survey(storage->in_tpm, slot, &record, &finding, error);
    bool free = ok && !settled && !record.in_use && finding.state == SLOT_EMPTY;
    if (ok && !free)
        refuse_occupied(slot, &finding, error);
    *generation = record.generation + 1;
    slot_finding_clear(&finding);
    store_record_clear(&record);
    return free;
}

static bool
provision(void *data, uint32_t slot, bool file, const struct identity *identity, const struct secret *raw,
          GError **error)
{
    struct slot_storage *storage = data;
    g_autoptr(secret_auto) key = slot_key_fit(raw);
    uint64_t generation;
    slot_file_let_go(storage->in_files);
    if (!tpm_open(storage->tpm, error) || !check_free(storage, slot, file, &generation, error))
        return false;
    return file ? slot_file_provision(storage->in_files, slot, generation, identity, key, error)
                : slot_tpm_provision(storage->in_tpm, slot, generation, identity, key, error);
}

/* The record of a slot that something can be done with, and that is still the one that the caller saw. */
static bool
read_in_use(struct slot_storage *storage, uint32_t slot, uint64_t generation, struct store_record *record,
            GError **error)
{
    slot_file_let_go(storage->in_files);
    if (!read_quiet(storage, slot, record, error))
        return false;
    bool same = record->in_use && record->generation == generation;
    if (!record->in_use)
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u holds no key of hubkeyd's", slot);
    else if (!same)
        error_set(error, ERROR_BUSY,
                  "slot %u was changed by another call meanwhile; look at it with hubkeyctl show %u, "
                  "then retry in 1000 ms",
                  slot, slot);
    if (same && tpm_open(storage->tpm, error))
        return true;
    store_record_clear(record);
    return false;
}

static bool
rotate(void *data, uint32_t slot, uint64_t generation, const struct identity *identity, const struct secret *raw,
       GError **error)
{
    struct slot_storage *storage = data;
    g_autoptr(secret_auto) key = slot_key_fit(raw);
    struct store_record record;
    if (!read_in_use(storage, slot, generation, &record, error))
        return false;
    bool ok = record.file ? slot_file_rotate(storage->in_files, slot, &record, identity, key, error)
                          : slot_tpm_rotate(storage->in_tpm, slot, &record, identity, key, error);
    store_record_clear(&record);
    return ok;
}

static bool
undo(void *data, uint32_t slot, uint64_t generation, GError **error)
{
    struct slot_storage *storage = data;
    struct store_record record;
    bool ok = false;
    if (!read_in_use(storage, slot, generation, &record, error))
        return false;
    if (!record.previous.name)
        error_set(error, ERROR_UNSUPPORTED,
                  "slot %u has no earlier key: it was not rotated, or that was undone already", slot);
    else
        ok = record.file ? slot_file_undo(storage->in_files, slot, &record, error)
                         : slot_tpm_undo(storage->in_tpm, slot, &record, error);
    store_record_clear(&record);
    return ok;
}

static bool
adopt(void *data, uint32_t slot, const struct slot_expected *expected, GError **error)
{
    struct slot_storage *storage = data;
    struct store_record record = { 0 };
    struct slot_finding finding;
    bool settled = read_disk(storage, slot, &record, &finding);
    bool free = !settled && !record.in_use && slot < SLOT_TPM_COUNT;
    uint64_t generation = record.generation + 1;
    if (!free)
        refuse_occupied(slot, &finding, error);
    slot_finding_clear(&finding);
    store_record_clear(&record);
    return free && slot_tpm_adopt(storage->in_tpm, slot, generation, expected, error);
}

static bool
is_record_damaged(struct slot_storage *storage, uint32_t slot)
{
    struct store_record record;
    if (!store_load_record(storage->store, slot, &record, NULL))
        return true;
    bool misplaced = is_misplaced(slot, record.in_use, record.file);
    store_record_clear(&record);
    return misplaced;
}

/* A record that cannot be read says nothing about what is ours: it is forgotten, the TPM is not touched. Of record and
 * intent what is damaged goes last. Until then the slot is damaged as it was, and not what the other half alone would
 * make of it after a crash: an intent finished that nobody wants any more, a key that the administrator gave up. */
static bool
forget_damaged(struct slot_storage *storage, uint32_t slot, GError **error)
{
    struct store *store = storage->store;
    struct store_record empty = { 0 };
    g_warning("slot %u: forgetting a damaged record", slot);
    if (!generations_take(store, &empty.generation, error) ||
        (is_record_damaged(storage, slot) && !intent_remove(store, slot, error)))
        return false;
    return store_save_record(store, slot, &empty, error) && intent_remove(store, slot, error) &&
           slot_key_forget_srk_if_unused(store, error);
}

static bool
clear(void *data, uint32_t slot, GError **error)
{
    struct slot_storage *storage = data;
    struct slot_finding finding;
    struct store_record record = { 0 };
    let_go(storage, slot);
    bool settled = read_disk(storage, slot, &record, &finding), damaged = finding.state == SLOT_DAMAGED, ok = false;
    slot_finding_clear(&finding);
    if (settled && !damaged) {
        /* What was cut short is finished or undone first; a key that stands there afterwards goes, too. */
        store_record_clear(&record);
        if (!tpm_open(storage->tpm, error) || !slot_settle_open(storage->tpm, storage->store, slot, error) ||
            !store_load_record(storage->store, slot, &record, error))
            return false;
        if (!record.in_use)
            return true;
    }
    if (damaged)
        ok = forget_damaged(storage, slot, error);
    else if (!record.in_use)
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u holds no key of hubkeyd's; there is nothing to clear", slot);
    else if (record.file)
        ok = slot_file_clear(storage->in_files, slot, &record, error);
    else
        ok = slot_tpm_clear(storage->in_tpm, slot, &record, error);
    store_record_clear(&record);
    return ok;
}

const struct slot_ops slot_storage_ops = {
    .load_all = load_all,
    .load = load,
    .attach = attach,
    .survey = survey,
    .sign = sign,
    .idle = idle,
    .provision = provision,
    .rotate = rotate,
    .undo = undo,
    .adopt = adopt,
    .clear = clear,
};
