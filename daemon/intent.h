/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What was begun: written and synced before the first change in the TPM, removed after the last. One that is still
 * there at start tells what a crash cut short.
 */
#pragma once

#include "daemon/store.h"

enum intent_operation { INTENT_PROVISION = 1, INTENT_CLEAR, INTENT_ROTATE, INTENT_UNDO };

struct intent {
    enum intent_operation operation;
    bool file;
    uint64_t generation;   /* of the record that will be written at the end */
    struct store_key made; /* provision, rotate, undo: the key that shall stand there */
    struct store_key old;  /* clear, rotate, undo: the one that stood there before */
};

/* "provisioning", "clearing", "rotating", "undoing a rotation" */
const char *intent_name(enum intent_operation operation);
void intent_clear(struct intent *intent);

bool intent_write(struct store *store, uint32_t slot, const struct intent *intent, GError **error);
bool intent_read(struct store *store, uint32_t slot, struct intent *intent, bool *absent, GError **error);
bool intent_remove(struct store *store, uint32_t slot, GError **error);

/* The intent to make an SRK: belongs to no slot, and keeps what the TPM was like before (tpm_srk_dup_scene). */
bool intent_write_srk(struct store *store, const char *scene, GError **error);
bool intent_read_srk(struct store *store, char **scene, bool *absent, GError **error);
bool intent_remove_srk(struct store *store, GError **error);
bool intent_set_srk_aside(struct store *store, GError **error); /* one that is damaged (store_set_aside) */
