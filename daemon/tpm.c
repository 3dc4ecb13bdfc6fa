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
    tpm->srk = ESYS_TR_NONE;
    g_mutex_init(&tpm->owner_lock);
    return tpm;
}

void
tpm_forget_owner_refusal(struct tpm *tpm)
{
    tpm->owner_refused = false;
}

void
tpm_set_owner_auth_file(struct tpm *tpm, const char *owner_auth_file)
{
    g_mutex_lock(&tpm->owner_lock);
    g_free(tpm->owner_auth_file);
    tpm->owner_auth_file = g_strdup(owner_auth_file);
    g_mutex_unlock(&tpm->owner_lock);
}

char *
tpm_dup_owner_auth_file(struct tpm *tpm)
{
    g_mutex_lock(&tpm->owner_lock);
    char *file = g_strdup(tpm->owner_auth_file);
    g_mutex_unlock(&tpm->owner_lock);
    return file;
}

void
tpm_free(struct tpm *tpm)
{
    if (!tpm)
        return;
    tpm_close(tpm);
    g_free(tpm->tcti_name);
    g_free(tpm->owner_auth_file);
    g_mutex_clear(&tpm->owner_lock);
    g_free(tpm);
}

bool
tpm_open(struct tpm *tpm, GError **error)
{
    if (tpm_is_open(tpm))
        return true;
    tpm_close(tpm);
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
    tpm->no_one_shot = false;
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
    tpm->srk = ESYS_TR_NONE;
    tpm->broken = false;
}

bool
tpm_is_open(const struct tpm *tpm)
{
    return tpm->esys && !tpm->broken;
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

/* How often a refusal is worth another try. Others may fill the TPM's memory for as long as a command of theirs takes;
 * what fills it for longer, waiting does not help. */
static unsigned
patience(TSS2_RC code)
{
    switch (code) {
    case TPM2_RC_RETRY:
    case TPM2_RC_YIELDED:
    case TPM2_RC_TESTING:
        return 10; /* 2 ms … 1 s, 2 s in all */
    case TPM2_RC_OBJECT_MEMORY:
    case TPM2_RC_OBJECT_HANDLES:
    case TPM2_RC_SESSION_MEMORY:
    case TPM2_RC_SESSION_HANDLES:
    case TPM2_RC_MEMORY:
        return 5; /* 62 ms in all */
    default:
        return 0;
    }
}

bool
tpm_again(struct tpm *tpm, struct tpm_retry *retry, TSS2_RC rc)
{
    __atomic_add_fetch(&tpm->operations, 1, __ATOMIC_RELAXED);
    if (rc == TSS2_RC_SUCCESS || !tpm_refused(rc) || retry->attempts >= patience(tpm_code(rc)))
        return false;
    __atomic_add_fetch(&tpm->retries, 1, __ATOMIC_RELAXED);
    long ms = 2L << retry->attempts++;
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
    return true;
}

/* Of a persistent object ESYS has one record, however often it is looked up, and it does not count: whoever looks at
 * the SRK meanwhile must not drop the record that the sessions of signatures are salted to. */
void
tpm_forget(struct tpm *tpm, ESYS_TR *object)
{
    bool shared = *object == tpm->srk && object != &tpm->srk;
    if (*object != ESYS_TR_NONE && tpm->esys && !shared)
        Esys_TR_Close(tpm->esys, object);
    *object = ESYS_TR_NONE;
}

/* A handle is all that TPM2_FlushContext needs (Part 3, 28.4), and it must also be done where ESYS has stopped in the
 * middle of a command and takes no other: so it is sent past it. */
static TSS2_RC
send_flush(struct tpm *tpm, TPM2_HANDLE handle)
{
    uint8_t command[14] = { 0x80, 0x01, 0, 0, 0, sizeof command, 0, 0, 0x01, 0x65 }, answer[TPM2_MAX_RESPONSE_SIZE];
    size_t len = sizeof answer;
    uint32_t code;
    handle = GUINT32_TO_BE(handle);
    memcpy(command + 10, &handle, sizeof handle);
    TSS2_RC rc = Tss2_Tcti_Transmit(tpm->tcti, sizeof command, command);
    if (rc == TSS2_RC_SUCCESS)
        rc = Tss2_Tcti_Receive(tpm->tcti, &len, answer, TSS2_TCTI_TIMEOUT_BLOCK);
    if (rc != TSS2_RC_SUCCESS)
        return rc;
    if (len < 10)
        return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    memcpy(&code, answer + 6, sizeof code);
    return GUINT32_FROM_BE(code);
}

/* What is gone already needs no flush: after a reset of the TPM, or a session that ended with a command whose answer
 * was lost. */
bool
tpm_flush_handle(struct tpm *tpm, TPM2_HANDLE handle, GError **error)
{
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    if (!tpm->tcti)
        return true;
    do
        rc = send_flush(tpm, handle);
    while (tpm_again(tpm, &retry, rc));
    return tpm_is_absent(rc) || tpm_check(tpm, rc, "TPM2_FlushContext", error);
}

bool
tpm_flush(struct tpm *tpm, ESYS_TR *object, GError **error)
{
    TPM2_HANDLE handle;
    bool ok = true;
    if (*object != ESYS_TR_NONE && *object != ESYS_TR_PASSWORD && tpm->esys &&
        Esys_TR_GetTpmHandle(tpm->esys, *object, &handle) == TSS2_RC_SUCCESS) {
        ok = tpm_flush_handle(tpm, handle, error);
        tpm_forget(tpm, object);
    }
    *object = ESYS_TR_NONE;
    return ok;
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
    return tpm_is_absent(rc) || tpm_check(tpm, rc, "reading what stands at a handle", error);
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
        tpm_flush(tpm, session, NULL);
        return false;
    }
    return true;
}

/* The owner's password as bytes, one trailing newline ignored; {0} where none is configured. */
static bool
read_owner_auth(struct tpm *tpm, TPM2B_AUTH *auth, GError **error)
{
    g_autofree char *file = tpm_dup_owner_auth_file(tpm);
    auth->size = 0;
    if (!file)
        return true;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        error_set(error, ERROR_TPM_FAILED, "OwnerAuthFile=%s: %s", file, g_strerror(errno));
        return false;
    }
    g_autoptr(GError) why = NULL;
    g_autoptr(secret_auto) text = secret_read_fd(fd, TPM_OWNER_AUTH_MAX + 1, &why);
    close(fd);
    if (text && text->len > 0 && text->data[text->len - 1] == '\n')
        text->len--;
    if (!text || text->len > TPM_OWNER_AUTH_MAX) {
        error_set(error, ERROR_TPM_FAILED, "OwnerAuthFile=%s: it cannot be read, or is longer than the %d bytes that a "
                  "password of a TPM can have", file, TPM_OWNER_AUTH_MAX);
        return false;
    }
    memcpy(auth->buffer, text->data, text->len);
    auth->size = (UINT16)text->len;
    return true;
}

bool
tpm_owner_is_given(struct tpm *tpm)
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
    tpm_flush(tpm, &session, NULL);
    if (tpm->esys)
        Esys_TR_SetAuth(tpm->esys, ESYS_TR_RH_OWNER, &empty);
}
