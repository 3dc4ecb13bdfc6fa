/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * ProtectBus=always: what a signature crosses in. The salt is encrypted to the SRK whose Name was pinned at
 * provisioning, so only the TPM that has it knows the session's key; with that it proves each answer and encrypts the
 * signature in it (Part 1, 19 and 21).
 */
#include <config.h>

#include "daemon/tpm-esys.h"
#include "common/error.h"

#include <string.h>

void
tpm_protect_bus(struct tpm *tpm, bool always)
{
    tpm->protect_bus = always;
}

void
tpm_pin_srk(struct tpm *tpm, const struct tpm_name *name)
{
    tpm->srk_pinned = name != NULL;
    if (name)
        tpm->srk_pin = *name;
    tpm_forget(tpm, &tpm->srk);
}

/* ESYS computes the Name from the public area itself, so what stands on the way cannot give us another key to salt
 * to. */
static bool
compare(struct tpm *tpm, ESYS_TR srk, GError **error)
{
    TPM2B_NAME *name = NULL;
    if (!tpm_check(tpm, Esys_TR_GetName(tpm->esys, srk, &name), "reading the Name of the SRK", error))
        return false;
    bool same = name->size == TPM_NAME_BYTES && memcmp(name->name, tpm->srk_pin.bytes, TPM_NAME_BYTES) == 0;
    Esys_Free(name);
    if (!same)
        error_set(error, ERROR_TPM_FAILED, "the SRK at 0x%08x is not the one that hubkeyd pinned, so no session can be "
                  "protected by it (ProtectBus=always); was the TPM cleared?", TPM_SRK_HANDLE);
    return same;
}

static bool
hold_srk(struct tpm *tpm, GError **error)
{
    ESYS_TR srk;
    if (tpm->srk != ESYS_TR_NONE)
        return true;
    if (!tpm->srk_pinned) {
        error_set(error, ERROR_TPM_FAILED, "no SRK is pinned that a session could be protected by (ProtectBus=always)");
        return false;
    }
    if (!tpm_look_up(tpm, TPM_SRK_HANDLE, &srk, error))
        return false;
    if (srk == ESYS_TR_NONE) {
        error_set(error, ERROR_TPM_FAILED, "the SRK at 0x%08x is gone, so no session can be protected by it "
                  "(ProtectBus=always); was the TPM cleared?", TPM_SRK_HANDLE);
        return false;
    }
    if (!compare(tpm, srk, error)) {
        tpm_forget(tpm, &srk);
        return false;
    }
    tpm->srk = srk;
    return true;
}

bool
tpm_protect_begin(struct tpm *tpm, bool kept, ESYS_TR *session, GError **error)
{
    *session = ESYS_TR_PASSWORD;
    if (!tpm->protect_bus)
        return true;
    /* A sequence's commands before the last have nothing that could be encrypted in their answers. */
    TPMA_SESSION attributes = kept ? TPMA_SESSION_CONTINUESESSION : TPMA_SESSION_ENCRYPT;
    *session = ESYS_TR_NONE;
    if (hold_srk(tpm, error) && tpm_session_start(tpm, tpm->srk, attributes, session, error))
        return true;
    if (tpm_is_open(tpm))
        tpm_forget(tpm, &tpm->srk);
    return false;
}

bool
tpm_protect_check(struct tpm *tpm, ESYS_TR session, TSS2_RC rc, const char *what, GError **error)
{
    if (session == ESYS_TR_PASSWORD)
        return tpm_check_auth(tpm, rc, what, "the key has a password, which hubkeyd gives none of its own", error);
    if (rc != TSS2_RC_SUCCESS)
        tpm_forget(tpm, &tpm->srk);
    return tpm_check_auth(tpm, rc, what, "it does not know the key of the session (ProtectBus=always): another SRK "
                          "stands in it, or what crosses is changed on its way", error);
}
