/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The least that a daemon like hubkeyd can be, for its memory to be held against: libdbus in a GLib loop, and ESYS with
 * slot 0's key in the same thread. Every call with a string is answered by the HMAC over it, in hexadecimal digits.
 * Ends when its parent does.
 */
#include <config.h>

#include "tests/bench/calls.h"
#include "dbus/loop.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#define SERVICE "org.hubkey.test.Minimal"
#define SLOT_0_KEY 0x81000100
#define NO ESYS_TR_NONE

struct minimal {
    ESYS_CONTEXT *esys;
    ESYS_TR key;
};

static void
open_tpm(struct minimal *self)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    if (Tss2_TctiLdr_Initialize(g_getenv("TPM2TOOLS_TCTI"), &tcti) != TSS2_RC_SUCCESS ||
        Esys_Initialize(&self->esys, tcti, NULL) != TSS2_RC_SUCCESS ||
        Esys_TR_FromTPMPublic(self->esys, SLOT_0_KEY, NO, NO, NO, &self->key) != TSS2_RC_SUCCESS)
        g_error("no key of slot 0 through TPM2TOOLS_TCTI");
}

static DBusHandlerResult
answer(DBusConnection *connection, DBusMessage *call, void *data)
{
    struct minimal *self = data;
    TPM2B_MAX_BUFFER input = { 0 };
    TPM2B_DIGEST *mac = NULL;
    char digits[2 * sizeof mac->buffer + 1] = "";
    const char *text = NULL, *answered = digits;
    if (!dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    input.size = (UINT16)MIN(strlen(text), sizeof input.buffer);
    memcpy(input.buffer, text, input.size);
    if (Esys_HMAC(self->esys, self->key, ESYS_TR_PASSWORD, NO, NO, &input, TPM2_ALG_SHA256, &mac) != TSS2_RC_SUCCESS)
        g_error("TPM2_HMAC failed");
    for (UINT16 i = 0; i < mac->size; i++)
        g_snprintf(digits + i * 2, 3, "%02x", mac->buffer[i]);
    Esys_Free(mac);
    g_autoptr(dbus_message_auto) reply = dbus_message_new_method_return(call);
    dbus_message_append_args(reply, DBUS_TYPE_STRING, &answered, DBUS_TYPE_INVALID);
    dbus_connection_send(connection, reply, NULL);
    return DBUS_HANDLER_RESULT_HANDLED;
}

int
main(void)
{
    static const DBusObjectPathVTable table = { .message_function = answer };
    struct minimal minimal = { 0 };
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    open_tpm(&minimal);
    DBusConnection *connection = calls_open_bus();
    loop_attach(connection, NULL);
    if (!dbus_connection_register_object_path(connection, "/", &table, &minimal) ||
        dbus_bus_request_name(connection, SERVICE, 0, NULL) != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER)
        g_error("cannot own " SERVICE);
    g_main_loop_run(loop);
    return 0;
}
