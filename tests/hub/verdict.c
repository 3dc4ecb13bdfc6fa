/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The hub's error names. The number's first three digits are the HTTP status; the first of a status is its default.
 */
#include <config.h>

#include "tests/hub/verdict.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned number;
} codes[] = {
    { "ArgumentInvalid", 400004 },
    { "InvalidProtocolVersion", 400001 },
    { "ArgumentNull", 400005 },
    { "IotHubFormatError", 400006 },
    { "DeserializationError", 400012 },
    { "InvalidContentEncodingOrType", 400103 },
    { "IotHubUnauthorizedAccess", 401002 },
    { "IotHubUnauthorized", 401003 },
    { "IotHubNotFound", 401001 },
    { "IotHubQuotaExceeded", 403002 },
    { "IotHubSuspended", 403001 },
    { "DeviceDisabled", 403012 },
    { "DeviceNotFound", 404001 },
    { "GenericNotFound", 404000 },
    { "ModuleNotFound", 404010 },
    { "GenericMethodNotAllowed", 405000 },
    { "MessageTooLarge", 413001 },
    { "ThrottlingException", 429001 },
    { "ServerError", 500001 },
    { "GenericTimeout", 500008 },
    { "ServiceUnavailable", 503001 },
    { "ServerBusy", 503005 },
};

bool
verdict_refuse(struct verdict *v, const char *code, const char *format, ...)
{
    va_list args;

    v->code = code;
    v->status = verdict_number(code, 500) / 1000;
    va_start(args, format);
    g_vsnprintf(v->reason, sizeof v->reason, format, args);
    va_end(args);
    return false;
}

unsigned
verdict_number(const char *code, unsigned status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (g_strcmp0(codes[i].name, code) == 0)
            return codes[i].number;
    if (code && strlen(code) == 6 && strspn(code, "0123456789") == 6)
        return (unsigned)strtoul(code, NULL, 10);
    return status * 1000;
}

const char *
verdict_default_code(unsigned status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i].number / 1000 == status)
            return codes[i].name;
    return NULL;
}
