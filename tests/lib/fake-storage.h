/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Storage of slots in memory, for tests of what stands above it. Its signatures are real. It can be told to fail, and
 * to hold whoever comes in, as a TPM does that does not answer.
 */
#pragma once

#include "daemon/slot.h"

enum fake_storage_op {
    FAKE_STORAGE_LOAD_ALL,
    FAKE_STORAGE_ATTACH,
    FAKE_STORAGE_SURVEY,
    FAKE_STORAGE_SIGN,
    FAKE_STORAGE_PROVISION,
    FAKE_STORAGE_ROTATE,
    FAKE_STORAGE_UNDO,
    FAKE_STORAGE_ADOPT,
    FAKE_STORAGE_CLEAR,
    FAKE_STORAGE_IDLE,
    FAKE_STORAGE_OPS
};

#define FAKE_STORAGE_SRK "000b00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

#define FAKE_STORAGE_SLOTS 64

struct fake_storage;

extern const struct slot_ops fake_storage_ops; /* slots 0 to FAKE_STORAGE_SLOTS - 1 */

struct fake_storage *fake_storage_new(void); /* empty, an SRK is there */
void fake_storage_free(struct fake_storage *storage);

/* What stands in a slot from the next look on. host NULL: nothing is known of an identity. key is text; NULL: none. */
void fake_storage_put(struct fake_storage *storage, uint32_t slot, enum slot_state state, uint64_t generation,
                      const char *host, const char *device, const char *key);
void fake_storage_set_medium(struct fake_storage *storage, bool cleared, const char *srk_name);

/* Answers op with an error from now on; 0: it works again. */
void fake_storage_fail(struct fake_storage *storage, enum fake_storage_op op, int code);

/* Whoever enters op waits inside until release, or until it is let through. */
void fake_storage_hold(struct fake_storage *storage, enum fake_storage_op op);
void fake_storage_let_one(struct fake_storage *storage);
void fake_storage_release(struct fake_storage *storage);
bool fake_storage_is_inside(void *storage); /* somebody waits; for await */

unsigned fake_storage_count(struct fake_storage *storage, enum fake_storage_op op); /* how often it was entered */
