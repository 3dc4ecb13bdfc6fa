/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who fills a TPM: what stands in the memory that it says is full, whose it likely is, and how it is emptied. Only
 * looks; what is not ours is never touched.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <tss2/tss2_esys.h>

/* A sentence with the cure for the code of a TPM that has no room; NULL for another code. g_free. */
char *tpm_space_advice(ESYS_CONTEXT *esys, TSS2_RC code);
