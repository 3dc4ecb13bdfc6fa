/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-key.h"
#include "daemon/tpm-object.h"
#include "daemon/tpm-srk.h"
#include "daemon/tpm-sys.h"
#include "common/error.h"

#include <malloc.h>
#include <string.h>

#include <tss2/tss2_mu.h>

/* The HMAC key as Windows lays it out: TPMA_OBJECT 00040440, scheme HMAC with SHA-256. */
#define KEY_ATTRIBUTES (TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT)

static const TPM2B_PUBLIC key_template = {
    .publicArea = {
        .type = TPM2_ALG_KEYEDHASH,
        .nameAlg = TPM2_ALG_SHA256,
        .objectAttributes = KEY_ATTRIBUTES,
        .parameters.keyedHashDetail.scheme = {
            .scheme = TPM2_ALG_HMAC,
            .details.hmac.hashAlg = TPM2_ALG_SHA256,
        },
    },
};

typedef TPM2B_PRIVATE esys_private;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_private, Esys_Free)

/* False where it has another kind of Name than all of ours. */
static bool
get_name(const TPM2B_PUBLIC *public, struct tpm_name *name)
{
    if (public->publicArea.nameAlg != TPM2_ALG_SHA256)
        return false;
    tpm_object_name_of(public, name);
    return true;
}

static bool
flush_if_named(struct tpm *tpm, TPM2_HANDLE handle, const TPM2B_PUBLIC *public, void *data, GError **error)
{
    struct tpm_name name;
    return !get_name(public, &name) || memcmp(&name, data, sizeof name) != 0 || tpm_flush_handle(tpm, handle, error);
}

bool
tpm_key_flush_leftovers(struct tpm *tpm, const struct tpm_name *name, GError **error)
{
    struct tpm_name wanted = *name;
    return tpm_object_each(tpm, flush_if_named, &wanted, error);
}

static bool
list_if_key(struct tpm *tpm, TPM2_HANDLE handle, const TPM2B_PUBLIC *public, void *data, GError **error)
{
    const TPMT_PUBLIC *area = &public->publicArea;
    GArray *names = data;
    struct tpm_name name;
    if (area->type == TPM2_ALG_KEYEDHASH && area->authPolicy.size == TPM_POLICY_BYTES && get_name(public, &name))
        g_array_append_val(names, name);
    return true;
}

GArray *
tpm_key_list_transient(struct tpm *tpm, GError **error)
{
    g_autoptr(GArray) names = g_array_new(FALSE, FALSE, sizeof(struct tpm_name));
    return tpm_object_each(tpm, list_if_key, names, error) ? g_steal_pointer(&names) : NULL;
}

static GBytes *
pack_blob(const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private)
{
    uint8_t bytes[sizeof *public + sizeof *private];
    size_t used = 0;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(public, bytes, sizeof bytes, &used) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Marshal(private, bytes, sizeof bytes, &used) != TSS2_RC_SUCCESS)
        g_error("a key blob of the TPM does not fit its own type");
    return g_bytes_new(bytes, used);
}

static bool
unpack_blob(GBytes *blob, TPM2B_PUBLIC *public, TPM2B_PRIVATE *private, GError **error)
{
    size_t size, used = 0;
    const uint8_t *bytes = g_bytes_get_data(blob, &size);
    public->size = 0; /* the unmarshaller insists */
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes, size, &used, public) == TSS2_RC_SUCCESS &&
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(bytes, size, &used, private) == TSS2_RC_SUCCESS && used == size)
        return true;
    error_set(error, ERROR_DAMAGED, "a stored key blob cannot be read");
    return false;
}

/* As tpm_check, for a command that the SRK authorises: by its empty password, as the TCG wants it. */
static bool
check_under_srk(struct tpm *tpm, TSS2_RC rc, const char *what, GError **error)
{
    return tpm_check_auth(tpm, rc, what, "the storage root key at 0x81000001 has a password of its own, which hubkeyd "
                          "does not know; another program put it there", error);
}

static bool
tell_no_parent(GError **error)
{
    error_set(error, ERROR_TPM_FAILED, "the SRK at 0x%08x is gone; was the TPM cleared?", TPM_SRK_HANDLE);
    return false;
}

/* ESYS that stopped in the middle of a command takes no other, and frees its context with what is in it. It has no
 * call for that, so its copy, which is whole and thus cannot be mistaken, is looked for in its memory. */
static void
erase_by_force(struct tpm *tpm, const TPM2B_SENSITIVE_CREATE *sensitive)
{
    char *copy = memmem(tpm->esys, malloc_usable_size(tpm->esys), sensitive, sizeof *sensitive);
    if (copy)
        explicit_bzero(copy, sizeof *sensitive);
}

/* ESYS keeps a copy of a command's input in its context until the next one overwrites it. A Create with nothing in it,
 * which the TPM refuses (a key that is neither given nor to be made, Part 3, 12.1), overwrites all of it. */
static void
erase_from_context(struct tpm *tpm, ESYS_TR srk, const TPM2B_SENSITIVE_CREATE *sensitive)
{
    static const TPM2B_SENSITIVE_CREATE nothing = { 0 };
    static const TPM2B_DATA outside = { 0 };
    static const TPML_PCR_SELECTION pcrs = { 0 };
    g_autoptr(esys_private) private = NULL;
    g_autoptr(esys_public) public = NULL;
    struct tpm_retry retry = { 0 };
    tpm_again(tpm, &retry, Esys_Create(tpm->esys, srk, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &nothing,
                                       &key_template, &outside, &pcrs, &private, &public, NULL, NULL, NULL));
    erase_by_force(tpm, sensitive);
}

/* TPM2_Create; sensitive crosses encrypted by session. The session ends with the command. */
static bool
create(struct tpm *tpm, ESYS_TR srk, ESYS_TR *session, const TPM2B_SENSITIVE_CREATE *sensitive,
       const TPM2B_PUBLIC *template, TPM2B_PRIVATE **private, TPM2B_PUBLIC **public, GError **error)
{
    static const TPM2B_DATA outside = { 0 };
    static const TPML_PCR_SELECTION pcrs = { 0 };
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_Create(tpm->esys, srk, *session, ESYS_TR_NONE, ESYS_TR_NONE, sensitive, template, &outside, &pcrs,
                         private, public, NULL, NULL, NULL);
    while (tpm_again(tpm, &retry, rc));
    if (rc == TSS2_RC_SUCCESS)
        *session = ESYS_TR_NONE;
    erase_from_context(tpm, srk, sensitive); /* before the check, which may close the context */
    return check_under_srk(tpm, rc, "TPM2_Create of the key", error);
}

bool
tpm_key_create(struct tpm *tpm, const struct tpm_name *expected, const struct secret *key, const uint8_t *policy,
               GBytes **blob, struct tpm_name *name, GError **error)
{
    TPM2B_PUBLIC template = key_template;
    g_autoptr(esys_private) private = NULL;
    g_autoptr(esys_public) public = NULL;
    struct tpm_name found;
    ESYS_TR srk, session = ESYS_TR_NONE;

    g_return_val_if_fail(key->len > 0 && key->len <= TPM_KEY_BYTES_MAX, false);
    if (!tpm_srk_open(tpm, &srk, &found, error))
        return false;
    /* The session is salted to what ESYS holds. That is of a reading of its own, so its Name is what counts. */
    if (srk == ESYS_TR_NONE || !tpm_object_get_name(tpm, srk, &found, NULL) ||
        memcmp(&found, expected, sizeof found) != 0) {
        tpm_forget(tpm, &srk);
        error_set(error, ERROR_TPM_FAILED, "the SRK at 0x%08x was exchanged a moment ago; nothing was sent to it",
                  TPM_SRK_HANDLE);
        return false;
    }
    g_autoptr(secret_auto) room = secret_new(sizeof(TPM2B_SENSITIVE_CREATE));
    TPM2B_SENSITIVE_CREATE *sensitive = (TPM2B_SENSITIVE_CREATE *)(void *)room->data;
    if (policy) {
        template.publicArea.authPolicy.size = TPM_POLICY_BYTES;
        memcpy(template.publicArea.authPolicy.buffer, policy, TPM_POLICY_BYTES);
    }
    sensitive->sensitive.data.size = (UINT16)key->len;
    memcpy(sensitive->sensitive.data.buffer, key->data, key->len);
    bool ok = tpm_session_start(tpm, srk, TPMA_SESSION_DECRYPT, &session, error) &&
              create(tpm, srk, &session, sensitive, &template, &private, &public, error);
    tpm_flush(tpm, &session, NULL);
    tpm_forget(tpm, &srk);
    if (!ok)
        return false;
    *blob = pack_blob(public, private);
    tpm_object_name_of(public, name);
    return true;
}

bool
tpm_key_has_policy(GBytes *blob, const uint8_t policy[TPM_POLICY_BYTES])
{
    TPM2B_PUBLIC public = { 0 };
    TPM2B_PRIVATE private = { 0 };
    if (!unpack_blob(blob, &public, &private, NULL))
        return false;
    const TPM2B_DIGEST *found = &public.publicArea.authPolicy;
    return found->size == TPM_POLICY_BYTES && memcmp(found->buffer, policy, TPM_POLICY_BYTES) == 0;
}

bool
tpm_key_load(struct tpm *tpm, GBytes *blob, uint32_t *key, GError **error)
{
    TPM2B_PUBLIC public = { 0 };
    TPM2B_PRIVATE private = { 0 };
    struct tpm_name name;
    ESYS_TR srk;
    *key = TPM_KEY_NONE;
    if (!unpack_blob(blob, &public, &private, error) || !tpm_srk_open(tpm, &srk, &name, error))
        return false;
    if (srk == ESYS_TR_NONE)
        return tell_no_parent(error);
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_Load(tpm->esys, srk, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &private, &public, key);
    while (tpm_again(tpm, &retry, rc));
    if (rc != TSS2_RC_SUCCESS)
        *key = TPM_KEY_NONE;
    tpm_forget(tpm, &srk);
    return check_under_srk(tpm, rc, "TPM2_Load of the key", error);
}

/* A key loads under its own parent and no other (Part 1, 23.3), whatever we take that for: so nobody looks at the SRK
 * first. */
bool
tpm_key_load_to_sign(struct tpm *tpm, GBytes *blob, uint32_t *key, GError **error)
{
    TPM2B_PUBLIC public = { 0 };
    TPM2B_PRIVATE private = { 0 };
    if (tpm->protect_bus) /* its sessions need what ESYS keeps of a key */
        return tpm_key_load(tpm, blob, key, error);
    *key = TPM_KEY_NONE;
    if (!unpack_blob(blob, &public, &private, error))
        return false;
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = tpm_sys_load(tpm, TPM_SRK_HANDLE, &public, &private, key);
    while (tpm_again(tpm, &retry, rc));
    if (rc != TSS2_RC_SUCCESS)
        *key = TPM_KEY_NONE;
    if (tpm_is_absent(rc))
        return tell_no_parent(error);
    return check_under_srk(tpm, rc, "TPM2_Load of the key", error);
}

bool
tpm_key_flush(struct tpm *tpm, uint32_t *key, GError **error)
{
    if (!tpm_sys_is_handle(*key))
        return tpm_flush(tpm, key, error);
    bool ok = tpm_flush_handle(tpm, *key, error);
    *key = TPM_KEY_NONE;
    return ok;
}

static bool
is_hmac_key(const TPMT_PUBLIC *area)
{
    const TPMT_KEYEDHASH_SCHEME *scheme = &area->parameters.keyedHashDetail.scheme;
    const TPMA_OBJECT forbidden = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    return area->type == TPM2_ALG_KEYEDHASH && (area->objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT) &&
           !(area->objectAttributes & forbidden) &&
           (scheme->scheme == TPM2_ALG_NULL ||
            (scheme->scheme == TPM2_ALG_HMAC && scheme->details.hmac.hashAlg == TPM2_ALG_SHA256));
}

bool
tpm_key_open(struct tpm *tpm, uint32_t handle, uint32_t *key, struct tpm_name *name, bool *usable, GError **error)
{
    g_autoptr(esys_public) public = NULL;
    *usable = false;
    if (!tpm_look_up(tpm, handle, key, error))
        return false;
    if (*key == ESYS_TR_NONE)
        return true;
    if (!tpm_object_read_public(tpm, *key, &public, error)) {
        tpm_forget(tpm, key);
        return false;
    }
    *usable = public->publicArea.nameAlg == TPM2_ALG_SHA256 && is_hmac_key(&public->publicArea);
    if (*usable)
        tpm_object_name_of(public, name);
    return true;
}

void
tpm_key_close(struct tpm *tpm, uint32_t *key)
{
    tpm_forget(tpm, key);
}

bool
tpm_key_persist(struct tpm *tpm, uint32_t key, uint32_t handle, GError **error)
{
    ESYS_TR owner;
    bool ok = tpm_owner_begin(tpm, &owner, error) && tpm_object_persist(tpm, owner, key, handle, error);
    tpm_owner_end(tpm, owner);
    return ok;
}

static bool
evict(struct tpm *tpm, ESYS_TR key, TPM2_HANDLE handle, GError **error)
{
    ESYS_TR owner, gone = ESYS_TR_NONE;
    if (!tpm_owner_begin(tpm, &owner, error)) {
        tpm_owner_end(tpm, owner);
        return false;
    }
    struct tpm_retry retry = { 0 };
    TSS2_RC rc;
    do
        rc = Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, key, owner, ESYS_TR_NONE, ESYS_TR_NONE, handle, &gone);
    while (tpm_again(tpm, &retry, rc));
    tpm_owner_end(tpm, owner);
    return tpm_check(tpm, rc, "TPM2_EvictControl of the key", error);
}

/* Whether what ESYS holds carries the name; one of another kind than all of ours is none of them. */
static bool
has_name(struct tpm *tpm, ESYS_TR key, const struct tpm_name *name, bool *same, GError **error)
{
    g_autoptr(GError) why = NULL;
    struct tpm_name found;
    *same = key != ESYS_TR_NONE && tpm_object_get_name(tpm, key, &found, &why) &&
            memcmp(&found, name, sizeof found) == 0;
    if (!why || g_error_matches(why, ERROR_DOMAIN, ERROR_FOREIGN))
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

bool
tpm_key_evict(struct tpm *tpm, uint32_t handle, const struct tpm_name *name, GError **error)
{
    ESYS_TR key;
    bool ours;
    if (!tpm_look_up(tpm, handle, &key, error))
        return false;
    bool ok = has_name(tpm, key, name, &ours, error) && (!ours || evict(tpm, key, handle, error));
    /* ESYS keeps its record of what was evicted, and would refuse another key at the same handle because of it. */
    tpm_forget(tpm, &key);
    return ok;
}
