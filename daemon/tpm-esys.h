/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the tpm-*.c files share: the ESYS context and how a command is sent. Nobody else includes this, so that tss2
 * stays in here.
 */
#pragma once

#include "daemon/tpm.h"

#include <tss2/tss2_esys.h>

#define TPM_SRK_HANDLE 0x81000001 /* TCG TPM v2.0 Provisioning Guidance, 7.8 */

struct tpm {
    char *tcti_name;
    GMutex owner_lock;
    char *owner_auth_file; /* under owner_lock */
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    uint32_t epoch;
    uint64_t operations, retries, resets; /* atomic */
    bool owner_refused; /* the password that was used last was not the owner's */
    uint32_t fixed_epoch, manufacturer, firmware[2]; /* tpm-info.c: as read in that epoch */
    TSS2_RC said_rc;                      /* what the log was told last, of which command, when */
    const char *said_what;
    int64_t said_us;
    bool broken;      /* ESYS has stopped in the middle of a command and takes no other */
    bool no_one_shot; /* it has no TPM2_HMAC, only sequences */
    bool protect_bus, srk_pinned;
    struct tpm_name srk_pin;
    ESYS_TR srk; /* what sessions of signatures are salted to, once it was compared with srk_pin */
};

/* Repeats a command for as long as the TPM asks for it (RETRY, YIELDED, TESTING), with growing pauses, about 2 s in
 * all, and a few times where its memory is full:
 *     struct tpm_retry retry = { 0 };   do rc = Esys_X (...); while (tpm_again(tpm, &retry, rc)); */
struct tpm_retry {
    unsigned attempts;
};

bool tpm_again(struct tpm *tpm, struct tpm_retry *retry, TSS2_RC rc);

/* True where rc is success; else logs it, sets error and, where the connection is gone, closes the context. what names
 * the command: "TPM2_Create of the key". */
bool tpm_check(struct tpm *tpm, TSS2_RC rc, const char *what, GError **error);

/* As tpm_check, for an authorisation that is not the owner's: what is told where the TPM says that it is wrong. */
bool tpm_check_auth(struct tpm *tpm, TSS2_RC rc, const char *what, const char *wrong, GError **error);

/* The answer of the TPM itself (or of a resource manager for it), not trouble on the way to it. */
bool tpm_refused(TSS2_RC rc);

/* Nothing stands at the handle that a command named, or it is not loaded any more. Every other refusal says nothing
 * about what stands there. */
bool tpm_is_absent(TSS2_RC rc);

/* The TPM's own code without layer, handle and parameter numbers. */
TSS2_RC tpm_code(TSS2_RC rc);

char *tpm_dup_owner_auth_file(struct tpm *tpm); /* NULL where none is configured; g_free */

/* Whether OwnerAuthFile= holds a password at all. */
bool tpm_owner_is_given(struct tpm *tpm);

/* A session for one signature: ESYS_TR_PASSWORD, or where ProtectBus=always one salted to the pinned SRK that ends with
 * its first command, or, where it is kept, with tpm_flush. */
bool tpm_protect_begin(struct tpm *tpm, bool kept, ESYS_TR *session, GError **error);

/* As tpm_check, for a command in such a session. */
bool tpm_protect_check(struct tpm *tpm, ESYS_TR session, TSS2_RC rc, const char *what, GError **error);

/* An open session that authorises the owner: ESYS_TR_PASSWORD where the owner has no password, else a session salted
 * to the SRK so that the password does not cross. Close with tpm_owner_end. */
bool tpm_owner_begin(struct tpm *tpm, ESYS_TR *session, GError **error);
void tpm_owner_end(struct tpm *tpm, ESYS_TR session);

/* An HMAC session salted to the key salt (ESYS_TR_NONE: unsalted) that can encrypt parameters with AES-128-CFB. */
bool tpm_session_start(struct tpm *tpm, ESYS_TR salt, TPMA_SESSION attributes, ESYS_TR *session, GError **error);

/* TPM2_FlushContext, by the handle or by ESYS's record of it, which is dropped and ESYS_TR_NONE then; ESYS_TR_NONE is
 * fine. False where it may still be loaded, in a TPM that is still open: it was refused. Where the connection is lost,
 * nothing can be done before the TPM is opened anew. */
bool tpm_flush_handle(struct tpm *tpm, TPM2_HANDLE handle, GError **error);
bool tpm_flush(struct tpm *tpm, ESYS_TR *object, GError **error);

void tpm_forget(struct tpm *tpm, ESYS_TR *object); /* drops ESYS's record of a persistent object or NV index */

/* ESYS's record of a persistent handle or NV index; *tr is ESYS_TR_NONE where nothing stands there. */
bool tpm_look_up(struct tpm *tpm, TPM2_HANDLE handle, ESYS_TR *tr, GError **error);
