/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/failure.h"
#include "common/error.h"

#include <stdarg.h>
#include <string.h>

GQuark
failure_domain(void)
{
    return g_quark_from_static_string("hubkey-failure");
}

int
failure_number(const GError *error)
{
    if (!error)
        return 0;
    if (error->domain == FAILURE_DOMAIN)
        return error->code;
    return error->domain == ERROR_DOMAIN ? error_client_number(error->code) : HUBKEY_E_INTERNAL;
}

int
failure_export(const GError *error, int http_status, struct hubkey_error *out)
{
    int number = failure_number(error);
    if (!out)
        return number;
    *out = (struct hubkey_error){ .code = number, .http_status = http_status };
    if (error) {
        g_autofree char *valid = g_utf8_make_valid(error->message, -1);
        size_t room = sizeof out->text - 1, len = strlen(valid);
        const char *end = valid + len;
        while ((size_t)(end - valid) > room)
            end = g_utf8_find_prev_char(valid, end);
        memcpy(out->text, valid, (size_t)(end - valid));
    }
    return number;
}

int
failure_now(struct hubkey_error *out, int number, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autoptr(GError) error = g_error_new_valist(FAILURE_DOMAIN, number, format, arguments);
    va_end(arguments);
    return failure_export(error, 0, out);
}

static const struct {
    int number;
    const char *text;
} table[] = {
    { 0, "success" },
    { HUBKEY_E_INVALID, "an argument is wrong" },
    { HUBKEY_E_SIZE, "a struct's size is too small, or it has fields that this library does not know" },
    { HUBKEY_E_CLOSED, "the client is closed" },
    { HUBKEY_E_FORKED, "the client belongs to the parent process" },
    { HUBKEY_E_TIMEOUT, "the time is up" },
    { HUBKEY_E_NOMEM, "out of memory" },
    { HUBKEY_E_TOO_LARGE, "the message is larger than IoT Hub takes" },
    { HUBKEY_E_RECURSION, "not allowed inside a callback" },
    { HUBKEY_E_SYSTEM, "the system gave no thread, descriptor or random numbers" },
    { HUBKEY_E_INVALID_ARGUMENT, "hubkeyd does not accept an argument" },
    { HUBKEY_E_NOT_AUTHORIZED, "hubkeyd does not allow this to this user" },
    { HUBKEY_E_NO_SUCH_SLOT, "there is no such slot" },
    { HUBKEY_E_SLOT_IN_USE, "the slot is in use" },
    { HUBKEY_E_NOT_PROVISIONED, "the slot holds no key" },
    { HUBKEY_E_BUSY, "hubkeyd is busy" },
    { HUBKEY_E_TPM_ABSENT, "there is no TPM" },
    { HUBKEY_E_TPM_FAILED, "the TPM does not work" },
    { HUBKEY_E_NO_SPACE, "there is no space left in the TPM or on the disk" },
    { HUBKEY_E_CLOCK_UNSET, "this machine's clock is not set" },
    { HUBKEY_E_TAMPERED, "the slot was changed behind hubkeyd's back" },
    { HUBKEY_E_FOREIGN, "the slot's place in the TPM is taken by another program" },
    { HUBKEY_E_DAMAGED, "the slot's record is damaged" },
    { HUBKEY_E_UNSUPPORTED, "not supported" },
    { HUBKEY_E_INTERNAL, "internal error" },
    { HUBKEY_E_UNREACHABLE, "hubkeyd does not answer" },
    { HUBKEY_E_FULL, "the queue is full" },
    { HUBKEY_E_QUEUE_OPEN, "the queue cannot be opened" },
    { HUBKEY_E_QUEUE_IO, "the queue cannot be read or written" },
    { HUBKEY_E_QUEUE_DAMAGED, "the queue is damaged" },
    { HUBKEY_E_QUEUE_NEWER, "the queue was written by a newer libhubkey" },
    { HUBKEY_E_QUEUE_HELD, "another process sends from the queue" },
    { HUBKEY_E_QUEUE_LOCKED, "other processes kept writing to the queue" },
    { HUBKEY_E_GONE, "the message left the queue undelivered" },
    { HUBKEY_E_QUEUE_OLDER, "the queue was written by an older libhubkey" },
};

const char *
hubkey_strerror(int code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        if (table[i].number == code)
            return table[i].text;
    return "unknown error";
}
