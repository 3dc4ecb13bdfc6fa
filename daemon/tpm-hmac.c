/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * HMAC-SHA256 by a key in the TPM: TPM2_HMAC where it has that and the text fits, else a sequence.
 */
#include <config.h>

#include "daemon/tpm-esys.h"
#include "daemon/tpm-key.h"
#include "daemon/tpm-sys.h"
#include "common/error.h"

#include <string.h>

typedef TPM2B_DIGEST esys_digest;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_digest, Esys_Free)

static void
take_digest(TSS2_RC rc, const TPM2B_DIGEST *given, TPM2B_DIGEST *mac)
{
    if (rc == TSS2_RC_SUCCESS)
        *mac = *given;
}

static bool
start_sequence(struct tpm *tpm, ESYS_TR session, ESYS_TR key, ESYS_TR *sequence, GError **error)
{
    static const TPM2B_AUTH no_auth = { 0 };
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_HMAC_Start(tpm->esys, key, session, ESYS_TR_NONE, ESYS_TR_NONE, &no_auth, TPM2_ALG_SHA256, sequence);
    while (tpm_again(tpm, &retry, rc));
    if (rc != TSS2_RC_SUCCESS)
        *sequence = ESYS_TR_NONE;
    return tpm_protect_check(tpm, session, rc, "TPM2_HMAC_Start", error);
}

static bool
update_sequence(struct tpm *tpm, ESYS_TR session, ESYS_TR sequence, const TPM2B_MAX_BUFFER *part, GError **error)
{
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_SequenceUpdate(tpm->esys, sequence, session, ESYS_TR_NONE, ESYS_TR_NONE, part);
    while (tpm_again(tpm, &retry, rc));
    return tpm_protect_check(tpm, session, rc, "TPM2_SequenceUpdate", error);
}

/* The last command has the signature in its answer, which a protected session encrypts. */
static bool
complete_sequence(struct tpm *tpm, ESYS_TR session, ESYS_TR sequence, const TPM2B_MAX_BUFFER *part, TPM2B_DIGEST *mac,
                  GError **error)
{
    g_autoptr(esys_digest) given = NULL;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc = TSS2_RC_SUCCESS;
    if (session != ESYS_TR_PASSWORD)
        rc = Esys_TRSess_SetAttributes(tpm->esys, session, TPMA_SESSION_ENCRYPT | TPMA_SESSION_CONTINUESESSION, 0xff);
    if (!tpm_check(tpm, rc, "setting session attributes", error))
        return false;
    do
        rc = Esys_SequenceComplete(tpm->esys, sequence, session, ESYS_TR_NONE, ESYS_TR_NONE, part, ESYS_TR_RH_NULL,
                                   &given, NULL);
    while (tpm_again(tpm, &retry, rc));
    take_digest(rc, given, mac);
    return tpm_protect_check(tpm, session, rc, "TPM2_SequenceComplete", error);
}

static bool
feed_sequence(struct tpm *tpm, ESYS_TR session, ESYS_TR sequence, const uint8_t *data, size_t len, TPM2B_DIGEST *mac,
              GError **error)
{
    TPM2B_MAX_BUFFER part = { 0 };
    for (; len > sizeof part.buffer; data += part.size, len -= part.size) {
        part.size = sizeof part.buffer;
        memcpy(part.buffer, data, part.size);
        if (!update_sequence(tpm, session, sequence, &part, error))
            return false;
    }
    part.size = (UINT16)len;
    memcpy(part.buffer, data, len);
    return complete_sequence(tpm, session, sequence, &part, mac, error);
}

/* A sequence needs ESYS's record of its key, which a key that was loaded to sign does not have. Texts this long and
 * TPMs without TPM2_HMAC are rare. */
static bool
hold_record(struct tpm *tpm, uint32_t key, ESYS_TR *record, GError **error)
{
    *record = key;
    if (!tpm_sys_is_handle(key))
        return true;
    if (!tpm_look_up(tpm, key, record, error))
        return false;
    if (*record == ESYS_TR_NONE)
        error_set(error, ERROR_TPM_FAILED, "the loaded key is gone; was the TPM reset?");
    return *record != ESYS_TR_NONE;
}

static bool
hmac_sequence(struct tpm *tpm, uint32_t key, const uint8_t *data, size_t len, TPM2B_DIGEST *mac, GError **error)
{
    ESYS_TR record, session, sequence = ESYS_TR_NONE;
    if (!hold_record(tpm, key, &record, error))
        return false;
    bool ok = tpm_protect_begin(tpm, true, &session, error);
    if (ok) {
        ok = start_sequence(tpm, session, record, &sequence, error) &&
             feed_sequence(tpm, session, sequence, data, len, mac, error);
        if (!ok)
            tpm_flush(tpm, &sequence, NULL); /* completed, it is gone */
        tpm_flush(tpm, &session, NULL);
    }
    if (tpm_sys_is_handle(key))
        tpm_forget(tpm, &record);
    return ok;
}

static TSS2_RC
hmac_plainly(struct tpm *tpm, uint32_t key, const TPM2B_MAX_BUFFER *data, TPM2B_DIGEST *mac)
{
    struct tpm_retry retry = { 0 };
    TPM2_HANDLE handle = key;
    TSS2_RC rc = tpm_sys_is_handle(key) ? TSS2_RC_SUCCESS : Esys_TR_GetTpmHandle(tpm->esys, key, &handle);
    if (rc != TSS2_RC_SUCCESS)
        return rc;
    do
        rc = tpm_sys_hmac(tpm, handle, data, mac);
    while (tpm_again(tpm, &retry, rc));
    return rc;
}

static TSS2_RC
hmac_in_session(struct tpm *tpm, uint32_t key, ESYS_TR session, const TPM2B_MAX_BUFFER *data, TPM2B_DIGEST *mac)
{
    g_autoptr(esys_digest) given = NULL;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_HMAC(tpm->esys, key, session, ESYS_TR_NONE, ESYS_TR_NONE, data, TPM2_ALG_SHA256, &given);
    while (tpm_again(tpm, &retry, rc));
    take_digest(rc, given, mac);
    return rc;
}

/* *absent where the TPM has no such command. */
static bool
hmac_once(struct tpm *tpm, uint32_t key, const uint8_t *data, size_t len, TPM2B_DIGEST *mac, bool *absent,
          GError **error)
{
    TPM2B_MAX_BUFFER buffer = { .size = (UINT16)len };
    ESYS_TR session;
    *absent = false;
    memcpy(buffer.buffer, data, len);
    if (!tpm_protect_begin(tpm, false, &session, error))
        return false;
    TSS2_RC rc = session == ESYS_TR_PASSWORD ? hmac_plainly(tpm, key, &buffer, mac)
                                             : hmac_in_session(tpm, key, session, &buffer, mac);
    if (rc == TSS2_RC_SUCCESS)
        return true; /* the session ended with it */
    *absent = tpm_refused(rc) && tpm_code(rc) == TPM2_RC_COMMAND_CODE;
    if (!*absent)
        tpm_protect_check(tpm, session, rc, "TPM2_HMAC", error);
    tpm_flush(tpm, &session, NULL);
    return false;
}

/* Some chips leave TPM2_HMAC out and have sequences only; one look an opening is enough to know. */
static bool
hmac_any(struct tpm *tpm, uint32_t key, const uint8_t *data, size_t len, TPM2B_DIGEST *mac, GError **error)
{
    bool absent = tpm->no_one_shot;
    if (len <= TPM2_MAX_DIGEST_BUFFER && !absent && hmac_once(tpm, key, data, len, mac, &absent, error))
        return true;
    if (len <= TPM2_MAX_DIGEST_BUFFER && !absent)
        return false;
    if (absent && !tpm->no_one_shot)
        g_message("this TPM has no TPM2_HMAC; signatures are made by sequences of three commands");
    tpm->no_one_shot = absent;
    return hmac_sequence(tpm, key, data, len, mac, error);
}

bool
tpm_key_hmac(struct tpm *tpm, uint32_t key, const void *data, size_t len, uint8_t mac[TPM_MAC_BYTES], GError **error)
{
    TPM2B_DIGEST digest = { 0 };
    if (!hmac_any(tpm, key, data, len, &digest, error))
        return false;
    if (digest.size != TPM_MAC_BYTES) {
        error_set(error, ERROR_TPM_FAILED, "the TPM returned a signature of %u bytes, not %d", digest.size,
                  TPM_MAC_BYTES);
        return false;
    }
    memcpy(mac, digest.buffer, TPM_MAC_BYTES);
    return true;
}
