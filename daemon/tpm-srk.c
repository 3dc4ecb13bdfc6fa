/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-srk.h"
#include "daemon/tpm-object.h"
#include "common/error.h"

#define SRK_ATTRIBUTES                                                                                                 \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |     \
     TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

/* TCG EK Credential Profile, template L-1's symmetric and modulus parameters, as the SRK uses them. */
static const TPM2B_PUBLIC srk_template = {
    .publicArea = {
        .type = TPM2_ALG_RSA,
        .nameAlg = TPM2_ALG_SHA256,
        .objectAttributes = SRK_ATTRIBUTES,
        .parameters.rsaDetail = {
            .symmetric = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB },
            .scheme.scheme = TPM2_ALG_NULL,
            .keyBits = 2048,
        },
        .unique.rsa.size = 256,
    },
};

typedef TPMS_TIME_INFO esys_time;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_time, Esys_Free)

/* One that only this TPM ever had: whoever else knows a storage key, because it can be duplicated or was brought in,
 * can unwrap what is under it and read what sessions salted to it encrypt. */
static bool
is_storage_key(const TPMT_PUBLIC *area)
{
    const TPMA_OBJECT needed = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM |
                               TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;
    return (area->type == TPM2_ALG_RSA || area->type == TPM2_ALG_ECC) && area->nameAlg == TPM2_ALG_SHA256 &&
           (area->objectAttributes & needed) == needed;
}

/* The SRK, held by ESYS; ESYS_TR_NONE where nothing stands at its handle. */
bool
tpm_srk_open(struct tpm *tpm, ESYS_TR *srk, struct tpm_name *name, GError **error)
{
    g_autoptr(esys_public) public = NULL;
    if (!tpm_look_up(tpm, TPM_SRK_HANDLE, srk, error))
        return false;
    if (*srk == ESYS_TR_NONE)
        return true;
    bool ok = tpm_object_read_public(tpm, *srk, &public, error);
    if (ok && !is_storage_key(&public->publicArea)) {
        error_set(
            error, ERROR_FOREIGN,
            "the object at 0x%08x is no storage key with a SHA-256 name that stays in this "
            "TPM (fixedtpm, fixedparent, sensitivedataorigin); another program put it where the TCG wants the SRK; "
            "if nobody needs it: tpm2_evictcontrol -C o -c 0x%x",
            TPM_SRK_HANDLE, TPM_SRK_HANDLE);
        ok = false;
    }
    if (ok)
        tpm_object_name_of(public, name);
    else
        tpm_forget(tpm, srk);
    return ok;
}

bool
tpm_srk_find(struct tpm *tpm, struct tpm_name *name, bool *present, GError **error)
{
    ESYS_TR srk;
    if (!tpm_srk_open(tpm, &srk, name, error))
        return false;
    *present = srk != ESYS_TR_NONE;
    tpm_forget(tpm, &srk);
    return true;
}

static bool
create_primary(struct tpm *tpm, ESYS_TR owner, ESYS_TR *srk, GError **error)
{
    static const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
    static const TPM2B_DATA outside = { 0 };
    static const TPML_PCR_SELECTION pcrs = { 0 };
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_OWNER, owner, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                                &srk_template, &outside, &pcrs, srk, NULL, NULL, NULL, NULL);
    while (tpm_again(tpm, &retry, rc));
    if (rc != TSS2_RC_SUCCESS)
        *srk = ESYS_TR_NONE;
    return tpm_check(tpm, rc, "TPM2_CreatePrimary of the SRK", error);
}

bool
tpm_srk_make(struct tpm *tpm, struct tpm_name *name, GError **error)
{
    ESYS_TR owner, srk = ESYS_TR_NONE;
    bool ok = tpm_owner_begin(tpm, &owner, error) && create_primary(tpm, owner, &srk, error) &&
              tpm_object_get_name(tpm, srk, name, error) && tpm_object_persist(tpm, owner, srk, TPM_SRK_HANDLE, error);
    ok = tpm_flush(tpm, &srk, ok ? error : NULL) && ok;
    tpm_owner_end(tpm, owner);
    return ok;
}

static bool
is_from_srk_template(const TPMT_PUBLIC *area)
{
    const TPMS_RSA_PARMS *rsa = &area->parameters.rsaDetail;
    return area->type == TPM2_ALG_RSA && area->nameAlg == TPM2_ALG_SHA256 && area->objectAttributes == SRK_ATTRIBUTES &&
           area->authPolicy.size == 0 && rsa->symmetric.algorithm == TPM2_ALG_AES &&
           rsa->symmetric.keyBits.aes == 128 && rsa->symmetric.mode.aes == TPM2_ALG_CFB &&
           rsa->scheme.scheme == TPM2_ALG_NULL && rsa->keyBits == 2048;
}

static bool
list_if_srk(struct tpm *tpm, TPM2_HANDLE handle, const TPM2B_PUBLIC *public, void *data, GError **error)
{
    if (is_from_srk_template(&public->publicArea))
        g_ptr_array_add(data, g_strdup_printf("%08x", handle));
    return true;
}

/* Changes whenever transient objects are lost (Part 1, 36.3). */
static char *
dup_run(struct tpm *tpm, GError **error)
{
    g_autoptr(esys_time) time = NULL;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_ReadClock(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &time);
    while (tpm_again(tpm, &retry, rc));
    if (!tpm_check(tpm, rc, "TPM2_ReadClock", error))
        return NULL;
    return g_strdup_printf("%x.%x", time->clockInfo.resetCount, time->clockInfo.restartCount);
}

bool
tpm_srk_dup_scene(struct tpm *tpm, char **scene, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    char *run = dup_run(tpm, error);
    *scene = NULL;
    if (!run)
        return false;
    g_ptr_array_add(words, run);
    if (!tpm_object_each(tpm, list_if_srk, words, error))
        return false;
    g_ptr_array_add(words, NULL);
    *scene = g_strjoinv(" ", (char **)words->pdata);
    return true;
}

bool
tpm_srk_flush_leftovers(struct tpm *tpm, const char *scene, GError **error)
{
    g_autofree char *now = NULL;
    const char *new = NULL;
    unsigned n = 0;
    if (!tpm_srk_dup_scene(tpm, &now, error))
        return false;
    g_auto(GStrv) before = g_strsplit(scene, " ", -1), after = g_strsplit(now, " ", -1);
    for (char **handle = after + 1; *handle; handle++)
        if (!g_strv_contains((const char *const *)before, *handle)) {
            new = *handle;
            n++;
        }
    return g_strcmp0(before[0], after[0]) != 0 || n != 1 ||
           tpm_flush_handle(tpm, (TPM2_HANDLE)g_ascii_strtoull(new, NULL, 16), error);
}
