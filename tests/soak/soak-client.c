/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * soak-client COUNT NAME: asks for COUNT tokens of slot 0, each of a scope never asked for before, many at a time over
 * one connection. Refusals that a TPM in trouble explains are asked again; any other, and silence, is the end (1).
 * Prints the tokens so far, a line each STEP.
 */
#include <config.h>

#include "dbus/loop.h"
#include "dbus/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTSTANDING 64
#define STEP 100
#define SILENCE_MS 30000

static void
ask(DBusConnection *connection, const char *name, unsigned number)
{
    dbus_uint32_t ttl = 600;
    g_autofree char *scope = g_strdup_printf("soak/%s/%u", name, number);
    DBusMessage *message = dbus_message_new_method_call(NAMES_BUS, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    dbus_connection_send(connection, message, NULL);
    dbus_message_unref(message);
}

static bool
is_explained(DBusMessage *message)
{
    static const char *const names[] = { "Busy", "TpmAbsent", "TpmFailed" };
    const char *name = dbus_message_get_error_name(message), *text = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_str_has_suffix(name, names[i]))
            return true;
    dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    fprintf(stderr, "soak-client: %s: %s\n", name, text ? text : "");
    return false;
}

/* Whether the message is a token; ends the program at what must not come. */
static bool
take(DBusConnection *connection, DBusMessage *message, const char *name, unsigned *asked)
{
    int type = dbus_message_get_type(message);
    if (type != DBUS_MESSAGE_TYPE_METHOD_RETURN && type != DBUS_MESSAGE_TYPE_ERROR)
        return false;
    if (type == DBUS_MESSAGE_TYPE_ERROR && !is_explained(message))
        exit(1);
    ask(connection, name, (*asked)++);
    return type == DBUS_MESSAGE_TYPE_METHOD_RETURN;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    unsigned count = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0, got = 0, asked = 0;
    if (count == 0) {
        fprintf(stderr, "usage: soak-client COUNT NAME\n");
        return 2;
    }
    DBusConnection *connection = loop_open_system_bus(&error);
    if (!connection)
        g_error("%s", error->message);
    while (asked < OUTSTANDING)
        ask(connection, argv[2], asked++);
    while (got < count) {
        gint64 start = g_get_monotonic_time();
        DBusMessage *message;
        while (!(message = dbus_connection_pop_message(connection)))
            if (!dbus_connection_read_write(connection, SILENCE_MS) ||
                g_get_monotonic_time() - start > SILENCE_MS * G_TIME_SPAN_MILLISECOND) {
                fprintf(stderr, "soak-client: no answer after %u tokens\n", got);
                return 1;
            }
        if (take(connection, message, argv[2], &asked) && ++got % STEP == 0) {
            printf("%u\n", got);
            fflush(stdout);
        }
        dbus_message_unref(message);
    }
    loop_close(connection);
    return 0;
}
