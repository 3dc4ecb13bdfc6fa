/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-table.h"
#include "daemon/worker.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

const char *
slot_state_name(enum slot_state state)
{
    static const char *const names[] = {
        [SLOT_EMPTY] = "",         [SLOT_READY] = "ready",       [SLOT_FOUND] = "found",   [SLOT_PENDING] = "pending",
        [SLOT_TAMPERED] = "tampered", [SLOT_DAMAGED] = "damaged", [SLOT_FOREIGN] = "foreign",
    };
    return names[state];
}

const char *
slot_tpm_state_name(enum slot_tpm_state state)
{
    static const char *const names[] = {
        [SLOT_TPM_STARTING] = "starting", [SLOT_TPM_READY] = "ready",     [SLOT_TPM_ABSENT] = "absent",
        [SLOT_TPM_FAILED] = "failed",     [SLOT_TPM_CLEARED] = "cleared",
    };
    return names[state];
}

void
slot_finding_clear(struct slot_finding *finding)
{
    g_free(finding->reason);
    identity_free(finding->identity);
    g_free(finding->tpm_name);
    *finding = (struct slot_finding){ 0 };
}

/* ---- the table: sorted by number, slots that are not empty ---- */

/* Where the slot stands, or would. */
static guint
place_of(const struct slots *slots, uint32_t number)
{
    guint low = 0, high = slots->table->len;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (((const struct slot *)slots->table->pdata[middle])->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct slot *
slots_find(const struct slots *slots, uint32_t number)
{
    guint place = place_of(slots, number);
    struct slot *slot = place < slots->table->len ? slots->table->pdata[place] : NULL;
    return slot && slot->number == number ? slot : NULL;
}

static void
forget_contents(struct slot *slot)
{
    g_free(slot->reason);
    identity_free(slot->identity);
    g_free(slot->resource);
    g_free(slot->tpm_name);
}

static void
free_slot(gpointer slot)
{
    forget_contents(slot);
    g_free(slot);
}

static void
fill_slot(struct slot *slot, struct slot_finding *finding)
{
    forget_contents(slot);
    slot->state = finding->state;
    slot->generation = finding->generation;
    slot->file = finding->file;
    slot->can_undo = finding->can_undo;
    slot->reason = g_steal_pointer(&finding->reason);
    slot->identity = g_steal_pointer(&finding->identity);
    slot->tpm_name = g_steal_pointer(&finding->tpm_name);
    slot->resource = NULL;
    if (slot->state == SLOT_READY) {
        g_autofree char *plain = identity_resource(slot->identity);
        slot->resource = text_percent(plain);
    }
}

static bool
same(const struct slot *slot, const struct slot_finding *finding)
{
    bool identities = !slot->identity == !finding->identity &&
                      (!slot->identity || identity_equal(slot->identity, finding->identity));
    return slot->state == finding->state && slot->generation == finding->generation && identities &&
           slot->file == finding->file && slot->can_undo == finding->can_undo &&
           g_strcmp0(slot->reason, finding->reason) == 0 && g_strcmp0(slot->tpm_name, finding->tpm_name) == 0;
}

static void
log_state(const struct slot *slot)
{
    const char *state = slot->state == SLOT_EMPTY ? "empty" : slot_state_name(slot->state);
    GLogLevelFlags level = slot->state == SLOT_READY || slot->state == SLOT_EMPTY || slot->state == SLOT_FOUND
                               ? G_LOG_LEVEL_INFO
                               : G_LOG_LEVEL_WARNING;
    g_log(G_LOG_DOMAIN, level, "slot %u is %s%s%s", slot->number, state, slot->reason ? ": " : "",
          slot->reason ? slot->reason : "");
}

static struct slot *
add_slot(struct slots *slots, uint32_t number, struct slot_finding *finding)
{
    struct slot *slot = g_new0(struct slot, 1);
    slot->number = number;
    fill_slot(slot, finding);
    g_ptr_array_insert(slots->table, (gint)place_of(slots, number), slot);
    return slot;
}

void
slots_apply(struct slots *slots, uint32_t number, struct slot_finding *finding)
{
    struct slot *slot = slots_find(slots, number);
    bool was_there = slot, was_ready = slot && slot->state == SLOT_READY, there = finding->state != SLOT_EMPTY;
    if (slot ? same(slot, finding) : !there)
        return;
    uint64_t generation = finding->generation;
    bool invalid = was_there ? slot->generation != generation || (was_ready && finding->state != SLOT_READY)
                             : finding->state == SLOT_READY;
    if (was_there)
        fill_slot(slot, finding);
    else
        slot = add_slot(slots, number, finding);
    log_state(slot);
    if (!there)
        g_ptr_array_remove_index(slots->table, place_of(slots, number));
    if (invalid)
        slots->hooks->invalidated(number, generation, slots->user);
    if (was_there != there)
        slots->hooks->appeared(number, there, slots->user);
    else
        slots->hooks->changed(number, slots->user);
}

void
slots_set_tpm_state(struct slots *slots, enum slot_tpm_state state, const char *why)
{
    if (slots->tpm_state == state)
        return;
    slots->tpm_state = state;
    g_log(G_LOG_DOMAIN, state == SLOT_TPM_READY ? G_LOG_LEVEL_INFO : G_LOG_LEVEL_WARNING, "the TPM is %s%s%s",
          slot_tpm_state_name(state), why ? ": " : "", why ? why : "");
    slots->hooks->tpm_changed(slots->user);
}

/* Every slot's HardwareDeviceId comes from it. */
void
slots_set_srk(struct slots *slots, char *srk_name)
{
    bool other = g_strcmp0(slots->srk_name, srk_name) != 0;
    g_free(slots->srk_name);
    slots->srk_name = srk_name;
    for (const struct slot *slot = slots_next(slots, 0); other && slot; slot = slots_next(slots, slot->number + 1))
        slots->hooks->changed(slot->number, slots->user);
}

static void
take_loaded(uint32_t number, struct slot_finding *finding, void *user)
{
    if (finding->state != SLOT_EMPTY)
        add_slot(user, number, finding);
}

struct slots *
slots_new(const struct slot_ops *ops, void *storage, struct worker *worker, const struct slots_hooks *hooks, void *user,
          GError **error)
{
    struct slots *slots = g_new0(struct slots, 1);
    slots->ops = ops;
    slots->storage = storage;
    slots->worker = worker;
    slots->hooks = hooks;
    slots->user = user;
    slots->table = g_ptr_array_new_with_free_func(free_slot);
    slots->rechecking = g_hash_table_new(NULL, NULL);
    slots->not_adopted = g_hash_table_new(NULL, NULL);
    if (!ops->load_all(storage, take_loaded, slots, error)) {
        slots_free(slots);
        return NULL;
    }
    worker_on_idle(worker, ops->idle, storage);
    slots_attach(slots);
    return slots;
}

void
slots_free(struct slots *slots)
{
    if (!slots)
        return;
    if (slots->retry) {
        g_source_destroy(slots->retry);
        g_source_unref(slots->retry);
    }
    g_ptr_array_unref(slots->table);
    g_hash_table_destroy(slots->rechecking);
    g_hash_table_destroy(slots->not_adopted);
    g_free(slots->srk_name);
    g_free(slots);
}

const struct slot *
slots_get(const struct slots *slots, uint32_t number)
{
    return slots_find(slots, number);
}

const struct slot *
slots_next(const struct slots *slots, uint32_t number)
{
    guint place = place_of(slots, number);
    return place < slots->table->len ? slots->table->pdata[place] : NULL;
}

bool
slots_any_pending(const struct slots *slots)
{
    for (const struct slot *slot = slots_next(slots, 0); slot; slot = slots_next(slots, slot->number + 1))
        if (slot->state == SLOT_PENDING)
            return true;
    return false;
}

unsigned
slots_in_use(const struct slots *slots)
{
    return slots->table->len;
}

enum slot_tpm_state
slots_tpm_state(const struct slots *slots)
{
    return slots->tpm_state;
}

const char *
slots_srk_name(const struct slots *slots)
{
    return slots->srk_name;
}

char *
slot_hardware_id(uint32_t number, const char *srk_name)
{
    uint8_t name[34];
    if (!srk_name || !text_unhex(srk_name, name, sizeof name))
        return g_strdup("");
    const uint8_t little_endian[4] = { (uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
                                       (uint8_t)(number >> 24) };
    g_autoptr(GChecksum) sha256 = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sha256, little_endian, sizeof little_endian);
    g_checksum_update(sha256, name, sizeof name);
    return g_strdup(g_checksum_get_string(sha256));
}

static enum error_code
state_error(enum slot_state state)
{
    switch (state) {
    case SLOT_TAMPERED:
        return ERROR_TAMPERED;
    case SLOT_DAMAGED:
        return ERROR_DAMAGED;
    case SLOT_FOREIGN:
        return ERROR_FOREIGN;
    default:
        return ERROR_NOT_PROVISIONED;
    }
}

bool
slots_check_ready(const struct slots *slots, uint32_t number, GError **error)
{
    const struct slot *slot = slots_get(slots, number);
    if (!slot) {
        error_set(error, ERROR_NOT_PROVISIONED, "slot %u is empty; put a key in with: hubkeyctl provision %u", number,
                  number);
        return false;
    }
    if (slot->state != SLOT_READY) {
        error_set(error, state_error(slot->state), "slot %u is %s: %s", number, slot_state_name(slot->state),
                  slot->reason ? slot->reason : "");
        return false;
    }
    return true;
}

bool
slots_sign(struct slots *slots, uint32_t number, uint64_t generation, const void *data, size_t len,
           uint8_t mac[SLOT_MAC_BYTES], GError **error)
{
    return slots->ops->sign(slots->storage, number, generation, data, len, mac, error);
}
