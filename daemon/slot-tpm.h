/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Slots 0 to 9, kept in the TPM as the Windows tool lays them out. What slot-storage.c does with a slot whose record
 * says so, or that has none. Worker thread.
 */
#pragma once

#include "daemon/slot.h"
#include "daemon/store.h"

struct slot_tpm;
struct tpm;

/* Neither store nor tpm become its own. */
struct slot_tpm *slot_tpm_new(struct tpm *tpm, struct store *store);
void slot_tpm_free(struct slot_tpm *storage);

/* Compares the slot with its pin, or says what stands where a slot without one would. */
bool slot_tpm_survey(struct slot_tpm *storage, uint32_t slot, struct store_record *pin, struct slot_finding *finding,
                     GError **error);

/* A key is held open after it was compared with its pin, for a minute at most. */
bool slot_tpm_holds(const struct slot_tpm *storage, uint32_t slot, uint64_t generation);
bool slot_tpm_hold(struct slot_tpm *storage, uint32_t slot, const struct store_record *pin, GError **error);
void slot_tpm_let_go(struct slot_tpm *storage, uint32_t slot);
bool slot_tpm_sign(struct slot_tpm *storage, uint32_t slot, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
                   GError **error);

/* Each all or nothing. */
bool slot_tpm_provision(struct slot_tpm *storage, uint32_t slot, uint64_t generation, const struct identity *identity,
                        const struct secret *key, GError **error);
bool slot_tpm_rotate(struct slot_tpm *storage, uint32_t slot, const struct store_record *record,
                     const struct identity *identity, const struct secret *key, GError **error);
bool slot_tpm_undo(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, GError **error);
bool slot_tpm_adopt(struct slot_tpm *storage, uint32_t slot, uint64_t generation, const struct slot_expected *expected,
                    GError **error);
bool slot_tpm_clear(struct slot_tpm *storage, uint32_t slot, const struct store_record *record, GError **error);
