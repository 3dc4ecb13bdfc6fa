/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-settle.h"
#include "daemon/slot-key.h"
#include "daemon/slot-view.h"
#include "common/error.h"

#include <string.h>

static bool
evict(struct tpm *tpm, uint32_t slot, const struct store_key *key, GError **error)
{
    struct tpm_name name;
    return slot_key_parse_name(key->name, &name, error) && tpm_key_evict(tpm, SLOT_VIEW_KEY_HANDLE(slot), &name, error);
}

static bool
flush_leftovers(struct tpm *tpm, const struct store_key *key, GError **error)
{
    struct tpm_name name;
    return slot_key_parse_name(key->name, &name, error) && tpm_key_flush_leftovers(tpm, &name, error);
}

/* Removes the index if it says what key's would, or was about to: defined by us, of that size, nothing in it yet. */
static bool
remove_nv(struct tpm *tpm, uint32_t slot, const struct store_key *key, bool even_unwritten, GError **error)
{
    struct tpm_nv nv;
    g_autofree char *text = slot_view_nv_text(key);
    if (!tpm_nv_look(tpm, SLOT_VIEW_NV_INDEX(slot), &nv, error))
        return false;
    bool ours = nv.present && (g_strcmp0(nv.text, text) == 0 ||
                               (even_unwritten && nv.ours && !nv.written && nv.size == strlen(text)));
    tpm_nv_clear(&nv);
    return !ours || tpm_nv_undefine(tpm, SLOT_VIEW_NV_INDEX(slot), error);
}

static bool
is_committed(struct store *store, uint32_t slot, const struct intent *intent, bool *committed, GError **error)
{
    struct store_record record;
    if (!store_load_record(store, slot, &record, error))
        return false;
    *committed = record.generation == intent->generation;
    store_record_clear(&record);
    return true;
}

/* ---- provisioning ---- */

bool
slot_settle_provision(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent,
                      const char *srk_name, uint32_t *loaded, GError **error)
{
    g_autofree char *text = slot_view_nv_text(&intent->made);
    const struct store_record record = { .in_use = true, .generation = intent->generation, .srk_name = (char *)srk_name,
                                         .key = intent->made };
    bool persisted = tpm_key_persist(tpm, *loaded, SLOT_VIEW_KEY_HANDLE(slot), error);
    persisted = tpm_key_flush(tpm, loaded, persisted ? error : NULL) && persisted;
    return persisted && tpm_nv_write(tpm, SLOT_VIEW_NV_INDEX(slot), text, error) &&
           store_save_record(store, slot, &record, error) && intent_remove(store, slot, error);
}

/* The caller of a Provision that was cut short never had an answer: the old state is as good as the new one, and
 * undoing needs nothing that may be missing by now. */
static bool
undo_provision(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    return flush_leftovers(tpm, &intent->made, error) && evict(tpm, slot, &intent->made, error) &&
           remove_nv(tpm, slot, &intent->made, true, error) && slot_key_forget_srk_if_unused(store, error) &&
           intent_remove(store, slot, error);
}

/* ---- clearing ---- */

bool
slot_settle_clear(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    const struct store_record empty = { .generation = intent->generation };
    return flush_leftovers(tpm, &intent->old, error) && evict(tpm, slot, &intent->old, error) &&
           remove_nv(tpm, slot, &intent->old, false, error) && store_save_record(store, slot, &empty, error) &&
           slot_key_forget_srk_if_unused(store, error) && intent_remove(store, slot, error);
}

/* ---- rotating ---- */

/* EvictControl cannot replace: the old key goes first. A stranger's key is left where it is; the pin will show it. */
static bool
exchange_keys(struct tpm *tpm, uint32_t slot, const struct intent *intent, uint32_t *loaded, GError **error)
{
    struct slot_view view;
    if (!evict(tpm, slot, &intent->old, error) || !slot_view_open(tpm, slot, &view, error))
        return false;
    bool free = view.key == TPM_KEY_NONE;
    slot_view_close(tpm, &view);
    bool ok = !free || ((*loaded != TPM_KEY_NONE || slot_key_load(tpm, &intent->made, NULL, loaded, error)) &&
                        tpm_key_persist(tpm, *loaded, SLOT_VIEW_KEY_HANDLE(slot), error));
    return tpm_key_flush(tpm, loaded, ok ? error : NULL) && ok;
}

static bool
exchange_nv(struct tpm *tpm, uint32_t slot, const struct intent *intent, GError **error)
{
    struct tpm_nv nv;
    g_autofree char *wanted = slot_view_nv_text(&intent->made), *old = slot_view_nv_text(&intent->old);
    if (strcmp(wanted, old) == 0)
        return true;
    if (!remove_nv(tpm, slot, &intent->old, false, error) || !remove_nv(tpm, slot, &intent->made, true, error) ||
        !tpm_nv_look(tpm, SLOT_VIEW_NV_INDEX(slot), &nv, error))
        return false;
    bool free = !nv.present;
    tpm_nv_clear(&nv);
    return !free || tpm_nv_write(tpm, SLOT_VIEW_NV_INDEX(slot), wanted, error);
}

/* After an undone rotation there is nothing to undo any more. */
static bool
save_rotated(struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    struct store_record record;
    static const struct store_key nothing = { 0 };
    if (!store_load_record(store, slot, &record, error))
        return false;
    const struct store_record rotated = {
        .in_use = true,
        .generation = intent->generation,
        .srk_name = record.srk_name,
        .key = intent->made,
        .previous = intent->operation == INTENT_ROTATE && intent->old.blob ? intent->old : nothing,
    };
    bool ok = store_save_record(store, slot, &rotated, error);
    store_record_clear(&record);
    return ok;
}

bool
slot_settle_rotate(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, uint32_t *loaded,
                   GError **error)
{
    return exchange_keys(tpm, slot, intent, loaded, error) && exchange_nv(tpm, slot, intent, error) &&
           save_rotated(store, slot, intent, error) && intent_remove(store, slot, error);
}

/* Where key and identity are still the old ones, nothing was changed and the new key is forgotten. */
static bool
settle_rotate(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    struct slot_view view;
    uint32_t loaded = TPM_KEY_NONE;
    if (!flush_leftovers(tpm, &intent->made, error) || !slot_view_open(tpm, slot, &view, error))
        return false;
    g_autofree char *fault = slot_view_compare(&view, &intent->old);
    slot_view_close(tpm, &view);
    return fault ? slot_settle_rotate(tpm, store, slot, intent, &loaded, error) : intent_remove(store, slot, error);
}

/* ---- whatever is open ---- */

static bool
settle(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    bool committed;
    if (!is_committed(store, slot, intent, &committed, error))
        return false;
    if (committed)
        return slot_key_forget_srk_if_unused(store, error) && intent_remove(store, slot, error);
    if (intent->file) /* its record is the only thing that is changed, and was not */
        return flush_leftovers(tpm, &intent->made, error) && slot_key_forget_srk_if_unused(store, error) &&
               intent_remove(store, slot, error);
    switch (intent->operation) {
    case INTENT_CLEAR:
        return slot_settle_clear(tpm, store, slot, intent, error);
    case INTENT_PROVISION:
        return undo_provision(tpm, store, slot, intent, error);
    default:
        return settle_rotate(tpm, store, slot, intent, error);
    }
}

bool
slot_settle_open(struct tpm *tpm, struct store *store, uint32_t slot, GError **error)
{
    struct intent intent;
    bool absent;
    if (!intent_read(store, slot, &intent, &absent, error) || absent)
        return absent;
    bool misplaced = !intent.file && slot >= SLOT_TPM_COUNT;
    if (misplaced)
        error_set(error, ERROR_DAMAGED, "an intent is about a key in the TPM, where only slots 0 to %d are",
                  SLOT_TPM_COUNT - 1);
    bool ok = !misplaced && settle(tpm, store, slot, &intent, error);
    intent_clear(&intent);
    return ok;
}

bool
slot_settle_result(struct tpm *tpm, struct store *store, uint32_t slot, uint64_t generation, bool ok, GError **error)
{
    g_autoptr(GError) why = NULL;
    struct store_record record;
    if (ok)
        return true;
    if (!slot_settle_open(tpm, store, slot, &why))
        g_warning("slot %u: undoing: %s; tried again when the TPM answers", slot, why->message);
    if (!store_load_record(store, slot, &record, NULL))
        return false;
    bool committed = record.generation == generation;
    store_record_clear(&record);
    if (committed)
        g_clear_error(error);
    return committed;
}
