/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-nv.h"
#include "daemon/tpm-esys.h"
#include "common/error.h"

#include <string.h>

#define OUR_ATTRIBUTES (TPMA_NV_OWNERWRITE | TPMA_NV_AUTHREAD | TPMA_NV_WRITEDEFINE | TPMA_NV_NO_DA)
#define READABLE (TPMA_NV_AUTHREAD | TPMA_NV_NO_DA)
#define STATE_ATTRIBUTES (TPMA_NV_WRITTEN | TPMA_NV_WRITELOCKED | TPMA_NV_READLOCKED)

typedef TPM2B_NV_PUBLIC esys_nv_public;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_nv_public, Esys_Free)
typedef TPM2B_MAX_NV_BUFFER esys_nv_buffer;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_nv_buffer, Esys_Free)

void
tpm_nv_clear(struct tpm_nv *nv)
{
    g_free(nv->text);
    *nv = (struct tpm_nv){ 0 };
}

static bool
read_public(struct tpm *tpm, ESYS_TR index, struct tpm_nv *nv, GError **error)
{
    g_autoptr(esys_nv_public) public = NULL;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_NV_ReadPublic(tpm->esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL);
    while (tpm_again(tpm, &retry, rc));
    if (!tpm_check(tpm, rc, "TPM2_NV_ReadPublic", error))
        return false;
    TPMA_NV attributes = public->nvPublic.attributes;
    nv->ours = (attributes & ~(TPMA_NV)STATE_ATTRIBUTES) == OUR_ATTRIBUTES;
    nv->written = attributes & TPMA_NV_WRITTEN;
    nv->locked = attributes & TPMA_NV_WRITELOCKED;
    nv->size = public->nvPublic.dataSize;
    nv->readable = (attributes & READABLE) == READABLE && !(attributes & TPMA_NV_READLOCKED);
    return true;
}

static bool
is_forbidden(TSS2_RC code)
{
    static const TSS2_RC codes[] = { TPM2_RC_BAD_AUTH,         TPM2_RC_AUTH_FAIL, TPM2_RC_AUTH_UNAVAILABLE,
                                     TPM2_RC_AUTH_TYPE,        TPM2_RC_NV_LOCKED, TPM2_RC_NV_AUTHORIZATION,
                                     TPM2_RC_NV_UNINITIALIZED };
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* By the index's own empty authorisation: the owner may not read Windows' indices. A stranger's may have a password; on
 * one that is guarded against guessing (without NO_DA) a wrong one would bring the TPM nearer to its lockout, so that
 * is not even tried. Where reading is forbidden the text just stays unknown; any other refusal says nothing about what
 * the index holds. At most TPM_NV_TEXT_MAX bytes, which every TPM reads at once (TPM_PT_NV_BUFFER_MAX >= 512). */
static bool
read_text(struct tpm *tpm, ESYS_TR index, struct tpm_nv *nv, GError **error)
{
    g_autoptr(esys_nv_buffer) data = NULL;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    if (!nv->readable || !nv->written || nv->size < 1 || nv->size > TPM_NV_TEXT_MAX)
        return true;
    do
        rc = Esys_NV_Read(tpm->esys, index, index, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, nv->size, 0, &data);
    while (tpm_again(tpm, &retry, rc));
    if (rc == TSS2_RC_SUCCESS) {
        if (!memchr(data->buffer, '\0', data->size))
            nv->text = g_strndup((const char *)data->buffer, data->size);
        return true;
    }
    return (tpm_refused(rc) && is_forbidden(tpm_code(rc))) || tpm_check(tpm, rc, "TPM2_NV_Read", error);
}

bool
tpm_nv_look(struct tpm *tpm, uint32_t index, struct tpm_nv *nv, GError **error)
{
    ESYS_TR tr;
    *nv = (struct tpm_nv){ 0 };
    if (!tpm_look_up(tpm, index, &tr, error))
        return false;
    nv->present = tr != ESYS_TR_NONE;
    bool ok = !nv->present || (read_public(tpm, tr, nv, error) && read_text(tpm, tr, nv, error));
    tpm_forget(tpm, &tr);
    if (!ok)
        tpm_nv_clear(nv);
    return ok;
}

static bool
define(struct tpm *tpm, ESYS_TR owner, uint32_t index, size_t size, ESYS_TR *tr, GError **error)
{
    static const TPM2B_AUTH no_auth = { 0 };
    const TPM2B_NV_PUBLIC public = {
        .nvPublic = {
            .nvIndex = index,
            .nameAlg = TPM2_ALG_SHA256,
            .attributes = OUR_ATTRIBUTES,
            .dataSize = (UINT16)size,
        },
    };
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_NV_DefineSpace(tpm->esys, ESYS_TR_RH_OWNER, owner, ESYS_TR_NONE, ESYS_TR_NONE, &no_auth, &public, tr);
    while (tpm_again(tpm, &retry, rc));
    return tpm_check(tpm, rc, "TPM2_NV_DefineSpace", error);
}

static bool
write_and_lock(struct tpm *tpm, ESYS_TR owner, ESYS_TR tr, const char *text, GError **error)
{
    TPM2B_MAX_NV_BUFFER data = { .size = (UINT16)strlen(text) };
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    memcpy(data.buffer, text, data.size);
    do
        rc = Esys_NV_Write(tpm->esys, ESYS_TR_RH_OWNER, tr, owner, ESYS_TR_NONE, ESYS_TR_NONE, &data, 0);
    while (tpm_again(tpm, &retry, rc));
    if (!tpm_check(tpm, rc, "TPM2_NV_Write", error))
        return false;
    do
        rc = Esys_NV_WriteLock(tpm->esys, ESYS_TR_RH_OWNER, tr, owner, ESYS_TR_NONE, ESYS_TR_NONE);
    while (tpm_again(tpm, &retry, rc));
    return tpm_check(tpm, rc, "TPM2_NV_WriteLock", error);
}

bool
tpm_nv_write(struct tpm *tpm, uint32_t index, const char *text, GError **error)
{
    ESYS_TR owner, tr = ESYS_TR_NONE;
    g_return_val_if_fail(strlen(text) >= 1 && strlen(text) <= TPM_NV_TEXT_MAX, false);
    bool ok = tpm_owner_begin(tpm, &owner, error) && define(tpm, owner, index, strlen(text), &tr, error) &&
              write_and_lock(tpm, owner, tr, text, error);
    tpm_forget(tpm, &tr);
    tpm_owner_end(tpm, owner);
    return ok;
}

bool
tpm_nv_undefine(struct tpm *tpm, uint32_t index, GError **error)
{
    ESYS_TR owner, tr;
    if (!tpm_look_up(tpm, index, &tr, error))
        return false;
    if (tr == ESYS_TR_NONE)
        return true;
    bool ok = tpm_owner_begin(tpm, &owner, error);
    if (ok) {
        struct tpm_retry retry = { 0 };
        TSS2_RC rc;
        do
            rc = Esys_NV_UndefineSpace(tpm->esys, ESYS_TR_RH_OWNER, tr, owner, ESYS_TR_NONE, ESYS_TR_NONE);
        while (tpm_again(tpm, &retry, rc));
        if (rc == TSS2_RC_SUCCESS)
            tr = ESYS_TR_NONE; /* ESYS dropped its record with the index */
        ok = tpm_check(tpm, rc, "TPM2_NV_UndefineSpace", error);
    }
    tpm_forget(tpm, &tr);
    tpm_owner_end(tpm, owner);
    return ok;
}
