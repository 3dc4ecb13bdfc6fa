/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-object.h"
#include "daemon/tpm-sys.h"
#include "common/error.h"

#include <string.h>

#include <tss2/tss2_mu.h>

/* tss2's own TPM2_TRANSIENT_FIRST shifts a bit into the sign of an int. */
#define TRANSIENT_FIRST ((TPM2_HANDLE)TPM2_HT_TRANSIENT << TPM2_HR_SHIFT)

typedef TPM2B_NAME esys_name;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_name, Esys_Free)
typedef TPMS_CAPABILITY_DATA esys_capability;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_capability, Esys_Free)

/* Name = algorithm identifier and digest of the public area (Part 1, 16). ESYS computes it, too, but
 * sets up all of libcrypto anew for that, half a millisecond and 2 MB that else nothing needs. */
void
tpm_object_name_of(const TPM2B_PUBLIC *public, struct tpm_name *name)
{
    uint8_t area[sizeof(TPMT_PUBLIC)];
    size_t used = 0, digest_len = TPM_NAME_BYTES - 2;
    if (Tss2_MU_TPMT_PUBLIC_Marshal(&public->publicArea, area, sizeof area, &used) != TSS2_RC_SUCCESS)
        g_error("a public area of the TPM does not fit its own type");
    g_autoptr(GChecksum) sha256 = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sha256, area, (gssize)used);
    name->bytes[0] = TPM2_ALG_SHA256 >> 8;
    name->bytes[1] = TPM2_ALG_SHA256 & 0xff;
    g_checksum_get_digest(sha256, name->bytes + 2, &digest_len);
}

bool
tpm_object_get_name(struct tpm *tpm, ESYS_TR object, struct tpm_name *name, GError **error)
{
    g_autoptr(esys_name) found = NULL;
    if (!tpm_check(tpm, Esys_TR_GetName(tpm->esys, object, &found), "reading an object's Name", error))
        return false;
    if (found->size != TPM_NAME_BYTES) {
        error_set(error, ERROR_FOREIGN, "an object in the TPM has a Name of %u bytes; hubkey uses SHA-256 names only",
                  found->size);
        return false;
    }
    memcpy(name->bytes, found->name, TPM_NAME_BYTES);
    return true;
}

bool
tpm_object_read_public(struct tpm *tpm, ESYS_TR object, TPM2B_PUBLIC **public, GError **error)
{
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_ReadPublic(tpm->esys, object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, public, NULL, NULL);
    while (tpm_again(tpm, &retry, rc));
    return tpm_check(tpm, rc, "TPM2_ReadPublic", error);
}

bool
tpm_object_persist(struct tpm *tpm, ESYS_TR owner, ESYS_TR object, TPM2_HANDLE handle, GError **error)
{
    ESYS_TR persistent = ESYS_TR_NONE;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, object, owner, ESYS_TR_NONE, ESYS_TR_NONE, handle,
                               &persistent);
    while (tpm_again(tpm, &retry, rc));
    if (!tpm_check(tpm, rc, "TPM2_EvictControl to a persistent handle", error))
        return false;
    tpm_forget(tpm, &persistent);
    return true;
}

/* A hash sequence has no public area (Part 3, 12.4), and what its owner flushed a moment ago is gone. */
static bool
read_transient(struct tpm *tpm, TPM2_HANDLE handle, TPM2B_PUBLIC *public, bool *absent, GError **error)
{
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = tpm_sys_read_public(tpm, handle, public);
    while (tpm_again(tpm, &retry, rc));
    *absent = tpm_is_absent(rc) || (tpm_refused(rc) && tpm_code(rc) == TPM2_RC_SEQUENCE);
    return *absent || tpm_check(tpm, rc, "TPM2_ReadPublic of a transient object", error);
}

bool
tpm_object_each(struct tpm *tpm, tpm_object_fn visit, void *data, GError **error)
{
    g_autoptr(esys_capability) handles = NULL;
    TPMI_YES_NO more;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES,
                                TRANSIENT_FIRST, TPM2_MAX_CAP_HANDLES, &more, &handles);
    while (tpm_again(tpm, &retry, rc));
    if (!tpm_check(tpm, rc, "TPM2_GetCapability of transient handles", error))
        return false;
    for (UINT32 i = 0; i < handles->data.handles.count; i++) {
        TPM2_HANDLE handle = handles->data.handles.handle[i];
        TPM2B_PUBLIC public;
        bool absent;
        if (!read_transient(tpm, handle, &public, &absent, error) ||
            (!absent && !visit(tpm, handle, &public, data, error)))
            return false;
    }
    return true;
}
