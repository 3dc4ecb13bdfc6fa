/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/handles.h"

#include <stddef.h>

#include <glib.h>

/* TCG Registry of Reserved TPM 2.0 Handles and Localities, Provisioning Guidance 7.8, EK Credential Profile 2.2, and
 * what programs of this field are known to use; the narrower range first. */
static const struct {
    uint32_t first, last;
    const char *owner;
} owners[] = {
    { 0x81000001, 0x81000001, "the storage root key" },
    { 0x81000100, 0x81000109, "a slot of hubkey, or of another IoT program in the same place" },
    { 0x81000000, 0x8100ffff, "a storage key" },
    { 0x81010001, 0x81010001, "the manufacturer's endorsement key, RSA" },
    { 0x81010002, 0x81010002, "the manufacturer's endorsement key, ECC (Windows)" },
    { 0x81010016, 0x81010016, "the manufacturer's endorsement key, ECC" },
    { 0x81010000, 0x8101ffff, "the manufacturer's endorsement key" },
    { 0x81800000, 0x81ffffff, "the platform's" },
    { 0x01400100, 0x01400109, "a slot of hubkey or of Windows IoT" },
    { 0x01000000, 0x013fffff, "the TPM manufacturer's" },
    { 0x01400000, 0x017fffff, "the platform manufacturer's" },
    { 0x01c00002, 0x01c00002, "an endorsement certificate, RSA" },
    { 0x01c0000a, 0x01c0000a, "an endorsement certificate, ECC" },
    { 0x01c00000, 0x01c07fff, "an endorsement certificate" },
    { 0x01c08000, 0x01c0ffff, "a platform certificate" },
    { 0x01c10000, 0x01c1ffff, "the firmware's" },
};

const char *
handles_owner(uint32_t handle)
{
    for (size_t i = 0; i < G_N_ELEMENTS(owners); i++)
        if (owners[i].first <= handle && handle <= owners[i].last)
            return owners[i].owner;
    return NULL;
}
