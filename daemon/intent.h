/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What was begun: written and synced before the first change in the TPM, removed after the last. One that is still
 * there at start tells what a crash cut short.
 */
#pragma once

#include "daemon/store.h"

enum intent_operation { INTENT_PROVISION = 1, INTENT_CLEAR };

struct intent {
    enum intent_operation operation;
    uint64_t generation; /* of the record that will be written at the end */
    struct identity *identity;
    char *key_name; /* hex of the TPM Name of the key made, or to be removed */
    GBytes *blob;   /* provision: public and private area of the key, wrapped under the SRK */
};

void intent_clear(struct intent *intent);

bool intent_write(struct store *store, uint32_t slot, const struct intent *intent, GError **error);
bool intent_read(struct store *store, uint32_t slot, struct intent *intent, bool *absent, GError **error);
bool intent_remove(struct store *store, uint32_t slot, GError **error);

/* The intent to make an SRK: has no content, belongs to no slot. */
bool intent_write_srk(struct store *store, GError **error);
bool intent_find_srk(struct store *store, bool *absent, GError **error);
bool intent_remove_srk(struct store *store, GError **error);
