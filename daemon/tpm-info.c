/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-info.h"
#include "daemon/tpm-esys.h"

/* Properties (Part 2, 6.13) come in groups; a command yields the rest of one. */
#define FIXED_COUNT (TPM2_PT_FIRMWARE_VERSION_2 - TPM2_PT_MANUFACTURER + 1)
#define VARIABLE_COUNT (TPM2_PT_NV_COUNTERS_AVAIL - TPM2_PT_PERMANENT + 1)

typedef TPMS_CAPABILITY_DATA esys_capability;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_capability, Esys_Free)

/* Fills values with count properties from first on; 0 for those that this TPM does not have. */
static bool
read_properties(struct tpm *tpm, TPM2_PT first, uint32_t count, uint32_t values[], GError **error)
{
    g_autoptr(esys_capability) data = NULL;
    struct tpm_retry retry = { 0 };
    TPMI_YES_NO more;
    TSS2_RC rc;
    do
        rc = Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, first,
                                count, &more, &data);
    while (tpm_again(tpm, &retry, rc));
    if (!tpm_check(tpm, rc, "TPM2_GetCapability of properties", error))
        return false;
    const TPML_TAGGED_TPM_PROPERTY *list = &data->data.tpmProperties;
    for (uint32_t i = 0; i < list->count && i < G_N_ELEMENTS(list->tpmProperty); i++)
        if (list->tpmProperty[i].property - first < count)
            values[list->tpmProperty[i].property - first] = list->tpmProperty[i].value;
    return true;
}

/* Manufacturer and firmware stay the same for as long as the TPM runs. */
static bool
read_fixed(struct tpm *tpm, struct tpm_info *info, GError **error)
{
    if (tpm->fixed_epoch != tpm->epoch) {
        uint32_t values[FIXED_COUNT] = { 0 };
        if (!read_properties(tpm, TPM2_PT_MANUFACTURER, FIXED_COUNT, values, error))
            return false;
        tpm->manufacturer = values[0];
        tpm->firmware[0] = values[TPM2_PT_FIRMWARE_VERSION_1 - TPM2_PT_MANUFACTURER];
        tpm->firmware[1] = values[TPM2_PT_FIRMWARE_VERSION_2 - TPM2_PT_MANUFACTURER];
        tpm->fixed_epoch = tpm->epoch;
    }
    const uint32_t *firmware = tpm->firmware;
    for (int i = 0; i < 4; i++) {
        char letter = (char)(tpm->manufacturer >> (24 - 8 * i));
        info->manufacturer[i] = letter == '\0' ? '\0' : g_ascii_isgraph(letter) ? letter : '?';
    }
    g_strchomp(info->manufacturer);
    g_snprintf(info->firmware, sizeof info->firmware, "%u.%u.%u.%u", firmware[0] >> 16, firmware[0] & 0xffff,
               firmware[1] >> 16, firmware[1] & 0xffff);
    return true;
}

static enum tpm_owner
owner_of(struct tpm *tpm, bool auth_set)
{
    g_autofree char *file = tpm_dup_owner_auth_file(tpm);
    if (!auth_set)
        return TPM_OWNER_KNOWN;
    if (!file)
        return TPM_OWNER_NOT_GIVEN;
    if (!tpm_owner_is_given(tpm))
        return TPM_OWNER_UNREADABLE;
    return tpm->owner_refused ? TPM_OWNER_REFUSED : TPM_OWNER_KNOWN;
}

bool
tpm_info_read(struct tpm *tpm, struct tpm_info *info, GError **error)
{
    uint32_t values[VARIABLE_COUNT] = { 0 };
    *info = (struct tpm_info){ 0 };
    if (!tpm_open(tpm, error) || !read_fixed(tpm, info, error) ||
        !read_properties(tpm, TPM2_PT_PERMANENT, VARIABLE_COUNT, values, error))
        return false;
    info->lockout = values[0] & TPMA_PERMANENT_INLOCKOUT;
    info->owner_auth_set = values[0] & TPMA_PERMANENT_OWNERAUTHSET;
    info->owner = owner_of(tpm, info->owner_auth_set);
    info->persistent_used = values[TPM2_PT_HR_PERSISTENT - TPM2_PT_PERMANENT];
    info->persistent_free = values[TPM2_PT_HR_PERSISTENT_AVAIL - TPM2_PT_PERMANENT];
    info->nv_used = values[TPM2_PT_HR_NV_INDEX - TPM2_PT_PERMANENT];
    info->nv_free = values[TPM2_PT_NV_COUNTERS_AVAIL - TPM2_PT_PERMANENT];
    return true;
}
