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
    uint32_t refused[SLOT_TPM_COUNT]; /* the epoch in which the TPM refused to finish or undo what was cut short */
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

static void
find_pinned(uint32_t slot, struct store_record *pin, const struct slot_view *view, struct slot_finding *finding)
{
    g_autofree char *fault = slot_view_compare(pin, view);
    finding->state = fault ? SLOT_TAMPERED : SLOT_READY;
    if (fault)
        finding->reason = g_strdup_printf("%s; nothing is signed until an administrator acts: hubkeyctl clear %u "
                                          "forgets the slot and touches nothing that is not ours", fault, slot);
    finding->identity = g_steal_pointer(&pin->identity);
    finding->tpm_name = g_steal_pointer(&pin->key_name);
}

/* Says what disk alone tells, and whether that settles it: an intent that is open, a record that cannot be read. */
static bool
settled_by_disk(struct slot_tpm *storage, uint32_t slot, struct store_record *pin, struct slot_finding *finding)
{
    g_autoptr(GError) why = NULL;
    struct intent intent = { 0 };
    bool absent = false;
    *finding = (struct slot_finding){ 0 };
    if (!store_load_record(storage->store, slot, pin, &why) ||
        !intent_read(storage->store, slot, &intent, &absent, &why)) {
        finding->state = SLOT_DAMAGED;
        finding->reason = g_strdup_printf("%s; hubkeyctl clear %u forgets it", why->message, slot);
        return true;
    }
    finding->generation = pin->generation;
    if (!absent) {
        finding->state = SLOT_PENDING;
        finding->reason = g_strdup_printf("%s was cut short and is %s as soon as the TPM answers",
                                          intent.operation == INTENT_CLEAR ? "clearing" : "provisioning",
                                          intent.operation == INTENT_CLEAR ? "finished" : "undone");
        finding->identity = g_steal_pointer(&intent.identity);
    }
    intent_clear(&intent);
    return !absent;
}

static void
load(void *data, uint32_t slot, struct slot_finding *finding)
{
    struct store_record pin = { 0 };
    if (!settled_by_disk(data, slot, &pin, finding) && pin.in_use) {
        /* Ready until the TPM says otherwise: every signature compares first. */
        finding->state = SLOT_READY;
        finding->identity = g_steal_pointer(&pin.identity);
        finding->tpm_name = g_steal_pointer(&pin.key_name);
    }
    store_record_clear(&pin);
}

static bool
survey(void *data, uint32_t slot, struct slot_finding *finding, GError **error)
{
    struct slot_tpm *storage = data;
    struct store_record pin = { 0 };
    struct slot_view view;
    let_go(storage, slot);
    bool settled = settled_by_disk(storage, slot, &pin, finding);
    bool ok = settled || (tpm_open(storage->tpm, error) && slot_view_open(storage->tpm, slot, &view, error));
    if (!settled && ok) {
        if (pin.in_use)
            find_pinned(slot, &pin, &view, finding);
        else
            ok = slot_view_find(storage->tpm, slot, &view, finding, error);
        slot_view_close(storage->tpm, &view);
    }
    store_record_clear(&pin);
    if (!ok)
        slot_finding_clear(finding);
    return ok;
}

/* ---- signing ---- */

/* Opens the slot's key after comparing key and NV with the pin. */
static bool
take_hold(struct slot_tpm *storage, uint32_t slot, uint64_t generation, GError **error)
{
    struct held *held = &storage->held[slot];
    struct store_record pin = { 0 };
    struct slot_view view;
    let_go(storage, slot);
    if (!store_load_record(storage->store, slot, &pin, error))
        return false;
    if (!pin.in_use || pin.generation != generation) {
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u was changed a moment ago; ask again", slot);
        store_record_clear(&pin);
        return false;
    }
    bool ok = slot_view_open(storage->tpm, slot, &view, error);
    g_autofree char *fault = ok ? slot_view_compare(&pin, &view) : NULL;
    store_record_clear(&pin);
    if (fault)
        error_set(error, ERROR_TAMPERED, "slot %u is tampered: %s; an administrator must act: hubkeyctl clear %u", slot,
                  fault, slot);
    if (ok && !fault)
        *held = (struct held){ .key = view.key, .epoch = tpm_epoch(storage->tpm), .generation = generation,
                               .checked_us = clock_boot_us() };
    else if (ok)
        tpm_key_close(storage->tpm, &view.key);
    if (ok)
        tpm_nv_clear(&view.nv);
    return ok && !fault;
}

static bool
still_held(const struct slot_tpm *storage, uint32_t slot, uint64_t generation)
{
    const struct held *held = &storage->held[slot];
    return held->key != TPM_KEY_NONE && held->generation == generation && held->epoch == tpm_epoch(storage->tpm) &&
           tpm_is_open(storage->tpm) && clock_boot_us() - held->checked_us < RECHECK_US;
}

static bool
sign(void *data, uint32_t slot, uint64_t generation, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
     GError **error)
{
    struct slot_tpm *storage = data;
    for (int attempt = 0;; attempt++) {
        g_autoptr(GError) why = NULL;
        bool was_open = tpm_is_open(storage->tpm), held = still_held(storage, slot, generation);
        if (tpm_open(storage->tpm, &why) && (held || take_hold(storage, slot, generation, &why)) &&
            tpm_key_hmac(storage->tpm, storage->held[slot].key, text, len, mac, &why))
            return true;
        /* Once more, afresh: a connection that was lost may be back already, a key that was held may be gone. */
        bool lost = was_open && !tpm_is_open(storage->tpm);
        if (attempt == 0 && (lost || (held && tpm_is_unwell(why)))) {
            let_go(storage, slot);
            continue;
        }
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
}

/* Settles a slot at attach. What the TPM refuses, a wrong owner password above all, is not tried over and over: only
 * after the TPM was opened anew, or when an administrator clears the slot. False only where the TPM is gone. */
static bool
settle_once(struct slot_tpm *storage, uint32_t slot, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (storage->refused[slot] == tpm_epoch(storage->tpm) || slot_settle_open(storage->tpm, storage->store, slot, &why))
        return true;
    g_warning("slot %u: %s", slot, why->message);
    if (!tpm_is_open(storage->tpm)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (g_error_matches(why, ERROR_DOMAIN, ERROR_TPM_FAILED))
        storage->refused[slot] = tpm_epoch(storage->tpm);
    return true;
}

static bool
attach(void *data, struct slot_medium *medium, GError **error)
{
    struct slot_tpm *storage = data;
    struct tpm_name name;
    bool present;
    if (!tpm_open(storage->tpm, error) || !slot_key_settle_srk(storage->tpm, storage->store, error))
        return false;
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++)
        if (!settle_once(storage, slot, error))
            return false;
    if (!slot_key_forget_srk_if_unused(storage->store, error) || !slot_key_find_srk(storage->tpm, &name, &present, error))
        return false;
    medium->srk_name = present ? slot_key_name_text(&name) : NULL;
    g_autofree char *pinned = store_load_srk(storage->store, NULL);
    medium->cleared = pinned && g_strcmp0(pinned, medium->srk_name) != 0;
    return true;
}

/* ---- provisioning ---- */

static bool
check_free(struct slot_tpm *storage, uint32_t slot, GError **error)
{
    struct slot_finding finding;
    if (!survey(storage, slot, &finding, error))
        return false;
    bool empty = finding.state == SLOT_EMPTY;
    if (finding.state == SLOT_FOREIGN)
        error_set(error, ERROR_FOREIGN, "slot %u: %s; hubkeyd leaves it alone", slot, finding.reason);
    else if (finding.state == SLOT_FOUND)
        error_set(error, ERROR_SLOT_IN_USE, "slot %u holds a key of %s/%s: %s", slot, finding.identity->host,
                  finding.identity->device, finding.reason);
    else if (!empty)
        error_set(error, ERROR_SLOT_IN_USE, "slot %u is in use; free it first with: hubkeyctl clear %u", slot, slot);
    slot_finding_clear(&finding);
    return empty;
}

/* Everything from the intent on. What stands there when it fails is undone by settle. */
static bool
commit_provision(struct slot_tpm *storage, uint32_t slot, const struct intent *intent, const char *srk_name,
                 const struct secret *key, GError **error)
{
    g_autofree char *text = slot_view_nv_text(intent->identity);
    uint32_t loaded = TPM_KEY_NONE;
    if (!intent_write(storage->store, slot, intent, error))
        return false;
    bool ok = tpm_key_load(storage->tpm, intent->blob, &loaded, error) && slot_key_prove(storage->tpm, loaded, key, error) &&
              tpm_key_persist(storage->tpm, loaded, SLOT_VIEW_KEY_HANDLE(slot), error);
    tpm_key_flush(storage->tpm, &loaded);
    const struct store_record record = { .in_use = true, .generation = intent->generation, .identity = intent->identity,
                                         .key_name = intent->key_name, .srk_name = (char *)srk_name };
    return ok && tpm_nv_write(storage->tpm, SLOT_VIEW_NV_INDEX(slot), text, error) &&
           store_save_record(storage->store, slot, &record, error) && intent_remove(storage->store, slot, error);
}

/* After a failure: nothing is left of it, or the record was written before and all of it is there. True for the latter. */
static bool
undo_or_accept(struct slot_tpm *storage, uint32_t slot, uint64_t generation)
{
    g_autoptr(GError) error = NULL;
    struct store_record record;
    if (!slot_settle_open(storage->tpm, storage->store, slot, &error))
        g_warning("slot %u: undoing: %s; tried again when the TPM answers", slot, error->message);
    if (!store_load_record(storage->store, slot, &record, NULL))
        return false;
    bool committed = record.in_use && record.generation == generation;
    store_record_clear(&record);
    return committed;
}

static bool
next_generation(struct slot_tpm *storage, uint32_t slot, uint64_t *generation, GError **error)
{
    struct store_record record;
    if (!store_load_record(storage->store, slot, &record, error))
        return false;
    *generation = record.generation + 1;
    store_record_clear(&record);
    return true;
}

static bool
provision(void *data, uint32_t slot, const struct identity *identity, const struct secret *raw, GError **error)
{
    struct slot_tpm *storage = data;
    struct tpm_name srk, name;
    struct intent intent = { .operation = INTENT_PROVISION };
    g_autoptr(secret_auto) key = slot_key_fit(raw);

    if (!tpm_open(storage->tpm, error) || !check_free(storage, slot, error) ||
        !next_generation(storage, slot, &intent.generation, error) || !slot_key_get_srk(storage->tpm, storage->store, &srk, error) ||
        !tpm_key_create(storage->tpm, &srk, key, &intent.blob, &name, error))
        return false;
    g_autofree char *srk_name = slot_key_name_text(&srk);
    intent.identity = identity_copy(identity);
    intent.key_name = slot_key_name_text(&name);
    g_autoptr(GError) why = NULL;
    bool ok = commit_provision(storage, slot, &intent, srk_name, key, &why);
    if (!ok)
        ok = undo_or_accept(storage, slot, intent.generation);
    intent_clear(&intent);
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&why));
    return ok;
}

/* ---- clearing ---- */

/* A record that cannot be read says nothing about what is ours: it is forgotten, the TPM is not touched. */
static bool
forget_damaged(struct slot_tpm *storage, uint32_t slot, GError **error)
{
    const struct store_record empty = { .generation = (uint64_t)MAX(clock_wall_us(), RELEASE_TIME * G_USEC_PER_SEC) }; /* above any given out */
    g_warning("slot %u: forgetting a damaged record", slot);
    return store_save_record(storage->store, slot, &empty, error) && intent_remove(storage->store, slot, error) &&
           slot_key_forget_srk_if_unused(storage->store, error);
}

/* How much of what the record tells stands in the TPM: 0 to 2, the key and its identity. */
static bool
count_ours(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, unsigned *count, GError **error)
{
    struct slot_view view;
    if (!slot_view_open(storage->tpm, slot, &view, error))
        return false;
    g_autofree char *text = slot_view_nv_text(record->identity);
    g_autofree char *name = view.key_usable ? slot_key_name_text(&view.key_name) : NULL;
    *count = (g_strcmp0(name, record->key_name) == 0) + (g_strcmp0(view.nv.text, text) == 0);
    slot_view_close(storage->tpm, &view);
    return true;
}

/* All or nothing: where the TPM refuses before anything is gone, as for a wrong owner password, it never began. What
 * was begun is finished at the next attach. */
static bool
clear_recorded(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, GError **error)
{
    const struct intent intent = { .operation = INTENT_CLEAR, .generation = record->generation + 1,
                                   .identity = record->identity, .key_name = record->key_name };
    unsigned before, after;
    if (!count_ours(storage, slot, record, &before, error) || !intent_write(storage->store, slot, &intent, error))
        return false;
    if (slot_settle_clear(storage->tpm, storage->store, slot, &intent, error))
        return true;
    if (tpm_is_open(storage->tpm) && count_ours(storage, slot, record, &after, NULL) && after == before)
        (void)intent_remove(storage->store, slot, NULL);
    return false;
}

static bool
clear(void *data, uint32_t slot, GError **error)
{
    struct slot_tpm *storage = data;
    struct slot_finding finding;
    struct store_record record = { 0 };
    let_go(storage, slot);
    bool settled = settled_by_disk(storage, slot, &record, &finding);
    bool damaged = finding.state == SLOT_DAMAGED;
    slot_finding_clear(&finding);
    if (damaged)
        return forget_damaged(storage, slot, error);
    bool reachable = tpm_open(storage->tpm, error);
    if (!reachable || settled) {
        /* What was cut short is finished or undone; either way nothing half-done is left. */
        store_record_clear(&record);
        return reachable && slot_settle_open(storage->tpm, storage->store, slot, error);
    }
    if (!record.in_use) {
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u holds no key of hubkeyd's; there is nothing to clear", slot);
        store_record_clear(&record);
        return false;
    }
    bool ok = clear_recorded(storage, slot, &record, error);
    store_record_clear(&record);
    return ok;
}

const struct slot_ops slot_tpm_ops = {
    .count = SLOT_TPM_COUNT,
    .load = load,
    .attach = attach,
    .survey = survey,
    .sign = sign,
    .provision = provision,
    .clear = clear,
};
