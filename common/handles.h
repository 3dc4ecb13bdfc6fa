/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Whose a handle of the TPM is, as far as its number tells.
 */
#pragma once

#include <stdint.h>

/* Who likely put an object or NV index at this handle; NULL where nobody can tell. Static. */
const char *handles_owner(uint32_t handle);
