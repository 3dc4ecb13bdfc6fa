/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The identity record in NV, as the Windows tool lays it out: exactly "host/deviceId", no NUL, readable by the index's
 * own empty authorisation. Ours is written once and then locked, so that it can be defined anew but not rewritten.
 */
#pragma once

#include "daemon/tpm.h"

#define TPM_NV_TEXT_MAX 400 /* bytes of host/deviceId; a host has at most 253, an ID 128 */

struct tpm_nv {
    bool present;
    bool ours;    /* has the attributes that tpm_nv_write gives */
    bool written; /* holds something */
    bool locked;
    bool readable; /* by an empty password, without risk where it has another */
    uint16_t size;
    char *text; /* what it holds, where it can be read and is 1 to TPM_NV_TEXT_MAX bytes without NUL; else NULL */
};

void tpm_nv_clear(struct tpm_nv *nv);

bool tpm_nv_look(struct tpm *tpm, uint32_t index, struct tpm_nv *nv, GError **error);

/* Defines a free index, writes text and locks it: three commands. Needs the owner. */
bool tpm_nv_write(struct tpm *tpm, uint32_t index, const char *text, GError **error);

/* Needs the owner. The caller has made sure that the index is ours to remove. */
bool tpm_nv_undefine(struct tpm *tpm, uint32_t index, GError **error);
