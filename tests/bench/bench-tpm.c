/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The TPM alone: an HMAC of 80 bytes with slot 0's key, no daemon and no bus between. raw-hmac: by ESYS and a password
 * session. protect-bus: as hubkeyd makes it with ProtectBus=always, in a session of its own.
 */
#include <config.h>

#include "daemon/tpm-key.h"
#include "tests/bench/timing.h"

#include <string.h>

#include <glib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#define SLOT_0_KEY 0x81000100
#define WARM_UP 200
#define SAMPLES 3000
#define PROTECTED_SAMPLES 300 /* each takes milliseconds */
#define DATA_BYTES 80

static int64_t
hmac(ESYS_CONTEXT *esys, ESYS_TR key, const TPM2B_MAX_BUFFER *data)
{
    TPM2B_DIGEST *mac = NULL;
    int64_t start = timing_now_ns();
    TSS2_RC rc = Esys_HMAC(esys, key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, data, TPM2_ALG_SHA256, &mac);
    int64_t end = timing_now_ns();
    if (rc != TSS2_RC_SUCCESS)
        g_error("TPM2_HMAC: 0x%x", rc);
    Esys_Free(mac);
    return end - start;
}

static void
measure_raw(const char *row)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    ESYS_CONTEXT *esys = NULL;
    ESYS_TR key = ESYS_TR_NONE;
    TPM2B_MAX_BUFFER data = { .size = DATA_BYTES };
    g_autofree int64_t *samples = g_new(int64_t, SAMPLES);
    if (Tss2_TctiLdr_Initialize(g_getenv("TPM2TOOLS_TCTI"), &tcti) != TSS2_RC_SUCCESS ||
        Esys_Initialize(&esys, tcti, NULL) != TSS2_RC_SUCCESS ||
        Esys_TR_FromTPMPublic(esys, SLOT_0_KEY, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &key) != TSS2_RC_SUCCESS)
        g_error("no key at 0x%x through TPM2TOOLS_TCTI", SLOT_0_KEY);
    memset(data.buffer, 'x', DATA_BYTES);
    for (unsigned i = 0; i < WARM_UP + SAMPLES; i++) {
        int64_t took = hmac(esys, key, &data);
        if (i >= WARM_UP)
            samples[i - WARM_UP] = took;
    }
    timing_print(row, samples, SAMPLES);
    Esys_TR_Close(esys, &key);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

static void
measure_protected(const char *row)
{
    g_autoptr(GError) error = NULL;
    g_autofree int64_t *samples = g_new(int64_t, PROTECTED_SAMPLES);
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
    for (unsigned i = 0; i < PROTECTED_SAMPLES; i++) {
        int64_t start = timing_now_ns();
        if (!tpm_key_hmac(tpm, key, data, sizeof data, mac, &error))
            g_error("%s", error->message);
        samples[i] = timing_now_ns() - start;
    }
    timing_print(row, samples, PROTECTED_SAMPLES);
    tpm_key_close(tpm, &key);
    tpm_free(tpm);
}

int
main(int argc, char **argv)
{
    g_setenv("TSS2_LOG", "all+none", FALSE);
    if (argc == 2 && strcmp(argv[1], "raw-hmac") == 0) {
        measure_raw(argv[1]);
    } else if (argc == 2 && strcmp(argv[1], "protect-bus") == 0) {
        measure_protected(argv[1]);
    } else {
        fprintf(stderr, "usage: bench-tpm raw-hmac|protect-bus\n");
        return 2;
    }
    return 0;
}
