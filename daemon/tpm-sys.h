/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The commands of every day by the System API, on the context that ESYS has underneath: authorised by an empty
 * password or by nobody, they need nothing that ESYS keeps of an object. That is its Name above all, for which ESYS
 * sets up all of libcrypto, half a millisecond and 2 MB. One command each; the caller repeats with tpm_again.
 */
#pragma once

#include "daemon/tpm-esys.h"

/* Whether key is a handle of the TPM's own, as tpm_sys_load gives, and no record of ESYS. */
bool tpm_sys_is_handle(uint32_t key);

TSS2_RC tpm_sys_load(struct tpm *tpm, TPM2_HANDLE parent, const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private,
                     TPM2_HANDLE *handle);
TSS2_RC tpm_sys_read_public(struct tpm *tpm, TPM2_HANDLE handle, TPM2B_PUBLIC *public);
TSS2_RC tpm_sys_hmac(struct tpm *tpm, TPM2_HANDLE key, const TPM2B_MAX_BUFFER *data, TPM2B_DIGEST *mac);
