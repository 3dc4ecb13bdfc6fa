/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The TPM alone: an HMAC of 80 bytes with slot 0's key, by ESYS, password session, no daemon and no bus between.
 */
#include <config.h>

#include "tests/bench/timing.h"

#include <string.h>

#include <glib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#define SLOT_0_KEY 0x81000100
#define WARM_UP 200
#define SAMPLES 3000
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

int
main(int argc, char **argv)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    ESYS_CONTEXT *esys = NULL;
    ESYS_TR key = ESYS_TR_NONE;
    TPM2B_MAX_BUFFER data = { .size = DATA_BYTES };
    g_autofree int64_t *samples = g_new(int64_t, SAMPLES);

    if (argc != 2 || strcmp(argv[1], "raw-hmac") != 0) {
        fprintf(stderr, "usage: bench-tpm raw-hmac\n");
        return 2;
    }
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
    timing_print(argv[1], samples, SAMPLES);
    Esys_TR_Close(esys, &key);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
    return 0;
}
