/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The slot table: what stands in each slot, in which state, in which generation. The table itself lives on the main
 * thread; what touches the TPM or the disk goes through struct slot_ops on the worker thread, so that the table works
 * the same over any kind of storage.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#include "common/identity.h"
#include "common/secret.h"
#include "common/seldom.h"

#define SLOT_TPM_COUNT 10     /* slots 0 to 9 can be kept in the TPM itself */
#define SLOT_IN_USE_MAX 16384 /* slots that are not empty */
#define SLOT_MAC_BYTES 32
#define SLOT_ROOT_UID 0

struct worker;

enum slot_state {
    SLOT_EMPTY,
    SLOT_READY,
    SLOT_FOUND,    /* in the TPM, well-formed, not made or adopted by us: not used */
    SLOT_PENDING,  /* an operation was cut short and cannot be finished or undone yet */
    SLOT_TAMPERED, /* the TPM holds something else than the pin says */
    SLOT_DAMAGED,  /* our record cannot be read */
    SLOT_FOREIGN,  /* another program's object stands where this slot's would */
};

const char *slot_state_name(enum slot_state state); /* as on the bus; "" for SLOT_EMPTY */

/* What storage found out about one slot. */
struct slot_finding {
    enum slot_state state;
    char *reason; /* a sentence for people with the cure, NULL where ready or empty */
    uint64_t generation;
    struct identity *identity; /* NULL where unknown */
    char *tpm_name;            /* hex, NULL where unknown */
    bool file;                 /* storage "file" rather than "tpm" */
    bool can_undo;
};

void slot_finding_clear(struct slot_finding *finding);

/* What storage found out about the TPM. */
struct slot_medium {
    bool cleared;   /* the SRK that our keys are under is gone */
    char *srk_name; /* hex; NULL where there is no SRK */
};

/* What an administrator saw in a found slot: it is adopted only if that is what stands there. */
struct slot_expected {
    struct identity *identity;
    char *tpm_name; /* hex */
};

typedef void (*slot_loaded_fn)(uint32_t slot, struct slot_finding *finding, void *user);

/* Storage. All of these run on the worker thread, one at a time, but for load_all. */
struct slot_ops {
    /* Tells what disk knows of every slot that has a record; no TPM. Main thread, before the worker has a job. False
     * where it could not be looked at: slots that were not told of are not empty then. */
    bool (*load_all)(void *storage, slot_loaded_fn loaded, void *user, GError **error);
    /* The same of one. */
    void (*load)(void *storage, uint32_t slot, struct slot_finding *finding);
    /* Makes the TPM ready, finishes or undoes what a crash cut short. */
    bool (*attach)(void *storage, bool afresh, struct slot_medium *medium, GError **error);
    /* Compares the slot with the TPM, or with its own record. */
    bool (*survey)(void *storage, uint32_t slot, struct slot_finding *finding, GError **error);
    bool (*sign)(void *storage, uint32_t slot, uint64_t generation, const void *data, size_t len,
                 uint8_t mac[SLOT_MAC_BYTES], GError **error);
    /* Nothing is waiting to be signed: nothing is to be held in the TPM. */
    void (*idle)(void *storage);
    /* Changes, each all or nothing. */
    bool (*provision)(void *storage, uint32_t slot, bool file, const struct identity *identity,
                      const struct secret *key, GError **error);
    /* These two only where the slot is still of that generation. */
    bool (*rotate)(void *storage, uint32_t slot, uint64_t generation, const struct identity *identity,
                   const struct secret *key, GError **error);
    bool (*undo)(void *storage, uint32_t slot, uint64_t generation, GError **error);
    bool (*adopt)(void *storage, uint32_t slot, const struct slot_expected *expected, GError **error);
    bool (*clear)(void *storage, uint32_t slot, GError **error);
};

/* A slot as callers see it. Valid until the main loop runs again. */
struct slot {
    uint32_t number;
    enum slot_state state;
    char *reason;
    uint64_t generation;
    struct identity *identity;
    char *resource; /* percent-encoded, ready for sr; NULL unless ready */
    char *tpm_name;
    bool file;
    bool can_undo;
    struct seldom doubted; /* slots_doubt asks for one */
};

enum slot_tpm_state { SLOT_TPM_STARTING, SLOT_TPM_READY, SLOT_TPM_ABSENT, SLOT_TPM_FAILED, SLOT_TPM_CLEARED };

const char *slot_tpm_state_name(enum slot_tpm_state state);

struct slots_hooks {
    void (*changed)(uint32_t slot, void *user);                       /* some property of the slot */
    void (*appeared)(uint32_t slot, bool there, void *user);          /* was empty, is not any more; or the reverse */
    void (*invalidated)(uint32_t slot, uint64_t generation, void *user); /* tokens of earlier generations are void */
    void (*tpm_changed)(void *user);
    void (*surveyed)(void *user); /* the first look at the TPM is over, well or not */
    /* A slot was adopted for whom wanted named, or was not. May be NULL. */
    void (*adopted)(uint32_t slot, const GError *error, void *user);
    /* Whom a found slot is to be adopted for without hands; NULL where nobody said so. May be NULL itself. */
    const struct identity *(*wanted)(uint32_t slot, void *user);
};

struct slots;

/* NULL where what is on disk cannot be looked at. */
struct slots *slots_new(const struct slot_ops *ops, void *storage, struct worker *worker,
                        const struct slots_hooks *hooks, void *user, GError **error);
void slots_free(struct slots *slots); /* after the worker has stopped */

/* NULL where the slot is empty. */
const struct slot *slots_get(const struct slots *slots, uint32_t number);
/* The first slot from number on that is not empty; NULL where there is none. */
const struct slot *slots_next(const struct slots *slots, uint32_t number);
unsigned slots_in_use(const struct slots *slots); /* how many are not empty */
enum slot_tpm_state slots_tpm_state(const struct slots *slots);

/* Looks at the TPM anew, and tries again what was refused before; what it finds is told by the hooks. */
void slots_look(struct slots *slots);

/* Lower-case hex SHA-256 of the slot number (little-endian) and the SRK's Name (hex, NULL where there is none): what
 * Windows uses where no device ID was given. "" without an SRK. g_free. */
char *slot_hardware_id(uint32_t number, const char *srk_name);
const char *slots_srk_name(const struct slots *slots); /* hex; NULL where there is none */

/* Whether the slot can sign now; else the error that a caller gets. */
bool slots_check_ready(const struct slots *slots, uint32_t number, GError **error);

/* On the worker thread: an HMAC-SHA256 of a slot's key, if it is still of this generation. */
bool slots_sign(struct slots *slots, uint32_t number, uint64_t generation, const void *data, size_t len,
                uint8_t mac[SLOT_MAC_BYTES], GError **error);

/* On the main thread, after slots_sign failed: reacts to what the error says about TPM or slot. */
void slots_note_failure(struct slots *slots, uint32_t number, const GError *error);

/* error NULL: done. Called once, on the main thread, at the latest when the TPM has not answered for two minutes. */
typedef void (*slots_done_fn)(const GError *error, void *user);

/* identity has been checked; identity, key and what expected points to become the table's. generation is the slot's as
 * the caller saw it: a slot that was changed since is left alone. */
void slots_provision(struct slots *slots, uint32_t number, bool file, struct identity *identity, struct secret *key,
                     slots_done_fn done, void *user);
void slots_rotate(struct slots *slots, uint32_t number, uint64_t generation, struct identity *identity,
                  struct secret *key, slots_done_fn done, void *user);
void slots_undo(struct slots *slots, uint32_t number, uint64_t generation, slots_done_fn done, void *user);
void slots_adopt(struct slots *slots, uint32_t number, struct slot_expected expected, slots_done_fn done, void *user);
void slots_clear(struct slots *slots, uint32_t number, slots_done_fn done, void *user);
void slots_recheck(struct slots *slots, uint32_t number);

/* A caller says that the slot's tokens are refused: rechecks, but not more often than every SLOT_DOUBT_GAP_S. */
#define SLOT_DOUBT_GAP_S 5
void slots_doubt(struct slots *slots, uint32_t number);
