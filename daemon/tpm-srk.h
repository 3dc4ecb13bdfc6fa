/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The storage root key.
 */
#pragma once

#include "daemon/tpm.h"

/* The SRK at 0x81000001: its Name, or *present false. Foreign where something else stands there than an asymmetric
 * storage key with a SHA-256 name that was made in this TPM and cannot leave it. */
bool tpm_srk_find(struct tpm *tpm, struct tpm_name *name, bool *present, GError **error);

/* Makes the TCG RSA-2048 SRK (template L-1 with 256 zero bytes of unique) and persists it. Needs the owner. */
bool tpm_srk_make(struct tpm *tpm, struct tpm_name *name, GError **error);

/* A killed process can leave a transient SRK, between making and persisting it, and nothing in it tells it from one
 * that a stranger has loaded: the template determines all of it. So the scene is taken before one is made: which run of
 * the TPM it is, and what looks like an SRK in it already. g_free. */
bool tpm_srk_dup_scene(struct tpm *tpm, char **scene, GError **error);
/* Flushes what is left of making one since that scene: in the same run of the TPM, if it alone was not there before.
 * Where two were not, one is a stranger's; both stay, until the TPM is reset. */
bool tpm_srk_flush_leftovers(struct tpm *tpm, const char *scene, GError **error);

/* For tpm-key.c: the SRK as ESYS holds it, its "none" (0xfff) where nothing stands there; tpm_forget. */
bool tpm_srk_open(struct tpm *tpm, uint32_t *srk, struct tpm_name *name, GError **error);
