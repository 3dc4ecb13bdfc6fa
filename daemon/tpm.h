/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One TPM, reached through any TCTI, opened and opened again as it comes and goes. Only the worker thread calls this.
 *
 * Errors: TpmAbsent (nothing there, or the connection was lost: the context is closed by then), TpmFailed (the TPM
 * refused or is broken), NoSpace, Busy (its memory is filled by others). Raw TSS codes are logged here and nowhere
 * else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "common/secret.h"

#define TPM_NAME_BYTES 34 /* of an object with a SHA-256 name: algorithm identifier, then digest (Part 1, 16) */
#define TPM_MAC_BYTES 32
#define TPM_OWNER_AUTH_MAX 64

struct tpm_name {
    uint8_t bytes[TPM_NAME_BYTES];
};

struct tpm;

/* tcti as tss2-tctildr takes it ("device:/dev/tpmrm0"). owner_auth_file holds the owner's password, NULL for none. */
struct tpm *tpm_new(const char *tcti, const char *owner_auth_file);
void tpm_forget_owner_refusal(struct tpm *tpm); /* the password may be right by now */
void tpm_set_owner_auth_file(struct tpm *tpm, const char *owner_auth_file); /* from any thread */
void tpm_free(struct tpm *tpm);

/* Does nothing where it is open. */
bool tpm_open(struct tpm *tpm, GError **error);
void tpm_close(struct tpm *tpm);
bool tpm_is_open(const struct tpm *tpm);

/* Grows with every open: key handles of an earlier one are void. 0 before the first. */
uint32_t tpm_epoch(const struct tpm *tpm);

/* ProtectBus=always: signatures are made in a session salted to the pinned SRK, so that whoever sits on the bus of the
 * chip can neither read nor exchange them. */
void tpm_protect_bus(struct tpm *tpm, bool always);

/* The SRK that our keys are under, NULL where there is none yet. */
void tpm_pin_srk(struct tpm *tpm, const struct tpm_name *name);

struct tpm_counters {
    uint64_t operations; /* commands sent */
    uint64_t retries;    /* repeated because the TPM said RETRY, YIELDED or TESTING */
    uint64_t resets;     /* opened again after having been lost */
};

/* May be called from any thread. */
struct tpm_counters tpm_counters(const struct tpm *tpm);

/* Whether the code of an error means that the TPM itself is out of reach or out of order. */
bool tpm_is_unwell(const GError *error);
