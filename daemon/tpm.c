/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-esys.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

struct tpm *
tpm_new(const char *tcti, const char *owner_auth_file)
{
    struct tpm *tpm = g_new0(struct tpm, 1);
    tpm->tcti_name = g_strdup(tcti);
    tpm->owner_auth_file = g_strdup(owner_auth_file);
    return tpm;
}

void
tpm_free(struct tpm *tpm)
{
    if (!tpm)
        return;
    tpm_close(tpm);
    g_free(tpm->tcti_name);
    g_free(tpm->owner_auth_file);
    g_free(tpm);
}

bool
tpm_open(struct tpm *tpm, GError **error)
{
    if (tpm->esys)
        return true;
    TSS2_RC rc = Tss2_TctiLdr_Initialize(tpm->tcti_name, &tpm->tcti);
    if (rc != TSS2_RC_SUCCESS) {
        tpm->tcti = NULL;
        error_set(error, ERROR_TPM_ABSENT, "no TPM answers at %s; is it there and switched on in the firmware, and may "
                  "the user hubkey open it?", tpm->tcti_name);
        g_debug("opening the TCTI %s: 0x%08x %s", tpm->tcti_name, rc, Tss2_RC_Decode(rc));
        return false;
    }
    rc = Esys_Initialize(&tpm->esys, tpm->tcti, NULL);
    if (rc != TSS2_RC_SUCCESS) {
        tpm->esys = NULL;
        tpm_close(tpm);
        return tpm_check(tpm, rc, "Esys_Initialize", error);
    }
    if (tpm->epoch++ > 0)
        __atomic_add_fetch(&tpm->resets, 1, __ATOMIC_RELAXED);
    return true;
}

void
tpm_close(struct tpm *tpm)
{
    if (tpm->esys)
        Esys_Finalize(&tpm->esys);
    if (tpm->tcti)
        Tss2_TctiLdr_Finalize(&tpm->tcti);
    tpm->esys = NULL;
    tpm->tcti = NULL;
}

bool
tpm_is_open(const struct tpm *tpm)
{
    return tpm->esys != NULL;
}

uint32_t
tpm_epoch(const struct tpm *tpm)
{
    return tpm->epoch;
}

struct tpm_counters
tpm_counters(const struct tpm *tpm)
{
    return (struct tpm_counters){
        .operations = __atomic_load_n(&tpm->operations, __ATOMIC_RELAXED),
        .retries = __atomic_load_n(&tpm->retries, __ATOMIC_RELAXED),
        .resets = __atomic_load_n(&tpm->resets, __ATOMIC_RELAXED),
    };
}

bool
tpm_is_unwell(const GError *error)
{
    return g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_ABSENT) ||
           g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_FAILED);
}

TSS2_RC
tpm_code(TSS2_RC rc)
{
    rc &= 0xffff;
    /* Format one carries the number of a parameter, handle or session (Part 2, 6.6.2). */
    return rc & TPM2_RC_FMT1 ? rc & 0x0bf : rc;
}

bool
tpm_refused(TSS2_RC rc)
{
    TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;
    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

bool
tpm_again(struct tpm *tpm, struct tpm_retry *retry, TSS2_RC rc)
{
    __atomic_add_fetch(&tpm->operations, 1, __ATOMIC_RELAXED);
    if (rc == TSS2_RC_SUCCESS || !tpm_refused(rc))
        return false;
    TSS2_RC code = tpm_code(rc);
    if (code != TPM2_RC_RETRY && code != TPM2_RC_YIELDED && code != TPM2_RC_TESTING)
        return false;
    if (retry->attempts >= 10)
        return false;
    __atomic_add_fetch(&tpm->retries, 1, __ATOMIC_RELAXED);
    long ms = 2L << retry->attempts++; /* 2 ms … 1 s, 2 s in all */
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
    return true;
}

/* What an operator is told, by the TPM's code (Part 2, 6.6.3). */
static const struct {
    TSS2_RC code;
    enum error_code error;
    const char *advice;
} advice[] = {
    { TPM2_RC_NV_SPACE, ERROR_NO_SPACE, "its memory for persistent keys and NV indices is full; remove what is not needed (tpm2_getcap handles-persistent, handles-nv-index)" },
    { TPM2_RC_OBJECT_MEMORY, ERROR_BUSY, "its memory for loaded objects is filled by another program; retry in 1000 ms" },
    { TPM2_RC_OBJECT_HANDLES, ERROR_BUSY, "its object handles are used up by another program; retry in 1000 ms" },
    { TPM2_RC_SESSION_MEMORY, ERROR_BUSY, "its memory for sessions is filled by another program; retry in 1000 ms" },
    { TPM2_RC_SESSION_HANDLES, ERROR_BUSY, "its session handles are used up by another program; retry in 1000 ms" },
    { TPM2_RC_CONTEXT_GAP, ERROR_BUSY, "another program holds an old session open; retry in 1000 ms" },
    { TPM2_RC_MEMORY, ERROR_BUSY, "it is out of memory; retry in 1000 ms" },
    { TPM2_RC_RETRY, ERROR_BUSY, "it kept asking to be tried again; retry in 1000 ms" },
    { TPM2_RC_YIELDED, ERROR_BUSY, "it kept yielding; retry in 1000 ms" },
    { TPM2_RC_TESTING, ERROR_BUSY, "it is testing itself; retry in 1000 ms" },
    { TPM2_RC_INITIALIZE, ERROR_TPM_FAILED, "it was not started by the firmware (no TPM2_Startup)" },
    { TPM2_RC_FAILURE, ERROR_TPM_FAILED, "it is in failure mode; a power cycle may bring it back" },
    { TPM2_RC_LOCKOUT, ERROR_TPM_FAILED, "it is locked out after wrong passwords; wait, or reset with tpm2_dictionarylockout" },
    { TPM2_RC_BAD_AUTH, ERROR_TPM_FAILED, "the owner has a password that is not ours; give it by OwnerAuthFile= in hubkeyd.conf" },
    { TPM2_RC_AUTH_FAIL, ERROR_TPM_FAILED, "the owner has a password that is not ours; give it by OwnerAuthFile= in hubkeyd.conf" },
    { TPM2_RC_INTEGRITY, ERROR_DAMAGED, "the stored key was wrapped by another TPM, or was altered" },
    { TPM2_RC_BINDING, ERROR_DAMAGED, "the stored key's two halves do not belong together" },
    { TPM2_RC_HIERARCHY, ERROR_TPM_FAILED, "its owner hierarchy is switched off" },
};

static bool
say_tpm_error(TSS2_RC rc, const char *what, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(advice); i++)
        if (advice[i].code == tpm_code(rc)) {
            error_set(error, advice[i].error, "%s: the TPM refused: %s", what, advice[i].advice);
            return false;
        }
    error_set(error, ERROR_TPM_FAILED, "%s: the TPM refused with 0x%03x; see the log of hubkeyd", what, rc & 0xffff);
    return false;
}

bool
tpm_check(struct tpm *tpm, TSS2_RC rc, const char *what, GError **error)
{
    if (rc == TSS2_RC_SUCCESS)
        return true;
    g_warning("%s: 0x%08x %s", what, rc, Tss2_RC_Decode(rc));
    if (tpm_refused(rc)) {
        tpm->owner_refused |= tpm_code(rc) == TPM2_RC_BAD_AUTH || tpm_code(rc) == TPM2_RC_AUTH_FAIL;
        return say_tpm_error(rc, what, error);
    }
    /* Transport or library: this context cannot be trusted any more. The next tpm_open makes a new one. */
    tpm_close(tpm);
    error_set(error, ERROR_TPM_ABSENT, "%s: the connection to the TPM at %s was lost; it is tried again", what,
              tpm->tcti_name);
    return false;
}

void
tpm_flush(struct tpm *tpm, ESYS_TR *object)
{
    if (*object != ESYS_TR_NONE && *object != ESYS_TR_PASSWORD && tpm->esys) {
        struct tpm_retry retry = { 0 };
        TSS2_RC rc;
        do
            rc = Esys_FlushContext(tpm->esys, *object);
        while (tpm_again(tpm, &retry, rc));
        tpm_check(tpm, rc, "TPM2_FlushContext", NULL);
    }
    *object = ESYS_TR_NONE;
}

void
tpm_forget(struct tpm *tpm, ESYS_TR *object)
{
    if (*object != ESYS_TR_NONE && tpm->esys)
        Esys_TR_Close(tpm->esys, object);
    *object = ESYS_TR_NONE;
}

bool
tpm_look_up(struct tpm *tpm, TPM2_HANDLE handle, ESYS_TR *tr, GError **error)
{
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_TR_FromTPMPublic(tpm->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, tr);
    while (tpm_again(tpm, &retry, rc));
    if (rc != TSS2_RC_SUCCESS)
        *tr = ESYS_TR_NONE;
    if (tpm_refused(rc) && tpm_code(rc) == TPM2_RC_HANDLE)
        return true;
    return tpm_check(tpm, rc, "reading what stands at a handle", error);
}

bool
tpm_session_start(struct tpm *tpm, ESYS_TR salt, TPMA_SESSION attributes, ESYS_TR *session, GError **error)
{
    static const TPMT_SYM_DEF aes = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB };
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_StartAuthSession(tpm->esys, salt, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL,
                                   TPM2_SE_HMAC, &aes, TPM2_ALG_SHA256, session);
    while (tpm_again(tpm, &retry, rc));
    if (rc != TSS2_RC_SUCCESS)
        *session = ESYS_TR_NONE;
    if (!tpm_check(tpm, rc, "TPM2_StartAuthSession salted to the SRK", error))
        return false;
    rc = Esys_TRSess_SetAttributes(tpm->esys, *session, attributes, 0xff);
    if (!tpm_check(tpm, rc, "setting session attributes", error)) {
        tpm_flush(tpm, session);
        return false;
    }
    return true;
}

/* The owner's password as bytes, one trailing newline ignored; {0} where none is configured. */
static bool
read_owner_auth(const struct tpm *tpm, TPM2B_AUTH *auth, GError **error)
{
    auth->size = 0;
    if (!tpm->owner_auth_file)
        return true;
    int fd = open(tpm->owner_auth_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        error_set(error, ERROR_TPM_FAILED, "OwnerAuthFile=%s: %s", tpm->owner_auth_file, g_strerror(errno));
        return false;
    }
    g_autoptr(GError) why = NULL;
    g_autoptr(secret_auto) text = secret_read_fd(fd, TPM_OWNER_AUTH_MAX + 1, &why);
    close(fd);
    if (text && text->len > 0 && text->data[text->len - 1] == '\n')
        text->len--;
    if (!text || text->len > TPM_OWNER_AUTH_MAX) {
        error_set(error, ERROR_TPM_FAILED, "OwnerAuthFile=%s: it cannot be read, or is longer than the %d bytes that a "
                  "password of a TPM can have", tpm->owner_auth_file, TPM_OWNER_AUTH_MAX);
        return false;
    }
    memcpy(auth->buffer, text->data, text->len);
    auth->size = (UINT16)text->len;
    return true;
}

bool
tpm_owner_is_given(const struct tpm *tpm)
{
    TPM2B_AUTH auth;
    bool given = read_owner_auth(tpm, &auth, NULL) && auth.size > 0;
    explicit_bzero(&auth, sizeof auth);
    return given;
}

bool
tpm_owner_begin(struct tpm *tpm, ESYS_TR *session, GError **error)
{
    TPM2B_AUTH auth;
    ESYS_TR srk = ESYS_TR_NONE;
    *session = ESYS_TR_NONE;
    tpm->owner_refused = false;
    if (!read_owner_auth(tpm, &auth, error))
        return false;
    bool with_password = auth.size > 0;
    TSS2_RC rc = Esys_TR_SetAuth(tpm->esys, ESYS_TR_RH_OWNER, &auth);
    explicit_bzero(&auth, sizeof auth);
    if (!tpm_check(tpm, rc, "setting the owner's password", error))
        return false;
    *session = ESYS_TR_PASSWORD;
    if (!with_password)
        return true;
    /* Before there is an SRK the session cannot be salted; the password still does not cross, it keys the HMAC. */
    *session = ESYS_TR_NONE;
    bool ok = tpm_look_up(tpm, TPM_SRK_HANDLE, &srk, error) &&
              tpm_session_start(tpm, srk, TPMA_SESSION_CONTINUESESSION, session, error);
    tpm_forget(tpm, &srk);
    return ok;
}

void
tpm_owner_end(struct tpm *tpm, ESYS_TR session)
{
    static const TPM2B_AUTH empty = { 0 };
    tpm_flush(tpm, &session);
    if (tpm->esys)
        Esys_TR_SetAuth(tpm->esys, ESYS_TR_RH_OWNER, &empty);
}
