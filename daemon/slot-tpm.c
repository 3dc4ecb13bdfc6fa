/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-tpm.h"
#include "daemon/slot-key.h"
#include "daemon/slot-settle.h"
#include "daemon/slot-view.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>

#define RECHECK_US (60 * G_USEC_PER_SEC) /* a slot in use is compared with its pin at most this often */

/* What is held of a slot between signatures. Valid for one epoch of the TPM and one generation of the slot. */
struct held {
    uint32_t key;
    uint32_t epoch;
    uint64_t generation;
    int64_t checked_us;
};

struct slot_tpm {
    struct tpm *tpm;
    struct store *store;
    struct held held[SLOT_TPM_COUNT];
};

struct slot_tpm *
slot_tpm_new(struct tpm *tpm, struct store *store)
{
    struct slot_tpm *storage = g_new0(struct slot_tpm, 1);
    storage->tpm = tpm;
    storage->store = store;
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++)
        storage->held[slot].key = TPM_KEY_NONE;
    return storage;
}

void
slot_tpm_free(struct slot_tpm *storage)
{
    g_free(storage);
}

static void
let_go(struct slot_tpm *storage, uint32_t slot)
{
    struct held *held = &storage->held[slot];
    if (held->epoch == tpm_epoch(storage->tpm))
        tpm_key_close(storage->tpm, &held->key);
    *held = (struct held){ .key = TPM_KEY_NONE };
}

/* ---- looking ---- */

bool
slot_tpm_survey(struct slot_tpm *storage, uint32_t slot, struct store_record *pin, struct slot_finding *finding,
                GError **error)
{
    struct slot_view view;
    g_autofree char *srk_name = NULL;
    let_go(storage, slot);
    if (!tpm_open(storage->tpm, error) || !slot_view_open(storage->tpm, slot, &view, error))
        return false;
    bool ok = true;
    if (pin->in_use) {
        g_autofree char *fault = slot_view_compare(&view, &pin->key);
        finding->state = fault ? SLOT_TAMPERED : SLOT_READY;
        if (fault)
            finding->reason = g_strdup_printf("%s; nothing is signed until an administrator acts: hubkeyctl clear %u "
                                              "forgets the slot and touches nothing that is not ours", fault, slot);
    } else if ((ok = slot_key_find_srk(storage->tpm, &srk_name, error))) {
        slot_view_find(&view, slot, srk_name, finding);
    }
    slot_view_close(storage->tpm, &view);
    return ok;
}

/* ---- signing ---- */

/* Opens the slot's key after comparing key and NV with the pin. */
static bool
take_hold(struct slot_tpm *storage, uint32_t slot, const struct store_record *pin, GError **error)
{
    struct slot_view view;
    let_go(storage, slot);
    if (!slot_view_open(storage->tpm, slot, &view, error))
        return false;
    g_autofree char *fault = slot_view_compare(&view, &pin->key);
    if (fault)
        error_set(error, ERROR_TAMPERED, "slot %u is tampered: %s; an administrator must act: hubkeyctl clear %u", slot,
                  fault, slot);
    else
        storage->held[slot] = (struct held){ .key = view.key, .epoch = tpm_epoch(storage->tpm),
                                             .generation = pin->generation, .checked_us = clock_boot_us() };
    if (!fault)
        view.key = TPM_KEY_NONE;
    slot_view_close(storage->tpm, &view);
    return !fault;
}

bool
slot_tpm_holds(const struct slot_tpm *storage, uint32_t slot, uint64_t generation)
{
    const struct held *held = &storage->held[slot];
    return held->key != TPM_KEY_NONE && held->generation == generation && held->epoch == tpm_epoch(storage->tpm) &&
           tpm_is_open(storage->tpm) && clock_boot_us() - held->checked_us < RECHECK_US;
}

bool
slot_tpm_hold(struct slot_tpm *storage, uint32_t slot, const struct store_record *pin, GError **error)
{
    return tpm_open(storage->tpm, error) && take_hold(storage, slot, pin, error);
}

void
slot_tpm_let_go(struct slot_tpm *storage, uint32_t slot)
{
    let_go(storage, slot);
}

bool
slot_tpm_sign(struct slot_tpm *storage, uint32_t slot, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
              GError **error)
{
    return tpm_key_hmac(storage->tpm, storage->held[slot].key, text, len, mac, error);
}

/* ---- changes ---- */

bool
slot_tpm_provision(struct slot_tpm *storage, uint32_t slot, uint64_t generation, const struct identity *identity,
                   const struct secret *key, GError **error)
{
    struct intent intent = { .operation = INTENT_PROVISION, .generation = generation };
    g_autofree char *srk_name = NULL;
    uint32_t loaded = TPM_KEY_NONE;
    intent.made.identity = identity_copy(identity);
    bool made = slot_key_get_srk(storage->tpm, storage->store, &srk_name, error) &&
                slot_key_create(storage->tpm, srk_name, key, NULL, &intent.made, error);
    bool ok = made && intent_write(storage->store, slot, &intent, error) &&
              slot_key_load(storage->tpm, &intent.made, key, &loaded, error) &&
              slot_settle_provision(storage->tpm, storage->store, slot, &intent, srk_name, &loaded, error);
    tpm_key_flush(storage->tpm, &loaded, NULL);
    intent_clear(&intent);
    let_go(storage, slot);
    return slot_settle_result(storage->tpm, storage->store, slot, generation, ok, error);
}

/* key NULL: intent->made has its blob from before. */
static bool
carry_out_rotation(struct slot_tpm *storage, uint32_t slot, const struct intent *intent, const struct secret *key,
                   GError **error)
{
    uint32_t loaded = TPM_KEY_NONE;
    bool ok = intent_write(storage->store, slot, intent, error) &&
              slot_key_load(storage->tpm, &intent->made, key, &loaded, error) &&
              slot_settle_rotate(storage->tpm, storage->store, slot, intent, &loaded, error);
    tpm_key_flush(storage->tpm, &loaded, NULL);
    let_go(storage, slot);
    return slot_settle_result(storage->tpm, storage->store, slot, intent->generation, ok, error);
}

bool
slot_tpm_rotate(struct slot_tpm *storage, uint32_t slot, const struct store_record *record,
                const struct identity *identity, const struct secret *key, GError **error)
{
    struct intent intent = { .operation = INTENT_ROTATE, .generation = record->generation + 1, .old = record->key };
    g_autofree char *srk_name = NULL;
    intent.made.identity = identity_copy(identity);
    if (identity_equal(identity, record->key.identity))
        intent.made.nv_text = g_strdup(record->key.nv_text);
    bool ok = slot_tpm_hold(storage, slot, record, error) &&
              slot_key_get_srk(storage->tpm, storage->store, &srk_name, error) &&
              slot_key_create(storage->tpm, srk_name, key, NULL, &intent.made, error) &&
              carry_out_rotation(storage, slot, &intent, key, error);
    store_key_clear(&intent.made);
    return ok;
}

bool
slot_tpm_undo(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, GError **error)
{
    const struct intent intent = { .operation = INTENT_UNDO, .generation = record->generation + 1,
                                   .made = record->previous, .old = record->key };
    return slot_tpm_hold(storage, slot, record, error) && carry_out_rotation(storage, slot, &intent, NULL, error);
}

/* How much of what the record tells stands in the TPM: 0 to 2, the key and its identity. */
static bool
count_ours(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, unsigned *count, GError **error)
{
    struct slot_view view;
    if (!slot_view_open(storage->tpm, slot, &view, error))
        return false;
    g_autofree char *text = slot_view_nv_text(&record->key);
    *count = (g_strcmp0(view.key_name, record->key.name) == 0) + (g_strcmp0(view.nv.text, text) == 0);
    slot_view_close(storage->tpm, &view);
    return true;
}

/* All or nothing: where the TPM refuses before anything is gone, as for a wrong owner password, it never began. What
 * was begun is finished at the next attach. */
bool
slot_tpm_clear(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, GError **error)
{
    const struct intent intent = { .operation = INTENT_CLEAR,
                                   .generation = record->generation + 1,
                                   .old = record->key };
    unsigned before, after;
    let_go(storage, slot);
    if (!tpm_open(storage->tpm, error) || !count_ours(storage, slot, record, &before, error) ||
        !intent_write(storage->store, slot, &intent, error))
        return false;
    if (slot_settle_clear(storage->tpm, storage->store, slot, &intent, error))
        return true;
    if (tpm_is_open(storage->tpm) && count_ours(storage, slot, record, &after, NULL) && after == before)
        (void)intent_remove(storage->store, slot, NULL);
    return false;
}

/* Nothing in the TPM changes: what stands there as the administrator saw it is pinned. */
bool
slot_tpm_adopt(struct slot_tpm *storage, uint32_t slot, uint64_t generation, const struct slot_expected *expected,
               GError **error)
{
    struct slot_view view;
    struct slot_finding finding = { 0 };
    g_autofree char *srk_name = NULL, *pinned = NULL;
    if (!tpm_open(storage->tpm, error) || !slot_key_find_srk(storage->tpm, &srk_name, error) ||
        !slot_view_open(storage->tpm, slot, &view, error))
        return false;
    slot_view_find(&view, slot, srk_name, &finding);
    g_autofree char *nv_text = g_strdup(view.nv.text);
    slot_view_close(storage->tpm, &view);
    bool same = finding.state == SLOT_FOUND && identity_equal(finding.identity, expected->identity) &&
                g_strcmp0(finding.tpm_name, expected->tpm_name) == 0;
    struct store_record record = { .in_use = true, .generation = generation, .srk_name = srk_name };
    record.key = (struct store_key){ .identity = finding.identity, .name = finding.tpm_name, .nv_text = nv_text };
    bool ok = same && srk_name && slot_key_get_srk(storage->tpm, storage->store, &pinned, error) &&
              store_save_record(storage->store, slot, &record, error);
    if (finding.state == SLOT_FOREIGN)
        error_set(error, ERROR_FOREIGN, "slot %u: %s", slot, finding.reason);
    else if (finding.state == SLOT_EMPTY)
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u is empty; there is nothing to adopt", slot);
    else if (!same)
        error_set(error, ERROR_TAMPERED, "slot %u holds another key or identity than you named; look at it: hubkeyctl "
                  "show %u", slot, slot);
    else if (!srk_name)
        error_set(error, ERROR_TPM_FAILED, "the TPM has no SRK at 0x81000001 to pin the key to");
    slot_finding_clear(&finding);
    return ok;
}
