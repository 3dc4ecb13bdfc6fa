/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Objects in the TPM, whatever they are: their public areas and Names, those that are transient, making one persistent.
 */
#pragma once

#include "daemon/tpm-esys.h"

typedef TPM2B_PUBLIC esys_public;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(esys_public, Esys_Free)

bool tpm_object_read_public(struct tpm *tpm, ESYS_TR object, TPM2B_PUBLIC **public, GError **error);

void tpm_object_name_of(const TPM2B_PUBLIC *public, struct tpm_name *name);
/* Of what ESYS holds. Foreign where it is no SHA-256 name. */
bool tpm_object_get_name(struct tpm *tpm, ESYS_TR object, struct tpm_name *name, GError **error);

/* TPM2_EvictControl to a free handle, in a session of the owner. */
bool tpm_object_persist(struct tpm *tpm, ESYS_TR owner, ESYS_TR object, TPM2_HANDLE handle, GError **error);

/* Calls visit with each transient object in the TPM that has a public area, until it is false. Through a resource
 * manager that is nothing but our own. False also where the TPM did not tell of one what it is. */
typedef bool (*tpm_object_fn)(struct tpm *tpm, TPM2_HANDLE handle, const TPM2B_PUBLIC *public, void *data,
                              GError **error);
bool tpm_object_each(struct tpm *tpm, tpm_object_fn visit, void *data, GError **error);
