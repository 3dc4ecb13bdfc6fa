/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The storage root key and HMAC keys under it. Keys are handles of this module (uint32_t, valid for one epoch of the
 * TPM); 0xfff ("none") where nothing is held.
 */
#pragma once

#include "daemon/tpm.h"

#define TPM_KEY_NONE 0xfff
#define TPM_POLICY_BYTES 32
#define TPM_KEY_BYTES_MAX 64 /* of an HMAC-SHA256 key: the block size; longer ones are hashed first (RFC 2104) */

/* The SRK at 0x81000001: its Name, or *present false. Foreign where something else than a restricted decryption key
 * with a SHA-256 name stands there. */
bool tpm_srk_find(struct tpm *tpm, struct tpm_name *name, bool *present, GError **error);

/* Makes the TCG RSA-2048 SRK (template L-1 with 256 zero bytes of unique) and persists it. Needs the owner. */
bool tpm_srk_make(struct tpm *tpm, struct tpm_name *name, GError **error);

/* A killed process can leave a transient SRK, between making and persisting it, and nothing in it tells it from one that
 * a stranger has loaded: the template determines all of it. So the scene is taken before one is made: which run of the
 * TPM it is, and what looks like an SRK in it already. g_free. */
bool tpm_srk_dup_scene(struct tpm *tpm, char **scene, GError **error);
/* Flushes what is left of making one since that scene: in the same run of the TPM, if it alone was not there before.
 * Where two were not, one is a stranger's; both stay, until the TPM is reset. */
bool tpm_srk_flush_leftovers(struct tpm *tpm, const char *scene, GError **error);

/* TPM2_Create of an HMAC-SHA256 key under the SRK whose Name is srk. The key crosses encrypted in a session salted to
 * exactly that SRK. policy, where not NULL, is TPM_POLICY_BYTES that become its authPolicy. *blob is public and private
 * area, for tpm_key_load. */
bool tpm_key_create(struct tpm *tpm, const struct tpm_name *srk, const struct secret *key, const uint8_t *policy,
                    GBytes **blob, struct tpm_name *name, GError **error);

/* Whether the public area in a blob has exactly this authPolicy. The TPM itself refuses to load a private area with any
 * other public area than the one it was made with. */
bool tpm_key_has_policy(GBytes *blob, const uint8_t policy[TPM_POLICY_BYTES]);
bool tpm_key_load(struct tpm *tpm, GBytes *blob, uint32_t *key, GError **error);
void tpm_key_flush(struct tpm *tpm, uint32_t *key); /* what tpm_key_load gave */

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
