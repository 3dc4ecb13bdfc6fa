/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Changes of a slot in the TPM that an intent stands for: carrying them out from the intent on, and finishing or
 * undoing what a crash cut short. Each function can be called again at any point of its own work. Worker thread.
 */
#pragma once

#include "daemon/intent.h"
#include "daemon/tpm.h"

/* From the intent (which is on disk) to the record. *loaded is the key made, already in the TPM, or TPM_KEY_NONE; it
 * is flushed as soon as it is persistent, while the intent still tells whose it is. */
bool slot_settle_provision(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent,
                           const char *srk_name, uint32_t *loaded, GError **error);
bool slot_settle_rotate(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent,
                        uint32_t *loaded, GError **error);
bool slot_settle_clear(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent,
                       GError **error);

/* Whatever intent of the slot is open: a provisioning is undone, a clearing finished, a rotation undone where nothing
 * was changed yet and else finished. True also where none is open. */
bool slot_settle_open(struct tpm *tpm, struct store *store, uint32_t slot, GError **error);

/* After a change that ended with ok: where it failed, nothing is left of it, or the record was written before and all
 * of it is there - true then, and error is cleared. What cannot be undone now is when the TPM answers. */
bool slot_settle_result(struct tpm *tpm, struct store *store, uint32_t slot, uint64_t generation, bool ok,
                        GError **error);
