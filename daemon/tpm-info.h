/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the TPM tells about itself: one TPM2_GetCapability, or two after the TPM was opened anew. Worker thread.
 */
#pragma once

#include "daemon/tpm.h"

/* Whether the owner's password is known, where the owner has one. */
enum tpm_owner {
    TPM_OWNER_KNOWN, /* as far as anybody has tried; or there is none */
    TPM_OWNER_NOT_GIVEN,
    TPM_OWNER_UNREADABLE, /* the file is missing, empty or too long */
    TPM_OWNER_REFUSED,    /* the TPM wants another one */
};

struct tpm_info {
    char manufacturer[5]; /* four letters of the TCG's vendor register, "IBM" for a software TPM */
    char firmware[24];    /* both 32-bit words as four numbers: "7.85.4555.0" */
    bool lockout;         /* after wrong passwords: nothing that dictionary attacks are watched for is answered */
    bool owner_auth_set;
    enum tpm_owner owner;
    uint32_t persistent_used, persistent_free; /* the latter as the TPM estimates it */
    /* How many indices there are, and how many counters could be defined: the only figure for free NV memory that a TPM
     * gives. An index of a slot takes more than a counter, but no part of the RAM that some TPMs keep counters in. */
    uint32_t nv_used, nv_free;
};

bool tpm_info_read(struct tpm *tpm, struct tpm_info *info, GError **error);
