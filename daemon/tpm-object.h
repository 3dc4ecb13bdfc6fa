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

/* A transient object, held by ESYS; ESYS_TR_NONE where it has no public area (a hash sequence) or was flushed by its
 * owner a moment ago. */
bool tpm_object_look_up(struct tpm *tpm, TPM2_HANDLE handle, ESYS_TR *object, GError **error);
/* Calls visit with each transient object in the TPM. Through a resource manager that is nothing but our own. */
bool tpm_object_each(struct tpm *tpm, void (*visit)(struct tpm *, ESYS_TR *, void *), void *data, GError **error);
