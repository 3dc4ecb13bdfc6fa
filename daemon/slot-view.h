/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What stands in the TPM where slot N (0 to 9) would: HMAC key persistent at 0x81000100 + N, identity in NV index
 * 0x01400100 + N; and how that compares with the pin. Worker thread.
 */
#pragma once

#include "daemon/slot.h"
#include "daemon/store.h"
#include "daemon/tpm-key.h"
#include "daemon/tpm-nv.h"

#define SLOT_VIEW_KEY_HANDLE(slot) (0x81000100 + (slot))
#define SLOT_VIEW_NV_INDEX(slot) (0x01400100 + (slot))

struct slot_view {
    uint32_t key; /* TPM_KEY_NONE: nothing stands at the handle */
    bool key_usable;
    char *key_name; /* hex; NULL unless usable */
    struct tpm_nv nv;
};

bool slot_view_open(struct tpm *tpm, uint32_t slot, struct slot_view *view, GError **error);
void slot_view_close(struct tpm *tpm, struct slot_view *view);

/* What the NV index of a key says. g_free. */
char *slot_view_nv_text(const struct store_key *key);

/* What of the pin does not hold; NULL where all of it does. A sentence without its end. g_free. */
char *slot_view_compare(const struct slot_view *view, const struct store_key *pin);

/* A slot without a pin: empty, found or foreign. srk_name is hex, NULL where there is no SRK. */
void slot_view_find(const struct slot_view *view, uint32_t slot, const char *srk_name, struct slot_finding *finding);
