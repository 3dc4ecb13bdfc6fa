/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-tpm.h"
#include "daemon/intent.h"
#include "daemon/store.h"
#include "daemon/tpm-key.h"
#include "daemon/tpm-nv.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define KEY_HANDLE(slot) (0x81000100 + (slot))
#define NV_INDEX(slot) (0x01400100 + (slot))
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

/* What stands in the TPM where a slot would. */
struct view {
    uint32_t key;
    bool key_usable;
    struct tpm_name key_name;
    struct tpm_nv nv;
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
close_view(struct slot_tpm *storage, struct view *view)
{
    tpm_key_close(storage->tpm, &view->key);
    tpm_nv_clear(&view->nv);
}

static bool
open_view(struct slot_tpm *storage, uint32_t slot, struct view *view, GError **error)
{
    *view = (struct view){ .key = TPM_KEY_NONE };
    if (tpm_key_open(storage->tpm, KEY_HANDLE(slot), &view->key, &view->key_name, &view->key_usable, error) &&
        tpm_nv_look(storage->tpm, NV_INDEX(slot), &view->nv, error))
        return true;
    close_view(storage, view);
    return false;
}

static char *
nv_text(const struct identity *identity)
{
    return g_strdup_printf("%s/%s", identity->host, identity->device);
}

static char *
name_text(const struct tpm_name *name)
{
    return text_hex(name->bytes, sizeof name->bytes);
}

/* The identity that an NV index tells: host before the first '/', device after it; no device stands for the hardware's
 * ID. Anybody with access to the TPM can have written it, so it is checked like any input. NULL where it is none. */
static struct identity *
parse_nv(const struct tpm_nv *nv, const char *hardware_id)
{
    const char *slash = nv->text ? strchr(nv->text, '/') : NULL;
    if (!slash)
        return NULL;
    g_autoptr(identity_auto) identity = identity_new();
    identity->host = g_strndup(nv->text, (gsize)(slash - nv->text));
    identity->device = g_strdup(slash[1] ? slash + 1 : hardware_id);
    return identity_check(identity, NULL) ? g_steal_pointer(&identity) : NULL;
}

static void
describe_foreign(const struct view *view, struct slot_finding *finding)
{
    finding->state = SLOT_FOREIGN;
    finding->reason = g_strdup(
        view->key == TPM_KEY_NONE ? "another program's NV index stands where the identity would"
        : !view->key_usable       ? "another program's object, not an HMAC-SHA256 key, stands where the key would"
        : !view->nv.present       ? "a key without an identity record stands here, as device provisioning makes it"
                                  : "a key stands here with an NV record that names no host and device");
}

/* The SRK; not present also where another program's object stands in its place. */
static bool
find_srk(struct slot_tpm *storage, struct tpm_name *name, bool *present, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (tpm_srk_find(storage->tpm, name, present, &why))
        return true;
    *present = false;
    if (g_error_matches(why, ERROR_DOMAIN, ERROR_FOREIGN))
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

static bool
find_unpinned(struct slot_tpm *storage, uint32_t slot, const struct view *view, struct slot_finding *finding,
              GError **error)
{
    bool key = view->key != TPM_KEY_NONE, srk_present;
    struct tpm_name srk;
    if (!key && !view->nv.present)
        return true;
    if (!find_srk(storage, &srk, &srk_present, error))
        return false;
    g_autofree char *srk_name = srk_present ? name_text(&srk) : NULL;
    g_autofree char *hardware_id = slot_hardware_id(slot, srk_name);
    if (key && view->key_usable)
        finding->tpm_name = name_text(&view->key_name);
    if (key && view->key_usable && view->nv.present && (finding->identity = parse_nv(&view->nv, hardware_id))) {
        finding->state = SLOT_FOUND;
        finding->reason = g_strdup("hubkeyd did not put this key here, so it is not used; tpm2_evictcontrol and "
                                   "tpm2_nvundefine free the slot");
    } else {
        describe_foreign(view, finding);
    }
    return true;
}

/* What of the pin does not hold; NULL where all of it does. */
static char *
compare_with_pin(const struct store_record *pin, const struct view *view)
{
    g_autofree char *expected = nv_text(pin->identity);
    if (view->key == TPM_KEY_NONE)
        return g_strdup("its key is gone from the TPM; was the TPM cleared?");
    g_autofree char *name = view->key_usable ? name_text(&view->key_name) : NULL;
    if (g_strcmp0(name, pin->key_name) != 0)
        return g_strdup("another key stands in its place");
    if (!view->nv.present)
        return g_strdup("its identity record is gone from the TPM");
    if (g_strcmp0(view->nv.text, expected) != 0)
        return g_strdup("its identity record was changed");
    return NULL;
}

static void
find_pinned(uint32_t slot, struct store_record *pin, const struct view *view, struct slot_finding *finding)
{
    g_autofree char *fault = compare_with_pin(pin, view);
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
    struct view view;
    let_go(storage, slot);
    bool settled = settled_by_disk(storage, slot, &pin, finding);
    bool ok = settled || (tpm_open(storage->tpm, error) && open_view(storage, slot, &view, error));
    if (!settled && ok) {
        if (pin.in_use)
            find_pinned(slot, &pin, &view, finding);
        else
            ok = find_unpinned(storage, slot, &view, finding, error);
        close_view(storage, &view);
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
    struct view view;
    let_go(storage, slot);
    if (!store_load_record(storage->store, slot, &pin, error))
        return false;
    if (!pin.in_use || pin.generation != generation) {
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u was changed a moment ago; ask again", slot);
        store_record_clear(&pin);
        return false;
    }
    bool ok = open_view(storage, slot, &view, error);
    g_autofree char *fault = ok ? compare_with_pin(&pin, &view) : NULL;
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

/* ---- finishing and undoing ---- */

static bool
remove_nv(struct slot_tpm *storage, uint32_t slot, const struct identity *identity, bool even_unwritten, GError **error)
{
    struct tpm_nv nv;
    g_autofree char *text = nv_text(identity);
    if (!tpm_nv_look(storage->tpm, NV_INDEX(slot), &nv, error))
        return false;
    bool ours = nv.present && (g_strcmp0(nv.text, text) == 0 ||
                               (even_unwritten && nv.ours && !nv.written && nv.size == strlen(text)));
    tpm_nv_clear(&nv);
    return !ours || tpm_nv_undefine(storage->tpm, NV_INDEX(slot), error);
}

static bool
remove_ours(struct slot_tpm *storage, uint32_t slot, const char *key_name, const struct identity *identity,
            bool even_unwritten, GError **error)
{
    struct tpm_name name;
    if (!text_unhex(key_name, name.bytes, sizeof name.bytes)) {
        error_set(error, ERROR_DAMAGED, "slot %u: a stored key Name is malformed", slot);
        return false;
    }
    return tpm_key_flush_leftovers(storage->tpm, &name, error) &&
           tpm_key_evict(storage->tpm, KEY_HANDLE(slot), &name, error) &&
           remove_nv(storage, slot, identity, even_unwritten, error);
}

/* Once no slot is in use the SRK's pin goes too, so that a cleared TPM can be provisioned afresh. */
static bool
forget_srk_if_unused(struct slot_tpm *storage, GError **error)
{
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++) {
        struct store_record record;
        bool readable = store_load_record(storage->store, slot, &record, NULL), used = readable && record.in_use;
        if (readable)
            store_record_clear(&record);
        if (used || !readable)
            return true;
    }
    return store_remove(storage->store, "srk", error);
}

static bool
finish_clear(struct slot_tpm *storage, uint32_t slot, const struct intent *intent, GError **error)
{
    const struct store_record empty = { .generation = intent->generation };
    return remove_ours(storage, slot, intent->key_name, intent->identity, false, error) &&
           store_save_record(storage->store, slot, &empty, error) && forget_srk_if_unused(storage, error) &&
           intent_remove(storage->store, slot, error);
}

/* The caller of a Provision that was cut short never had an answer: the old state is as good as the new one, and
 * undoing needs nothing that may be missing by now. Where the record was written already, it was done. */
static bool
settle_provision(struct slot_tpm *storage, uint32_t slot, const struct intent *intent, GError **error)
{
    struct store_record record;
    if (!store_load_record(storage->store, slot, &record, error))
        return false;
    bool committed = record.in_use && record.generation == intent->generation;
    store_record_clear(&record);
    if (!committed && !remove_ours(storage, slot, intent->key_name, intent->identity, true, error))
        return false;
    if (!committed && !forget_srk_if_unused(storage, error))
        return false;
    return intent_remove(storage->store, slot, error);
}

static bool
settle(struct slot_tpm *storage, uint32_t slot, GError **error)
{
    struct intent intent;
    bool absent;
    if (!intent_read(storage->store, slot, &intent, &absent, error) || absent)
        return absent;
    bool ok = intent.operation == INTENT_CLEAR ? finish_clear(storage, slot, &intent, error)
                                               : settle_provision(storage, slot, &intent, error);
    intent_clear(&intent);
    return ok;
}

static bool
settle_srk(struct slot_tpm *storage, GError **error)
{
    bool absent;
    if (!intent_find_srk(storage->store, &absent, error))
        return false;
    return absent || (tpm_srk_flush_leftovers(storage->tpm, error) && intent_remove_srk(storage->store, error));
}

/* Settles a slot at attach. What the TPM refuses, a wrong owner password above all, is not tried over and over: only
 * after the TPM was opened anew, or when an administrator clears the slot. False only where the TPM is gone. */
static bool
settle_once(struct slot_tpm *storage, uint32_t slot, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (storage->refused[slot] == tpm_epoch(storage->tpm) || settle(storage, slot, &why))
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
    if (!tpm_open(storage->tpm, error) || !settle_srk(storage, error))
        return false;
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++)
        if (!settle_once(storage, slot, error))
            return false;
    if (!forget_srk_if_unused(storage, error) || !find_srk(storage, &name, &present, error))
        return false;
    medium->srk_name = present ? name_text(&name) : NULL;
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

static bool
make_srk(struct slot_tpm *storage, struct tpm_name *name, GError **error)
{
    if (!intent_write_srk(storage->store, error))
        return false;
    bool made = tpm_srk_make(storage->tpm, name, error);
    /* The same where it was refused: whatever was begun is flushed. A TPM that is gone is looked at when it is back. */
    if (!made && tpm_is_open(storage->tpm))
        settle_srk(storage, NULL);
    return made && intent_remove_srk(storage->store, error);
}

/* The SRK that stands there, pinned; makes one in a TPM that never had any of ours. */
static bool
get_srk(struct slot_tpm *storage, struct tpm_name *name, GError **error)
{
    bool present;
    g_autoptr(GError) why = NULL;
    g_autofree char *pinned = store_load_srk(storage->store, &why);
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (!tpm_srk_find(storage->tpm, name, &present, error))
        return false;
    g_autofree char *found = present ? name_text(name) : NULL;
    if (pinned && g_strcmp0(found, pinned) != 0) {
        error_set(error, ERROR_TPM_FAILED, "the SRK that the other slots are under is gone: the TPM was cleared; clear "
                  "those slots first (hubkeyctl list)");
        return false;
    }
    if (pinned)
        return true;
    if (!present && !make_srk(storage, name, error))
        return false;
    g_autofree char *text = name_text(name);
    return store_save_srk(storage->store, text, error);
}

/* Keys of more than a block are hashed first, as HMAC itself would (RFC 2104 section 2). */
static struct secret *
fit_key(const struct secret *key)
{
    struct secret *fitted = secret_new(TPM_KEY_BYTES_MAX);
    unsigned int len = 0;
    if (key->len <= TPM_KEY_BYTES_MAX) {
        memcpy(fitted->data, key->data, key->len);
        fitted->len = key->len;
    } else {
        if (!EVP_Digest(key->data, key->len, fitted->data, &len, EVP_sha256(), NULL))
            g_error("SHA-256 failed");
        fitted->len = len;
    }
    return fitted;
}

/* One HMAC, compared with the same made in software while the key is still at hand: what arrived is what was sent. */
static bool
prove(struct slot_tpm *storage, uint32_t loaded, const struct secret *key, GError **error)
{
    static const char text[] = "hubkey provisioning proof";
    uint8_t mac[TPM_MAC_BYTES], expected[EVP_MAX_MD_SIZE];
    if (!tpm_key_hmac(storage->tpm, loaded, text, sizeof text, mac, error))
        return false;
    if (!HMAC(EVP_sha256(), key->data, (int)key->len, (const uint8_t *)text, sizeof text, expected, NULL))
        g_error("HMAC failed");
    if (memcmp(mac, expected, sizeof mac) == 0)
        return true;
    error_set(error, ERROR_TPM_FAILED, "the TPM signs wrongly with the key it was given; nothing was changed");
    return false;
}

/* Everything from the intent on. What stands there when it fails is undone by settle. */
static bool
commit_provision(struct slot_tpm *storage, uint32_t slot, const struct intent *intent, const char *srk_name,
                 const struct secret *key, GError **error)
{
    g_autofree char *text = nv_text(intent->identity);
    uint32_t loaded = TPM_KEY_NONE;
    if (!intent_write(storage->store, slot, intent, error))
        return false;
    bool ok = tpm_key_load(storage->tpm, intent->blob, &loaded, error) && prove(storage, loaded, key, error) &&
              tpm_key_persist(storage->tpm, loaded, KEY_HANDLE(slot), error);
    tpm_key_flush(storage->tpm, &loaded);
    const struct store_record record = { .in_use = true, .generation = intent->generation, .identity = intent->identity,
                                         .key_name = intent->key_name, .srk_name = (char *)srk_name };
    return ok && tpm_nv_write(storage->tpm, NV_INDEX(slot), text, error) &&
           store_save_record(storage->store, slot, &record, error) && intent_remove(storage->store, slot, error);
}

/* After a failure: nothing is left of it, or the record was written before and all of it is there. True for the latter. */
static bool
undo_or_accept(struct slot_tpm *storage, uint32_t slot, uint64_t generation)
{
    g_autoptr(GError) error = NULL;
    struct store_record record;
    if (!settle(storage, slot, &error))
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
    g_autoptr(secret_auto) key = fit_key(raw);

    if (!tpm_open(storage->tpm, error) || !check_free(storage, slot, error) ||
        !next_generation(storage, slot, &intent.generation, error) || !get_srk(storage, &srk, error) ||
        !tpm_key_create(storage->tpm, &srk, key, &intent.blob, &name, error))
        return false;
    g_autofree char *srk_name = name_text(&srk);
    intent.identity = identity_copy(identity);
    intent.key_name = name_text(&name);
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
           forget_srk_if_unused(storage, error);
}

/* How much of what the record tells stands in the TPM: 0 to 2, the key and its identity. */
static bool
count_ours(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, unsigned *count, GError **error)
{
    struct view view;
    if (!open_view(storage, slot, &view, error))
        return false;
    g_autofree char *text = nv_text(record->identity);
    g_autofree char *name = view.key_usable ? name_text(&view.key_name) : NULL;
    *count = (g_strcmp0(name, record->key_name) == 0) + (g_strcmp0(view.nv.text, text) == 0);
    close_view(storage, &view);
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
    if (finish_clear(storage, slot, &intent, error))
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
        return reachable && settle(storage, slot, error);
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
