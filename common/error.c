/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/error.h"

static const struct {
    const char *name;
    int client;
} table[] = {
    [ERROR_INVALID_ARGUMENT] = { "InvalidArgument", -101 },
    [ERROR_NOT_AUTHORIZED] = { "NotAuthorized", -102 },
    [ERROR_NO_SUCH_SLOT] = { "NoSuchSlot", -103 },
    [ERROR_SLOT_IN_USE] = { "SlotInUse", -104 },
    [ERROR_NOT_PROVISIONED] = { "NotProvisioned", -105 },
    [ERROR_BUSY] = { "Busy", -106 },
    [ERROR_TPM_ABSENT] = { "TpmAbsent", -107 },
    [ERROR_TPM_FAILED] = { "TpmFailed", -108 },
    [ERROR_NO_SPACE] = { "NoSpace", -109 },
    [ERROR_CLOCK_UNSET] = { "ClockUnset", -110 },
    [ERROR_TAMPERED] = { "Tampered", -111 },
    [ERROR_FOREIGN] = { "Foreign", -112 },
    [ERROR_DAMAGED] = { "Damaged", -113 },
    [ERROR_UNSUPPORTED] = { "Unsupported", -114 },
    [ERROR_INTERNAL] = { "Internal", -115 },
    [ERROR_UNREACHABLE] = { "Unreachable", -116 },
};

GQuark
error_domain(void)
{
    return g_quark_from_static_string("hubkey-error");
}

static bool
known(int code)
{
    return code > 0 && code < (int)G_N_ELEMENTS(table) && table[code].name;
}

const char *
error_name(int code)
{
    return table[known(code) ? code : ERROR_INTERNAL].name;
}

enum error_code
error_from_name(const char *name)
{
    for (int code = 1; code < (int)G_N_ELEMENTS(table); code++)
        if (g_strcmp0(table[code].name, name) == 0)
            return (enum error_code)code;
    return ERROR_INTERNAL;
}

int
error_client_number(int code)
{
    return table[known(code) ? code : ERROR_INTERNAL].client;
}
