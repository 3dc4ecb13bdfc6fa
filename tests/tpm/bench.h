/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What hubkeyd has of slots in the TPM (storage, store, TPM), on a software TPM that a stranger uses too, without the
 * daemon around it.
 */
#pragma once

#include <stdbool.h>

#include "daemon/slot-storage.h"
#include "daemon/store.h"
#include "daemon/tpm.h"
#include "tests/lib/stranger.h"
#include "tests/lib/swtpm.h"

#define BENCH_HOST "hub.azure-devices.net"
#define BENCH_DEVICE "weather-1"
#define BENCH_KEY(slot) (0x81000100 + (slot))
#define BENCH_NV(slot) (0x01400100 + (slot))
#define BENCH_SRK 0x81000001

struct bench {
    struct swtpm *swtpm;
    struct stranger *stranger;
    char *state_dir;
    char *tcti;       /* ours; the stranger's is swtpm->tcti */
    char *owner_file; /* the file that OwnerAuthFile= names, NULL where it names none */
    struct store *store;
    struct tpm *tpm;
    struct slot_storage *storage;
    struct slot_medium medium; /* as the last attach found it */
};

/* For main(), in place of g_test_init. False where no test can run; then main returns 0. */
bool bench_init(int *argc, char ***argv);

struct bench *bench_start(void);
/* With a spy on our side: options of tcti-spy.c, each ending with a comma; %s is the bench's own directory. */
struct bench *bench_start_spied(const char *options);
/* The same with tcti-inject.c before it. */
struct bench *bench_start_injected(const char *options);
void bench_stop(struct bench *bench);

/* Rules of tcti-inject.c, NULL for none; how often they held. */
void bench_inject(struct bench *bench, const char *rules);
unsigned bench_injected(struct bench *bench);

/* As if hubkeyd ended and was started again, and had a look. */
void bench_restart(struct bench *bench);

/* Writes the file that OwnerAuthFile= names (NULL: it is missing) and restarts. */
void bench_give_owner(struct bench *bench, const char *password);

/* A file below the bench's own directory. g_free. */
char *bench_file(const struct bench *bench, const char *name);

void bench_attach(struct bench *bench);
bool bench_provision(struct bench *bench, uint32_t slot, const void *key, size_t len, GError **error);
/* With an identity of its own; NULL: BENCH_HOST and BENCH_DEVICE. Slots above 9 go into files. */
bool bench_provision_as(struct bench *bench, uint32_t slot, bool file, const struct identity *identity, const void *key,
                        size_t len, GError **error);
/* identity NULL: as it is now. */
bool bench_rotate(struct bench *bench, uint32_t slot, const struct identity *identity, const void *key, size_t len,
                  GError **error);
bool bench_undo(struct bench *bench, uint32_t slot, GError **error);
bool bench_adopt(struct bench *bench, uint32_t slot, const char *host, const char *device, const char *tpm_name,
                 GError **error);
bool bench_clear(struct bench *bench, uint32_t slot, GError **error);
/* Signs with the slot's current generation. */
bool bench_sign(struct bench *bench, uint32_t slot, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
                GError **error);

/* The slot is in this state, and its reason holds these words (NULL: has none). */
void bench_expect(struct bench *bench, uint32_t slot, enum slot_state state, const char *words);

/* As survey tells it; slot_finding_clear. */
struct slot_finding bench_look(struct bench *bench, uint32_t slot);

/* The slot signs as HMAC-SHA256 does with this key. */
void bench_expect_signs(struct bench *bench, uint32_t slot, const void *key, size_t len);

/* error is of this code and its text holds these words; frees it. */
void bench_expect_error(GError **error, int code, const char *words);

/* Nothing but records of slots lies in the state directory. */
void bench_expect_tidy(struct bench *bench);

/* HMAC-SHA256 in software. */
void bench_hmac(const void *key, size_t len, const void *text, size_t text_len, uint8_t mac[SLOT_MAC_BYTES]);
