/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Another program that uses the same TPM, by ESYS and with none of our code: puts things where slots would be, takes
 * them away, and looks at what is there. Whatever fails ends the test, unless it is what a function returns.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* TPMA_NV of the records that the Windows tool and its sibling for microcontrollers make. */
#define STRANGER_NV_WINDOWS 0x02040004
#define STRANGER_NV_MCU 0x02040002

enum stranger_kind {
    STRANGER_HMAC,       /* as Windows makes them: HMAC with SHA-256, user with empty auth, noDA */
    STRANGER_HMAC_SHA1,  /* signs with SHA-1 */
    STRANGER_HMAC_384,   /* has a SHA-384 name */
    STRANGER_RESTRICTED, /* signs only what the TPM made */
    STRANGER_SEALED,     /* data, no key */
    STRANGER_ECC_SIGN,
    STRANGER_ECC_STORAGE,     /* what an SRK may be */
    STRANGER_ECC_STORAGE_384, /* the same with a SHA-384 name */
    STRANGER_ECC_STORAGE_LOOSE, /* the same, but not bound to this TPM */
    STRANGER_SYMMETRIC_STORAGE,
};

struct stranger;

struct stranger *stranger_open(const char *tcti);
void stranger_close(struct stranger *stranger); /* NULL is fine */

/* Persistent objects. A NULL secret is 32 bytes of its own. */
void stranger_put(struct stranger *stranger, uint32_t handle, enum stranger_kind kind, const char *secret);
void stranger_evict(struct stranger *stranger, uint32_t handle);

/* Transient ones: an HMAC key; an HMAC sequence, which has no public area; an RSA storage key. */
uint32_t stranger_load(struct stranger *stranger);
uint32_t stranger_begin_sequence(struct stranger *stranger);
uint32_t stranger_load_rsa_storage(struct stranger *stranger, bool no_da);
void stranger_flush(struct stranger *stranger, uint32_t transient);
void stranger_flush_all(struct stranger *stranger); /* whoever's they are, as tpm2_flushcontext -t does */

/* NV indices; data NULL: defined, never written. */
void stranger_put_nv(struct stranger *stranger, uint32_t index, uint32_t attributes, const char *auth, const void *data,
                     size_t size);
void stranger_put_text(struct stranger *stranger, uint32_t index, const char *text); /* as Windows does */
void stranger_undefine(struct stranger *stranger, uint32_t index);
/* The TPM's answer to the owner who writes into an index. */
uint32_t stranger_overwrite(struct stranger *stranger, uint32_t index, const char *text);

/* What stands there, byte for byte: public area and Name; of an index also the content, where an empty password reads
 * it. NULL where nothing does. */
GBytes *stranger_look(struct stranger *stranger, uint32_t handle);

/* The owner's password, the lockout counter, lockout itself, TPM2_Clear. */
void stranger_set_owner(struct stranger *stranger, const char *from, const char *to);
void stranger_set_lockout(struct stranger *stranger, bool locked);
uint32_t stranger_lockout_counter(struct stranger *stranger);
void stranger_clear(struct stranger *stranger);

/* Until the TPM says that it is full. */
void stranger_fill_persistent(struct stranger *stranger);
void stranger_fill_nv(struct stranger *stranger);

/* How much of the TPM's volatile memory is in use. */
struct stranger_usage {
    uint32_t transient, loaded_sessions, saved_sessions;
};

struct stranger_usage stranger_usage(struct stranger *stranger);
bool stranger_same_usage(struct stranger *stranger, const struct stranger_usage *before);
