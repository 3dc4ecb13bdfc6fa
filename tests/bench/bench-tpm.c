/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The TPM alone: an HMAC of 80 bytes, no daemon and no bus between. raw-hmac: with slot 0's key, by ESYS and a password
 * session. raw-load-hmac: with a key that is loaded for it and flushed afterwards; raw-flush: how much of that is the
 * flush. sys-load-hmac: loading and signing by the System API, as hubkeyd does it, so without what ESYS does around
 * TPM2_Load: it computes the key's Name with a libcrypto that it sets up for that. protect-bus: with slot 0's key as
 * hubkeyd makes it with ProtectBus=always, in a session of its own.
 */
#include <config.h>

#include "daemon/tpm-key.h"
#include "daemon/tpm-srk.h"
#include "tests/bench/timing.h"

#include <string.h>

#include <glib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_sys.h>
#include <tss2/tss2_tctildr.h>

#define SRK 0x81000001
#define SLOT_0_KEY 0x81000100
#define WARM_UP 200
#define SAMPLES 3000
#define PROTECTED_SAMPLES 300 /* each takes milliseconds */
#define DATA_BYTES 80
#define NO ESYS_TR_NONE

struct bench {
    ESYS_CONTEXT *esys;
    TSS2_SYS_CONTEXT *sys; /* the same connection */
    ESYS_TR parent; /* of the key that is loaded; NO in a row that loads none */
    ESYS_TR key;
    TPM2B_PRIVATE *private;
    TPM2B_PUBLIC *public;
    TPM2B_MAX_BUFFER data;
};

static void
check(TSS2_RC rc, const char *what)
{
    if (rc != TSS2_RC_SUCCESS)
        g_error("%s: 0x%x", what, rc);
}

static ESYS_TR
open_persistent(ESYS_CONTEXT *esys, uint32_t handle)
{
    ESYS_TR object = NO;
    if (Esys_TR_FromTPMPublic(esys, handle, NO, NO, NO, &object) != TSS2_RC_SUCCESS)
        g_error("no key at 0x%x through TPM2TOOLS_TCTI", handle);
    return object;
}

static void
prepare_key(struct bench *bench)
{
    bench->key = open_persistent(bench->esys, SLOT_0_KEY);
}

static void
prepare_blob(struct bench *bench)
{
    static const TPM2B_SENSITIVE_CREATE sensitive = { .sensitive.data = { .size = 32, .buffer = "bench" } };
    static const TPM2B_PUBLIC template = { .publicArea = {
        .type = TPM2_ALG_KEYEDHASH, .nameAlg = TPM2_ALG_SHA256,
        .objectAttributes = TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_NODA,
        .parameters.keyedHashDetail.scheme = { .scheme = TPM2_ALG_HMAC, .details.hmac.hashAlg = TPM2_ALG_SHA256 } } };
    static const TPM2B_DATA outside = { 0 };
    static const TPML_PCR_SELECTION pcrs = { 0 };
    bench->parent = open_persistent(bench->esys, SRK);
    check(Esys_Create(bench->esys, bench->parent, ESYS_TR_PASSWORD, NO, NO, &sensitive, &template, &outside, &pcrs,
                      &bench->private, &bench->public, NULL, NULL, NULL), "TPM2_Create");
}

static int64_t
measure_from(struct bench *bench, bool only_flush)
{
    TPM2B_DIGEST *mac = NULL;
    int64_t start = timing_now_ns();
    if (bench->parent != NO)
        check(Esys_Load(bench->esys, bench->parent, ESYS_TR_PASSWORD, NO, NO, bench->private, bench->public,
                        &bench->key), "TPM2_Load");
    check(Esys_HMAC(bench->esys, bench->key, ESYS_TR_PASSWORD, NO, NO, &bench->data, TPM2_ALG_SHA256, &mac),
          "TPM2_HMAC");
    if (only_flush)
        start = timing_now_ns();
    if (bench->parent != NO)
        check(Esys_FlushContext(bench->esys, bench->key), "TPM2_FlushContext");
    int64_t end = timing_now_ns();
    Esys_Free(mac);
    return end - start;
}

static int64_t
measure_all(struct bench *bench)
{
    return measure_from(bench, false);
}

static int64_t
measure_flush(struct bench *bench)
{
    return measure_from(bench, true);
}

/* The flush is not in it: hubkeyd answers before it flushes. */
static int64_t
measure_by_sys(struct bench *bench)
{
    static const TSS2L_SYS_AUTH_COMMAND password = { .count = 1, .auths = { { .sessionHandle = TPM2_RS_PW } } };
    TSS2L_SYS_AUTH_RESPONSE load_answer = { 0 }, hmac_answer = { 0 };
    TPM2B_NAME name = { .size = sizeof name.name };
    TPM2B_DIGEST mac = { .size = sizeof mac.buffer };
    TPM2_HANDLE key;
    int64_t start = timing_now_ns();
    check(Tss2_Sys_Load(bench->sys, SRK, &password, bench->private, bench->public, &key, &name, &load_answer),
          "TPM2_Load");
    check(Tss2_Sys_HMAC(bench->sys, key, &password, &bench->data, TPM2_ALG_SHA256, &mac, &hmac_answer), "TPM2_HMAC");
    int64_t took = timing_now_ns() - start;
    check(Tss2_Sys_FlushContext(bench->sys, key), "TPM2_FlushContext");
    return took;
}

static void
measure_raw(const char *row, void (*prepare)(struct bench *), int64_t (*measure)(struct bench *))
{
    struct bench bench = { .parent = NO, .key = NO, .data.size = DATA_BYTES };
    TSS2_TCTI_CONTEXT *tcti = NULL;
    size_t n = timing_samples(SAMPLES);
    g_autofree int64_t *samples = g_new(int64_t, n);
    check(Tss2_TctiLdr_Initialize(g_getenv("TPM2TOOLS_TCTI"), &tcti), "TPM2TOOLS_TCTI");
    check(Esys_Initialize(&bench.esys, tcti, NULL), "Esys_Initialize");
    check(Esys_GetSysContext(bench.esys, &bench.sys), "Esys_GetSysContext");
    prepare(&bench);
    memset(bench.data.buffer, 'x', DATA_BYTES);
    for (unsigned i = 0; i < WARM_UP + n; i++) {
        int64_t took = measure(&bench);
        if (i >= WARM_UP)
            samples[i - WARM_UP] = took;
    }
    timing_print(row, samples, n);
    Esys_Free(bench.private);
    Esys_Free(bench.public);
    Esys_Finalize(&bench.esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

static void
measure_protected(const char *row)
{
    g_autoptr(GError) error = NULL;
    size_t n = timing_samples(PROTECTED_SAMPLES);
    g_autofree int64_t *samples = g_new(int64_t, n);
    struct tpm *tpm = tpm_new(g_getenv("TPM2TOOLS_TCTI"), NULL);
    struct tpm_name srk, name;
    bool present, usable;
    uint32_t key;
    uint8_t data[DATA_BYTES] = { 0 }, mac[TPM_MAC_BYTES];
    if (!tpm_open(tpm, &error) || !tpm_srk_find(tpm, &srk, &present, &error) ||
        !tpm_key_open(tpm, SLOT_0_KEY, &key, &name, &usable, &error))
        g_error("%s", error->message);
    tpm_pin_srk(tpm, &srk);
    tpm_protect_bus(tpm, true);
    for (unsigned i = 0; i < n; i++) {
        int64_t start = timing_now_ns();
        if (!tpm_key_hmac(tpm, key, data, sizeof data, mac, &error))
            g_error("%s", error->message);
        samples[i] = timing_now_ns() - start;
    }
    timing_print(row, samples, n);
    tpm_key_close(tpm, &key);
    tpm_free(tpm);
}

int
main(int argc, char **argv)
{
    const char *row = argc == 2 ? argv[1] : "";
    g_setenv("TSS2_LOG", "all+none", FALSE);
    if (strcmp(row, "raw-hmac") == 0) {
        measure_raw(row, prepare_key, measure_all);
    } else if (strcmp(row, "raw-load-hmac") == 0) {
        measure_raw(row, prepare_blob, measure_all);
    } else if (strcmp(row, "raw-flush") == 0) {
        measure_raw(row, prepare_blob, measure_flush);
    } else if (strcmp(row, "sys-load-hmac") == 0) {
        measure_raw(row, prepare_blob, measure_by_sys);
    } else if (strcmp(row, "protect-bus") == 0) {
        measure_protected(row);
    } else {
        fprintf(stderr, "usage: bench-tpm raw-hmac|raw-load-hmac|raw-flush|sys-load-hmac|protect-bus\n");
        return 2;
    }
    return 0;
}
