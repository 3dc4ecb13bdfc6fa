/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Slots 0 to 9, kept in the TPM as the Windows tool lays them out: HMAC key persistent at 0x81000100 + N, identity in
 * NV index 0x01400100 + N.
 */
#pragma once

#include "daemon/slot.h"

struct slot_tpm;
struct store;
struct tpm;

extern const struct slot_ops slot_tpm_ops;

/* Neither store nor tpm become its own. */
struct slot_tpm *slot_tpm_new(struct tpm *tpm, struct store *store);
void slot_tpm_free(struct slot_tpm *storage);
