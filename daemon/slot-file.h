/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Slots whose key is a blob in their record, wrapped under the SRK and loaded when it is needed. Their number is not
 * bounded by the TPM. Identity and key belong together by the key's authPolicy, a digest of both that nothing can
 * satisfy: TPM2_Load refuses a key whose public area says anything else than what it was made with (Part 1, 27.5.3).
 * Possession of blob and TPM is the right to sign; a password beside the blob would protect nothing. Worker thread.
 */
#pragma once

#include "daemon/slot.h"
#include "daemon/store.h"

struct slot_file;
struct tpm;

struct slot_file *slot_file_new(struct tpm *tpm, struct store *store);
void slot_file_free(struct slot_file *storage);

/* The SRK that stands in the TPM (hex, NULL where there is none), once it has been looked at. */
void slot_file_know_srk(struct slot_file *storage, const char *srk_name);

/* Flushes keys of ours that are loaded although nobody holds them: hubkeyd was killed, or lost the TPM, meanwhile.
 * Where there is no resource manager each would fill one of the three places that many a TPM has. Once in an epoch, and
 * again where a key could not be let go. */
bool slot_file_sweep(struct slot_file *storage, GError **error);

/* Ready or damaged: what disk tells, identity against the key's policy; the SRK where it is known; and the TPM's own
 * word where it refused to load the key before. */
void slot_file_survey(struct slot_file *storage, uint32_t slot, const struct store_record *record,
                      struct slot_finding *finding);

/* At most one key is loaded, and none while nothing is asked for: slot_file_let_go. */
bool slot_file_holds(const struct slot_file *storage, uint32_t slot, uint64_t generation);
bool slot_file_hold(struct slot_file *storage, uint32_t slot, const struct store_record *record, GError **error);
void slot_file_let_go(struct slot_file *storage);
bool slot_file_sign(struct slot_file *storage, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
                    GError **error);

/* Each all or nothing. */
bool slot_file_provision(struct slot_file *storage, uint32_t slot, uint64_t generation, const struct identity *identity,
                         const struct secret *key, GError **error);
bool slot_file_rotate(struct slot_file *storage, uint32_t slot, const struct store_record *record,
                      const struct identity *identity, const struct secret *key, GError **error);
bool slot_file_undo(struct slot_file *storage, uint32_t slot, const struct store_record *record, GError **error);
bool slot_file_clear(struct slot_file *storage, uint32_t slot, const struct store_record *record, GError **error);
