/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A wrapped key as a record keeps it. There is no TPM here: nothing is ever loaded, and every input ends in one error.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/tpm-key.h"
#include "tests/fuzz/fuzz.h"

static struct tpm *tpm;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    tpm = tpm_new("none", NULL);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GBytes) blob = g_bytes_new(data, size);
    g_autoptr(GError) error = NULL;
    uint32_t key = 0;
    g_assert_false(tpm_key_load(tpm, blob, &key, &error));
    g_assert_cmpuint(key, ==, TPM_KEY_NONE);
    fuzz_expect_error(&error);
    return 0;
}
