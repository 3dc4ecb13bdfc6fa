/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Finishing or undoing what an intent says was begun. Each function can be called again at any point of its own work.
 * Worker thread.
 */
#pragma once

#include "daemon/intent.h"
#include "daemon/tpm.h"

/* Removes what the intent names, from the TPM and from disk. */
bool slot_settle_clear(struct tpm *tpm, struct store *store, uint32_t slot, const struct intent *intent, GError **error);

/* Whatever intent of the slot is open: a clearing is finished, a provisioning undone. True also where none is open. */
bool slot_settle_open(struct tpm *tpm, struct store *store, uint32_t slot, GError **error);
