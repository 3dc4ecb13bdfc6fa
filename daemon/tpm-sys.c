/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-sys.h"

#include <tss2/tss2_sys.h>

static const TSS2L_SYS_AUTH_COMMAND empty_password = { .count = 1, .auths = { { .sessionHandle = TPM2_RS_PW } } };

static TSS2_SYS_CONTEXT *
system_context(struct tpm *tpm)
{
    TSS2_SYS_CONTEXT *sys = NULL;
    if (Esys_GetSysContext(tpm->esys, &sys) != TSS2_RC_SUCCESS)
        g_error("ESYS has no system context");
    return sys;
}

/* ESYS numbers its records from 0x40001000 on, among what the TPM has for permanent handles (Part 2, 7.4). */
bool
tpm_sys_is_handle(uint32_t key)
{
    return key >> TPM2_HR_SHIFT == TPM2_HT_TRANSIENT;
}

TSS2_RC
tpm_sys_load(struct tpm *tpm, TPM2_HANDLE parent, const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private,
             TPM2_HANDLE *handle)
{
    TSS2L_SYS_AUTH_RESPONSE answered = { 0 };
    TPM2B_NAME name = { .size = sizeof name.name };
    return Tss2_Sys_Load(system_context(tpm), parent, &empty_password, private, public, handle, &name, &answered);
}

TSS2_RC
tpm_sys_read_public(struct tpm *tpm, TPM2_HANDLE handle, TPM2B_PUBLIC *public)
{
    TPM2B_NAME name = { .size = sizeof name.name }, qualified = { .size = sizeof qualified.name };
    public->size = 0; /* the unmarshaller insists */
    return Tss2_Sys_ReadPublic(system_context(tpm), handle, NULL, public, &name, &qualified, NULL);
}

TSS2_RC
tpm_sys_hmac(struct tpm *tpm, TPM2_HANDLE key, const TPM2B_MAX_BUFFER *data, TPM2B_DIGEST *mac)
{
    TSS2L_SYS_AUTH_RESPONSE answered = { 0 };
    *mac = (TPM2B_DIGEST){ .size = sizeof mac->buffer };
    return Tss2_Sys_HMAC(system_context(tpm), key, &empty_password, data, TPM2_ALG_SHA256, mac, &answered);
}
