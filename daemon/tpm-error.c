/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a code of the TPM, or of the way to it, means for an operator.
 */
#include <config.h>

#include "daemon/tpm-esys.h"
#include "daemon/tpm-space.h"
#include "common/clock.h"
#include "common/error.h"

#include <tss2/tss2_rc.h>

#define SAY_AGAIN_US (10 * G_USEC_PER_SEC) /* callers ask on while a TPM is in trouble; the log has it this often */

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

/* HANDLE, whose number of the handle tpm_code took off; REFERENCE has one code for each of them (Part 2, 6.6.3). */
bool
tpm_is_absent(TSS2_RC rc)
{
    TSS2_RC code = tpm_code(rc);
    return tpm_refused(rc) &&
           (code == TPM2_RC_HANDLE || (code >= TPM2_RC_REFERENCE_H0 && code <= TPM2_RC_REFERENCE_H6));
}

/* By the TPM's code (Part 2, 6.6.3). */
static const struct {
    TSS2_RC code;
    enum error_code error;
    const char *advice; /* NULL: tpm-space.c looks who it is */
} advices[] = {
    { TPM2_RC_NV_SPACE, ERROR_NO_SPACE, NULL },
    { TPM2_RC_OBJECT_MEMORY, ERROR_BUSY, NULL },
    { TPM2_RC_OBJECT_HANDLES, ERROR_BUSY, NULL },
    { TPM2_RC_SESSION_MEMORY, ERROR_BUSY, NULL },
    { TPM2_RC_SESSION_HANDLES, ERROR_BUSY, NULL },
    { TPM2_RC_CONTEXT_GAP, ERROR_BUSY, NULL },
    { TPM2_RC_MEMORY, ERROR_BUSY, NULL },
    { TPM2_RC_RETRY, ERROR_BUSY, "it kept asking to be tried again; retry in 1000 ms" },
    { TPM2_RC_YIELDED, ERROR_BUSY, "it kept yielding; retry in 1000 ms" },
    { TPM2_RC_TESTING, ERROR_BUSY, "it is testing itself; retry in 1000 ms" },
    { TPM2_RC_INITIALIZE, ERROR_TPM_FAILED,
      "it was not started by the firmware (no TPM2_Startup); restart the machine, or tpm2_startup where there is no "
      "firmware to do it" },
    { TPM2_RC_FAILURE, ERROR_TPM_FAILED, "it is in failure mode; a power cycle may bring it back" },
    { TPM2_RC_LOCKOUT, ERROR_TPM_FAILED,
      "it is locked out after wrong passwords; wait, or reset with tpm2_dictionarylockout" },
    { TPM2_RC_INTEGRITY, ERROR_DAMAGED, "the stored key was wrapped by another TPM, or was altered" },
    { TPM2_RC_BINDING, ERROR_DAMAGED, "the stored key's two halves do not belong together" },
    { TPM2_RC_HIERARCHY, ERROR_TPM_FAILED, "its owner hierarchy is switched off" },
};

static void
tell_refused(struct tpm *tpm, TSS2_RC rc, const char *what, const char *wrong_auth, GError **error)
{
    if (tpm_code(rc) == TPM2_RC_BAD_AUTH || tpm_code(rc) == TPM2_RC_AUTH_FAIL) {
        error_set(error, ERROR_TPM_FAILED, "%s: the TPM refused: %s", what, wrong_auth);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(advices); i++)
        if (advices[i].code == tpm_code(rc)) {
            g_autofree char *found = advices[i].advice ? NULL : tpm_space_advice(tpm->esys, tpm_code(rc));
            error_set(error, advices[i].error, "%s: the TPM refused: %s", what, found ? found : advices[i].advice);
            return;
        }
    error_set(error, ERROR_TPM_FAILED, "%s: the TPM refused with 0x%03x; see the log of hubkeyd", what, rc & 0xffff);
}

static void
log_code(struct tpm *tpm, TSS2_RC rc, const char *what, const char *message)
{
    int64_t now = clock_boot_us();
    bool again = tpm->said_rc == rc && tpm->said_what == what && now - tpm->said_us < SAY_AGAIN_US;
    g_log(G_LOG_DOMAIN, again ? G_LOG_LEVEL_DEBUG : G_LOG_LEVEL_WARNING, "%s (0x%08x %s)", message, rc,
          Tss2_RC_Decode(rc));
    if (again)
        return;
    tpm->said_rc = rc;
    tpm->said_what = what;
    tpm->said_us = now;
}

bool
tpm_check_auth(struct tpm *tpm, TSS2_RC rc, const char *what, const char *wrong, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (rc == TSS2_RC_SUCCESS)
        return true;
    if (tpm_refused(rc))
        tell_refused(tpm, rc, what, wrong, &why);
    else if (rc == TSS2_ESYS_RC_RSP_AUTH_FAILED)
        error_set(&why, ERROR_TPM_FAILED, "%s: the answer does not carry the TPM's proof, so it was changed on its way "
                  "and not used; something stands between the processor and the TPM", what);
    else
        error_set(&why, ERROR_TPM_ABSENT, "%s: the connection to the TPM at %s was lost; it is tried again", what,
                  tpm->tcti_name);
    tpm->broken |= rc == TSS2_ESYS_RC_RSP_AUTH_FAILED;
    log_code(tpm, rc, what, why->message);
    /* Transport or library: this context cannot be trusted any more. The next tpm_open makes a new one. */
    if (why->code == ERROR_TPM_ABSENT)
        tpm_close(tpm);
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

bool
tpm_check(struct tpm *tpm, TSS2_RC rc, const char *what, GError **error)
{
    tpm->owner_refused |= tpm_refused(rc) && (tpm_code(rc) == TPM2_RC_BAD_AUTH || tpm_code(rc) == TPM2_RC_AUTH_FAIL);
    return tpm_check_auth(tpm, rc, what, "the owner has a password that is not ours; give it by OwnerAuthFile= in "
                          "hubkeyd.conf", error);
}
