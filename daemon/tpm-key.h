/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * HMAC keys under the storage root key. Keys are handles of this module (uint32_t, valid for one epoch of the
 * TPM); 0xfff ("none") where nothing is held.
 */
#pragma once

#include "daemon/tpm.h"

#define TPM_KEY_NONE 0xfff
#define TPM_POLICY_BYTES 32
#define TPM_KEY_BYTES_MAX 64 /* of an HMAC-SHA256 key: the block size; longer ones are hashed first (RFC 2104) */

/* TPM2_Create of an HMAC-SHA256 key under the SRK whose Name is srk. The key crosses encrypted in a session salted to
 * exactly that SRK. policy, where not NULL, is TPM_POLICY_BYTES that become its authPolicy. *blob is public and private
 * area, for tpm_key_load. */
bool tpm_key_create(struct tpm *tpm, const struct tpm_name *srk, const struct secret *key, const uint8_t *policy,
                    GBytes **blob, struct tpm_name *name, GError **error);

/* Whether the public area in a blob has exactly this authPolicy. The TPM itself refuses to load a private area with any
 * other public area than the one it was made with. */
bool tpm_key_has_policy(GBytes *blob, const uint8_t policy[TPM_POLICY_BYTES]);
bool tpm_key_load(struct tpm *tpm, GBytes *blob, uint32_t *key, GError **error);

/* The same in one command, for a key that is only to be signed with. */
bool tpm_key_load_to_sign(struct tpm *tpm, GBytes *blob, uint32_t *key, GError **error);
/* Flushes what either gave, or nothing for TPM_KEY_NONE, which *key is then. False where the TPM refused, so that it
 * may still be loaded; what is gone already is fine, and so is a TPM that is not open. */
bool tpm_key_flush(struct tpm *tpm, uint32_t *key, GError **error);

/* A persistent key: *key is TPM_KEY_NONE where nothing stands at handle, else usable is whether it is an unrestricted
 * HMAC-SHA256 signing key. */
bool tpm_key_open(struct tpm *tpm, uint32_t handle, uint32_t *key, struct tpm_name *name, bool *usable, GError **error);
void tpm_key_close(struct tpm *tpm, uint32_t *key); /* what tpm_key_open gave */

/* TPM2_EvictControl of a loaded key to a free persistent handle. Needs the owner. */
bool tpm_key_persist(struct tpm *tpm, uint32_t key, uint32_t handle, GError **error);

/* Evicts what stands at handle if, and only if, it carries name; done is also what was not there. */
bool tpm_key_evict(struct tpm *tpm, uint32_t handle, const struct tpm_name *name, GError **error);

/* Flushes transient objects that carry name: what a killed process of ours left in a TPM without resource manager. */
bool tpm_key_flush_leftovers(struct tpm *tpm, const struct tpm_name *name, GError **error);

/* The Names of transient HMAC keys with a policy, ours or others': of struct tpm_name, NULL on error. */
GArray *tpm_key_list_transient(struct tpm *tpm, GError **error);

/* HMAC-SHA256, any length of data, with the key's empty authorisation. */
bool tpm_key_hmac(struct tpm *tpm, uint32_t key, const void *data, size_t len, uint8_t mac[TPM_MAC_BYTES],
                  GError **error);
