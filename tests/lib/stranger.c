/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/stranger.h"

#include <string.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#define NOBODY ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define BY_PASSWORD ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE
#define DONE(call) g_assert_cmphex((call), ==, TSS2_RC_SUCCESS)
#define TRANSIENT_FIRST ((TPM2_HANDLE)TPM2_HT_TRANSIENT << TPM2_HR_SHIFT)
#define FILLING_FROM 0x81020000
#define FILLING_NV_FROM 0x01800000

struct stranger {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
};

struct stranger *
stranger_open(const char *tcti)
{
    struct stranger *stranger = g_new0(struct stranger, 1);
    DONE(Tss2_TctiLdr_Initialize(tcti, &stranger->tcti));
    DONE(Esys_Initialize(&stranger->esys, stranger->tcti, NULL));
    return stranger;
}

void
stranger_close(struct stranger *stranger)
{
    if (!stranger)
        return;
    Esys_Finalize(&stranger->esys);
    Tss2_TctiLdr_Finalize(&stranger->tcti);
    g_free(stranger);
}

/* ESYS_TR_NONE where nothing stands at handle. */
static ESYS_TR
look_up(struct stranger *stranger, uint32_t handle)
{
    ESYS_TR object;
    TSS2_RC rc = Esys_TR_FromTPMPublic(stranger->esys, handle, NOBODY, &object);
    return rc == TSS2_RC_SUCCESS ? object : ESYS_TR_NONE;
}

static void
forget(struct stranger *stranger, ESYS_TR *object)
{
    DONE(Esys_TR_Close(stranger->esys, object));
}

/* ---- keys ---- */

#define USER_NODA (TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA)
#define STORAGE (TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SENSITIVEDATAORIGIN |                      \
                 TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT)

static TPMT_PUBLIC
keyed_hash(TPMA_OBJECT attributes, TPMI_ALG_HASH name, TPMI_ALG_KEYEDHASH_SCHEME scheme, TPMI_ALG_HASH hash)
{
    TPMT_PUBLIC area = { .type = TPM2_ALG_KEYEDHASH, .nameAlg = name, .objectAttributes = attributes | USER_NODA };
    area.parameters.keyedHashDetail.scheme.scheme = scheme;
    area.parameters.keyedHashDetail.scheme.details.hmac.hashAlg = hash;
    return area;
}

static TPMT_PUBLIC
ecc(TPMA_OBJECT attributes, TPMI_ALG_HASH name)
{
    TPMT_PUBLIC area = { .type = TPM2_ALG_ECC, .nameAlg = name, .objectAttributes = attributes | USER_NODA };
    TPMS_ECC_PARMS *ecc = &area.parameters.eccDetail;
    bool storage = attributes & TPMA_OBJECT_RESTRICTED;
    ecc->symmetric.algorithm = storage ? TPM2_ALG_AES : TPM2_ALG_NULL;
    ecc->symmetric.keyBits.aes = 128;
    ecc->symmetric.mode.aes = TPM2_ALG_CFB;
    ecc->scheme.scheme = TPM2_ALG_NULL;
    ecc->kdf.scheme = TPM2_ALG_NULL;
    ecc->curveID = TPM2_ECC_NIST_P256;
    return area;
}

static TPMT_PUBLIC
template(enum stranger_kind kind)
{
    const TPMA_OBJECT sign = TPMA_OBJECT_SIGN_ENCRYPT;
    switch (kind) {
    case STRANGER_HMAC_SHA1:
        return keyed_hash(sign, TPM2_ALG_SHA256, TPM2_ALG_HMAC, TPM2_ALG_SHA1);
    case STRANGER_HMAC_384:
        return keyed_hash(sign, TPM2_ALG_SHA384, TPM2_ALG_HMAC, TPM2_ALG_SHA256);
    case STRANGER_RESTRICTED:
        return keyed_hash(sign | TPMA_OBJECT_RESTRICTED, TPM2_ALG_SHA256, TPM2_ALG_HMAC, TPM2_ALG_SHA256);
    case STRANGER_SEALED:
        return keyed_hash(0, TPM2_ALG_SHA256, TPM2_ALG_NULL, 0);
    case STRANGER_ECC_SIGN:
        return ecc(sign | TPMA_OBJECT_SENSITIVEDATAORIGIN, TPM2_ALG_SHA256);
    case STRANGER_ECC_STORAGE:
        return ecc(STORAGE, TPM2_ALG_SHA256);
    case STRANGER_ECC_STORAGE_384:
        return ecc(STORAGE, TPM2_ALG_SHA384);
    case STRANGER_ECC_STORAGE_LOOSE:
        return ecc(STORAGE & ~(TPMA_OBJECT)(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT), TPM2_ALG_SHA256);
    case STRANGER_SYMMETRIC_STORAGE:
        return (TPMT_PUBLIC){
            .type = TPM2_ALG_SYMCIPHER,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = STORAGE | USER_NODA,
            .parameters.symDetail.sym = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB },
        };
    default:
        return keyed_hash(sign, TPM2_ALG_SHA256, TPM2_ALG_HMAC, TPM2_ALG_SHA256);
    }
}

static ESYS_TR
make_primary(struct stranger *stranger, const TPMT_PUBLIC *area, const char *secret)
{
    const TPM2B_PUBLIC public = { .publicArea = *area };
    const TPM2B_DATA outside = { 0 };
    const TPML_PCR_SELECTION pcrs = { 0 };
    TPM2B_SENSITIVE_CREATE sensitive = { 0 };
    TPM2B_SENSITIVE_DATA *data = &sensitive.sensitive.data;
    ESYS_TR object;
    if (area->type == TPM2_ALG_KEYEDHASH) {
        data->size = (UINT16)strlen(secret);
        memcpy(data->buffer, secret, data->size);
    }
    DONE(Esys_CreatePrimary(stranger->esys, ESYS_TR_RH_OWNER, BY_PASSWORD, &sensitive, &public, &outside, &pcrs,
                            &object, NULL, NULL, NULL, NULL));
    return object;
}

static TSS2_RC
persist(struct stranger *stranger, ESYS_TR object, uint32_t handle)
{
    ESYS_TR persistent;
    TSS2_RC rc = Esys_EvictControl(stranger->esys, ESYS_TR_RH_OWNER, object, BY_PASSWORD, handle, &persistent);
    if (rc == TSS2_RC_SUCCESS)
        forget(stranger, &persistent);
    return rc;
}

void
stranger_put(struct stranger *stranger, uint32_t handle, enum stranger_kind kind, const char *secret)
{
    const TPMT_PUBLIC area = template(kind);
    ESYS_TR object = make_primary(stranger, &area, secret ? secret : "0123456789abcdef0123456789abcdef");
    DONE(persist(stranger, object, handle));
    DONE(Esys_FlushContext(stranger->esys, object));
}

void
stranger_evict(struct stranger *stranger, uint32_t handle)
{
    ESYS_TR gone, object = look_up(stranger, handle);
    DONE(Esys_EvictControl(stranger->esys, ESYS_TR_RH_OWNER, object, BY_PASSWORD, handle, &gone));
    forget(stranger, &object);
}

/* The TPM's handle; ESYS drops its record, the object stays. */
static uint32_t
let_stay(struct stranger *stranger, ESYS_TR object)
{
    TPM2_HANDLE handle;
    DONE(Esys_TR_GetTpmHandle(stranger->esys, object, &handle));
    forget(stranger, &object);
    return handle;
}

uint32_t
stranger_load(struct stranger *stranger)
{
    const TPMT_PUBLIC area = template(STRANGER_HMAC);
    return let_stay(stranger, make_primary(stranger, &area, "a transient key of somebody else"));
}

uint32_t
stranger_load_rsa_storage(struct stranger *stranger, bool no_da)
{
    TPMT_PUBLIC area = { .type = TPM2_ALG_RSA, .nameAlg = TPM2_ALG_SHA256,
                         .objectAttributes = STORAGE | TPMA_OBJECT_USERWITHAUTH | (no_da ? TPMA_OBJECT_NODA : 0) };
    area.parameters.rsaDetail.symmetric = (TPMT_SYM_DEF_OBJECT){ .algorithm = TPM2_ALG_AES, .keyBits.aes = 128,
                                                                 .mode.aes = TPM2_ALG_CFB };
    area.parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
    area.parameters.rsaDetail.keyBits = 2048;
    return let_stay(stranger, make_primary(stranger, &area, NULL));
}

uint32_t
stranger_begin_sequence(struct stranger *stranger)
{
    const TPM2B_AUTH no_auth = { 0 };
    ESYS_TR sequence;
    DONE(Esys_HashSequenceStart(stranger->esys, NOBODY, &no_auth, TPM2_ALG_SHA256, &sequence));
    return let_stay(stranger, sequence);
}

void
stranger_flush(struct stranger *stranger, uint32_t transient)
{
    /* By its number: ESYS cannot look up a sequence. */
    uint8_t command[14] = { 0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65 }, answer[64];
    size_t offset = 10, size = sizeof answer;
    DONE(Tss2_MU_UINT32_Marshal(transient, command, sizeof command, &offset));
    DONE(Tss2_Tcti_Transmit(stranger->tcti, sizeof command, command));
    DONE(Tss2_Tcti_Receive(stranger->tcti, &size, answer, TSS2_TCTI_TIMEOUT_BLOCK));
    g_assert_cmpmem(answer + 6, 4, "\0\0\0\0", 4);
}

/* ---- NV ---- */

void
stranger_put_nv(struct stranger *stranger, uint32_t index, uint32_t attributes, const char *auth, const void *data,
                size_t size)
{
    const TPM2B_NV_PUBLIC public = { .nvPublic = { .nvIndex = index, .nameAlg = TPM2_ALG_SHA256,
                                                   .attributes = attributes, .dataSize = (UINT16)size } };
    TPM2B_AUTH password = { 0 };
    ESYS_TR nv;
    if (auth)
        password.size = (UINT16)g_strlcpy((char *)password.buffer, auth, sizeof password.buffer);
    DONE(Esys_NV_DefineSpace(stranger->esys, ESYS_TR_RH_OWNER, BY_PASSWORD, &password, &public, &nv));
    for (size_t at = 0; data && at < size;) {
        TPM2B_MAX_NV_BUFFER part = { .size = (UINT16)MIN(size - at, 512) };
        memcpy(part.buffer, (const uint8_t *)data + at, part.size);
        bool by_owner = attributes & TPMA_NV_OWNERWRITE;
        DONE(Esys_NV_Write(stranger->esys, by_owner ? ESYS_TR_RH_OWNER : nv, nv, BY_PASSWORD, &part, (UINT16)at));
        at += part.size;
    }
    forget(stranger, &nv);
}

void
stranger_put_text(struct stranger *stranger, uint32_t index, const char *text)
{
    stranger_put_nv(stranger, index, STRANGER_NV_WINDOWS, NULL, text, strlen(text));
}

void
stranger_undefine(struct stranger *stranger, uint32_t index)
{
    DONE(Esys_NV_UndefineSpace(stranger->esys, ESYS_TR_RH_OWNER, look_up(stranger, index), BY_PASSWORD));
}

uint32_t
stranger_overwrite(struct stranger *stranger, uint32_t index, const char *text)
{
    TPM2B_MAX_NV_BUFFER data = { .size = (UINT16)strlen(text) };
    ESYS_TR nv = look_up(stranger, index);
    memcpy(data.buffer, text, data.size);
    TSS2_RC rc = Esys_NV_Write(stranger->esys, ESYS_TR_RH_OWNER, nv, BY_PASSWORD, &data, 0);
    forget(stranger, &nv);
    return rc;
}

/* ---- looking ---- */

static void
append_content(struct stranger *stranger, ESYS_TR nv, UINT16 size, GByteArray *bytes)
{
    TPM2B_MAX_NV_BUFFER *data;
    if (Esys_NV_Read(stranger->esys, nv, nv, BY_PASSWORD, (UINT16)MIN(size, 512), 0, &data) != TSS2_RC_SUCCESS)
        return;
    g_byte_array_append(bytes, data->buffer, data->size);
    Esys_Free(data);
}

static void
append_index(struct stranger *stranger, ESYS_TR nv, GByteArray *bytes)
{
    TPM2B_NV_PUBLIC *public;
    TPM2B_NAME *name;
    uint8_t buffer[sizeof *public];
    size_t used = 0;
    DONE(Esys_NV_ReadPublic(stranger->esys, nv, NOBODY, &public, &name));
    DONE(Tss2_MU_TPM2B_NV_PUBLIC_Marshal(public, buffer, sizeof buffer, &used));
    g_byte_array_append(bytes, buffer, (guint)used);
    g_byte_array_append(bytes, name->name, name->size);
    append_content(stranger, nv, public->nvPublic.dataSize, bytes);
    Esys_Free(public);
    Esys_Free(name);
}

static void
append_object(struct stranger *stranger, ESYS_TR object, GByteArray *bytes)
{
    TPM2B_PUBLIC *public;
    TPM2B_NAME *name;
    uint8_t buffer[sizeof *public];
    size_t used = 0;
    DONE(Esys_ReadPublic(stranger->esys, object, NOBODY, &public, &name, NULL));
    DONE(Tss2_MU_TPM2B_PUBLIC_Marshal(public, buffer, sizeof buffer, &used));
    g_byte_array_append(bytes, buffer, (guint)used);
    g_byte_array_append(bytes, name->name, name->size);
    Esys_Free(public);
    Esys_Free(name);
}

GBytes *
stranger_look(struct stranger *stranger, uint32_t handle)
{
    ESYS_TR object = look_up(stranger, handle);
    if (object == ESYS_TR_NONE)
        return NULL;
    GByteArray *bytes = g_byte_array_new();
    if (handle >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX)
        append_index(stranger, object, bytes);
    else
        append_object(stranger, object, bytes);
    forget(stranger, &object);
    return g_byte_array_free_to_bytes(bytes);
}

static TPML_HANDLE
list(struct stranger *stranger, uint32_t first)
{
    TPMS_CAPABILITY_DATA *handles;
    TPMI_YES_NO more;
    DONE(Esys_GetCapability(stranger->esys, NOBODY, TPM2_CAP_HANDLES, first, 254, &more, &handles));
    TPML_HANDLE found = handles->data.handles;
    Esys_Free(handles);
    return found;
}

static uint32_t
count(struct stranger *stranger, uint32_t first)
{
    return list(stranger, first).count;
}

void
stranger_flush_all(struct stranger *stranger)
{
    TPML_HANDLE found = list(stranger, TRANSIENT_FIRST);
    for (UINT32 i = 0; i < found.count; i++)
        stranger_flush(stranger, found.handle[i]);
}

struct stranger_usage
stranger_usage(struct stranger *stranger)
{
    return (struct stranger_usage){
        .transient = count(stranger, TRANSIENT_FIRST),
        .loaded_sessions = count(stranger, TPM2_LOADED_SESSION_FIRST),
        .saved_sessions = count(stranger, TPM2_ACTIVE_SESSION_FIRST),
    };
}

bool
stranger_same_usage(struct stranger *stranger, const struct stranger_usage *before)
{
    struct stranger_usage now = stranger_usage(stranger);
    return memcmp(&now, before, sizeof now) == 0;
}

/* ---- the TPM itself ---- */

static TPM2B_AUTH
as_auth(const char *text)
{
    TPM2B_AUTH auth = { 0 };
    auth.size = (UINT16)g_strlcpy((char *)auth.buffer, text, sizeof auth.buffer);
    return auth;
}

void
stranger_set_owner(struct stranger *stranger, const char *from, const char *to)
{
    const TPM2B_AUTH old = as_auth(from), new = as_auth(to);
    DONE(Esys_TR_SetAuth(stranger->esys, ESYS_TR_RH_OWNER, &old));
    DONE(Esys_HierarchyChangeAuth(stranger->esys, ESYS_TR_RH_OWNER, BY_PASSWORD, &new));
    DONE(Esys_TR_SetAuth(stranger->esys, ESYS_TR_RH_OWNER, &new));
}

/* No failure at all is as many as are allowed then (Part 1, 19.8.2). */
void
stranger_set_lockout(struct stranger *stranger, bool locked)
{
    UINT32 tries = locked ? 0 : 32;
    DONE(Esys_DictionaryAttackParameters(stranger->esys, ESYS_TR_RH_LOCKOUT, BY_PASSWORD, tries, 7200, 86400));
}

uint32_t
stranger_lockout_counter(struct stranger *stranger)
{
    TPMS_CAPABILITY_DATA *data;
    TPMI_YES_NO more;
    DONE(Esys_GetCapability(stranger->esys, NOBODY, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_LOCKOUT_COUNTER, 1, &more, &data));
    g_assert_cmphex(data->data.tpmProperties.tpmProperty[0].property, ==, TPM2_PT_LOCKOUT_COUNTER);
    uint32_t counter = data->data.tpmProperties.tpmProperty[0].value;
    Esys_Free(data);
    return counter;
}

void
stranger_clear(struct stranger *stranger)
{
    DONE(Esys_Clear(stranger->esys, ESYS_TR_RH_LOCKOUT, BY_PASSWORD));
}

void
stranger_fill_persistent(struct stranger *stranger)
{
    const TPMT_PUBLIC area = template(STRANGER_HMAC);
    ESYS_TR object = make_primary(stranger, &area, "filling");
    TSS2_RC rc = TSS2_RC_SUCCESS;
    for (uint32_t i = 0; i < 1024 && rc == TSS2_RC_SUCCESS; i++)
        rc = persist(stranger, object, FILLING_FROM + i);
    DONE(Esys_FlushContext(stranger->esys, object));
    g_assert_cmphex(rc, ==, TPM2_RC_NV_SPACE);
}

void
stranger_fill_nv(struct stranger *stranger)
{
    const TPM2B_AUTH no_auth = { 0 };
    TPM2B_NV_PUBLIC public = { .nvPublic = { .nameAlg = TPM2_ALG_SHA256, .attributes = STRANGER_NV_WINDOWS } };
    TSS2_RC rc = TSS2_RC_SUCCESS;
    uint32_t index = FILLING_NV_FROM;
    /* Large ones first, then what still fits between them. */
    for (UINT16 size = 2048; size >= 1; size /= 2, rc = TSS2_RC_SUCCESS)
        for (int i = 0; i < 1024 && rc == TSS2_RC_SUCCESS; i++) {
            ESYS_TR nv;
            public.nvPublic.nvIndex = index++;
            public.nvPublic.dataSize = size;
            rc = Esys_NV_DefineSpace(stranger->esys, ESYS_TR_RH_OWNER, BY_PASSWORD, &no_auth, &public, &nv);
            if (rc == TSS2_RC_SUCCESS)
                forget(stranger, &nv);
            else
                g_assert_cmphex(rc, ==, TPM2_RC_NV_SPACE);
        }
}
