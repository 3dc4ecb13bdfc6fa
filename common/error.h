/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The one list of things that can go wrong. Each code has a D-Bus error name (org.hubkey.Error.X) and a number of the
 * public C API; error.c holds the table. TSS, curl, SQLite and libdbus codes stop at the file that called them.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

enum error_code {
    ERROR_INVALID_ARGUMENT = 1,
    ERROR_NOT_AUTHORIZED,
    ERROR_NO_SUCH_SLOT,
    ERROR_SLOT_IN_USE,
    ERROR_NOT_PROVISIONED,
    ERROR_BUSY,
    ERROR_TPM_ABSENT,
    ERROR_TPM_FAILED,
    ERROR_NO_SPACE,
    ERROR_CLOCK_UNSET,
    ERROR_TAMPERED,
    ERROR_FOREIGN,
    ERROR_DAMAGED,
    ERROR_UNSUPPORTED,
    ERROR_INTERNAL,
    ERROR_UNREACHABLE, /* hubkeyd or the bus did not answer; made by callers, never sent on the bus */
};

#define ERROR_DOMAIN (error_domain())

GQuark error_domain(void);

/* The name after "org.hubkey.Error."; "Internal" for a code that is not in the list. Static. */
const char *error_name(int code);

/* The code for a name after "org.hubkey.Error."; ERROR_INTERNAL for an unknown one. */
enum error_code error_from_name(const char *name);

/* The number that libhubkey returns for a code (HUBKEY_E_* of hubkey.h, negative). */
int error_client_number(int code);

/* A g_set_error in our domain. */
#define error_set(error, code, ...) g_set_error((error), ERROR_DOMAIN, (code), __VA_ARGS__)
