/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Making a key: the storage root key it goes under, its wrapped blob, and the proof that the TPM signs right with it.
 * Worker thread.
 */
#pragma once

#include "daemon/store.h"
#include "daemon/tpm-key.h"

/* The SRK in the TPM as hex of its Name; NULL without error where there is none, or another program's object stands in
 * its place. */
bool slot_key_find_srk(struct tpm *tpm, char **srk_name, GError **error);

/* The same SRK for every key: the pinned one; in a TPM that never had a key of ours the one that stands there, or one
 * that is made now. *srk_name is hex. */
bool slot_key_get_srk(struct tpm *tpm, struct store *store, char **srk_name, GError **error);

/* Tells the TPM's side which SRK is pinned (hex, NULL for none), for what is protected by it. */
void slot_key_pin_srk(struct tpm *tpm, const char *pinned);

/* Flushes what a crash left of making an SRK. Where the intent is damaged nobody knows what that is: it is told in the
 * log, the file is set aside, and true. */
bool slot_key_settle_srk(struct tpm *tpm, struct store *store, GError **error);

/* Once no slot is in use the SRK's pin goes too, so that a cleared TPM can be provisioned afresh. */
bool slot_key_forget_srk_if_unused(struct store *store, GError **error);

/* Keys of more than a block are hashed first, as HMAC itself would (RFC 2104 section 2). */
struct secret *slot_key_fit(const struct secret *raw);

/* Makes a key: made->name and made->blob. identity stays as it is. policy as in tpm_key_create. */
bool slot_key_create(struct tpm *tpm, const char *srk_name, const struct secret *key, const uint8_t *policy,
                     struct store_key *made, GError **error);

/* Loads made->blob and lets it sign: compared with the same signature made in software where key is not NULL. */
bool slot_key_load(struct tpm *tpm, const struct store_key *made, const struct secret *key, uint32_t *loaded,
                   GError **error);

/* A TPM Name from its hex; Damaged where it is none. */
bool slot_key_parse_name(const char *hex, struct tpm_name *name, GError **error);
