/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-table.h"
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

static void
empty_slot(struct slot *slot)
{
    g_free(slot->reason);
    identity_free(slot->identity);
    g_free(slot->resource);
    g_free(slot->tpm_name);
    *slot = (struct slot){ .number = slot->number, .generation = slot->generation };
}

static void
fill_slot(struct slot *slot, struct slot_finding *finding)
{
    empty_slot(slot);
    slot->state = finding->state;
    slot->generation = finding->generation;
    slot->reason = g_steal_pointer(&finding->reason);
    slot->identity = g_steal_pointer(&finding->identity);
    slot->tpm_name = g_steal_pointer(&finding->tpm_name);
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

void
slots_apply(struct slots *slots, uint32_t number, struct slot_finding *finding)
{
    struct slot *slot = &slots->table[number];
    if (same(slot, finding))
        return;
    bool was_there = slot->state != SLOT_EMPTY, was_ready = slot->state == SLOT_READY;
    bool new_generation = slot->generation != finding->generation;
    fill_slot(slot, finding);
    log_state(slot);
    bool there = slot->state != SLOT_EMPTY;
    if (new_generation || (was_ready && slot->state != SLOT_READY))
        slots->hooks->invalidated(number, slot->generation, slots->user);
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

struct slots *
slots_new(const struct slot_ops *ops, void *storage, struct worker *worker, const struct slots_hooks *hooks, void *user)
{
    struct slots *slots = g_new0(struct slots, 1);
    slots->ops = ops;
    slots->storage = storage;
    slots->worker = worker;
    slots->hooks = hooks;
    slots->user = user;
    slots->table = g_new0(struct slot, ops->count);
    slots->rechecking = g_new0(bool, ops->count);
    slots->doubted_us = g_new0(int64_t, ops->count);
    for (uint32_t number = 0; number < ops->count; number++) {
        struct slot_finding finding = { 0 };
        slots->table[number].number = number;
        ops->load(storage, number, &finding);
        fill_slot(&slots->table[number], &finding);
    }
    slots_attach(slots);
    return slots;
}

void
slots_free(struct slots *slots)
{
    if (!slots)
        return;
    for (uint32_t number = 0; number < slots->ops->count; number++)
        empty_slot(&slots->table[number]);
    if (slots->retry) {
        g_source_destroy(slots->retry);
        g_source_unref(slots->retry);
    }
    g_free(slots->table);
    g_free(slots->rechecking);
    g_free(slots->doubted_us);
    g_free(slots->srk_name);
    g_free(slots);
}

const struct slot *
slots_get(const struct slots *slots, uint32_t number)
{
    return number < slots->ops->count && slots->table[number].state != SLOT_EMPTY ? &slots->table[number] : NULL;
}

const struct slot *
slots_next(const struct slots *slots, uint32_t number)
{
    for (; number < slots->ops->count; number++)
        if (slots->table[number].state != SLOT_EMPTY)
            return &slots->table[number];
    return NULL;
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
