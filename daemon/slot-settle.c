/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-settle.h"
#include "daemon/slot-key.h"
#include "daemon/slot-view.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

static bool
remove_nv(struct tpm *tpm, uint32_t slot, const struct identity *identity, bool even_unwritten, GError **error)
{
    struct tpm_nv nv;
    g_autofree char *text = slot_view_nv_text(identity);
    if (!tpm_nv_look(tpm, SLOT_VIEW_NV_INDEX(slot), &nv, error))
        return false;
    bool ours = nv.present && (g_strcmp0(nv.text, text) == 0 ||
                               (even_unwritten && nv.ours && !nv.written && nv.size == strlen(text)));
    tpm_nv_clear(&nv);
    return !ours || tpm_nv_undefine(tpm, SLOT_VIEW_NV_INDEX(slot), error);
}

static bool
remove_ours(struct tpm *tpm, uint32_t slot, const char *key_name, const struct identity *identity,
            bool even_unwritten, GError **error)
{
    struct tpm_name name;
    if (!text_unhex(key_name, name.bytes, sizeof name.bytes)) {
        error_set(error, ERROR_DAMAGED, "slot %u: a stored key Name is malformed", slot);
        return false;
    }
    return tpm_key_flush_leftovers(tpm, &name, error) &&
           tpm_key_evict(tpm, SLOT_VIEW_KEY_HANDLE(slot), &name, error) &&
           remove_nv(tpm, slot, identity, even_unwritten, error);
}

bool
slot_settle_clear(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    const struct store_record empty = { .generation = intent->generation };
    return remove_ours(tpm, slot, intent->key_name, intent->identity, false, error) &&
           store_save_record(store, slot, &empty, error) && slot_key_forget_srk_if_unused(store, error) &&
           intent_remove(store, slot, error);
}

/* The caller of a Provision that was cut short never had an answer: the old state is as good as the new one, and
 * undoing needs nothing that may be missing by now. Where the record was written already, it was done. */
static bool
settle_provision(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error)
{
    struct store_record record;
    if (!store_load_record(store, slot, &record, error))
        return false;
    bool committed = record.in_use && record.generation == intent->generation;
    store_record_clear(&record);
    if (!committed && !remove_ours(tpm, slot, intent->key_name, intent->identity, true, error))
        return false;
    if (!committed && !slot_key_forget_srk_if_unused(store, error))
        return false;
    return intent_remove(store, slot, error);
}

bool
slot_settle_open(struct tpm *tpm, struct store *store, uint32_t slot, GError **error)
{
    struct intent intent;
    bool absent;
    if (!intent_read(store, slot, &intent, &absent, error) || absent)
        return absent;
    bool ok = intent.operation == INTENT_CLEAR ? slot_settle_clear(tpm, store, slot, &intent, error)
                                               : settle_provision(tpm, store, slot, &intent, error);
    intent_clear(&intent);
    return ok;
}
