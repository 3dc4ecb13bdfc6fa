/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Storage as the slot table knows it: reads a slot's record, and lets the TPM's or the files' side do the work.
 */
#pragma once

#include "daemon/slot.h"

struct slot_storage;
struct store;
struct tpm;

extern const struct slot_ops slot_storage_ops;

/* Neither store nor tpm become its own. */
struct slot_storage *slot_storage_new(struct tpm *tpm, struct store *store);
void slot_storage_free(struct slot_storage *storage);
