/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What making a key takes: the storage root key it goes under and the SRK's pin, and the proof that the TPM signs right
 * with what it was given. Worker thread.
 */
#pragma once

#include "daemon/slot.h"
#include "daemon/store.h"
#include "daemon/tpm-key.h"

/* Hex of a TPM Name; g_free. */
char *slot_key_name_text(const struct tpm_name *name);

/* The SRK; not present also where another program's object stands in its place. */
bool slot_key_find_srk(struct tpm *tpm, struct tpm_name *name, bool *present, GError **error);

/* The SRK that stands there, pinned; makes one in a TPM that never had any of ours. */
bool slot_key_get_srk(struct tpm *tpm, struct store *store, struct tpm_name *name, GError **error);

/* Flushes what a crash left of making an SRK. */
bool slot_key_settle_srk(struct tpm *tpm, struct store *store, GError **error);

/* Once no slot is in use the SRK's pin goes too, so that a cleared TPM can be provisioned afresh. */
bool slot_key_forget_srk_if_unused(struct store *store, GError **error);

/* Keys of more than a block are hashed first, as HMAC itself would (RFC 2104 section 2). The caller frees. */
struct secret *slot_key_fit(const struct secret *key);

/* One HMAC, compared with the same made in software while the key is still at hand: what arrived is what was sent. */
bool slot_key_prove(struct tpm *tpm, uint32_t loaded, const struct secret *key, GError **error);
