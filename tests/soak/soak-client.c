/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * soak-client COUNT NAME SLOT...: asks for COUNT tokens of the slots in turn, each of a scope never asked for before,
 * many at a time over one connection. Refusals that a TPM in trouble explains are asked again; any other, and silence,
 * is the end (1). Prints the tokens so far, a line each STEP.
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

struct asking {
    DBusConnection *connection;
    const char *name;
    char **slots;
    unsigned n_slots, asked;
};

static void
ask(struct asking *asking)
{
    dbus_uint32_t ttl = 600;
    unsigned number = asking->asked++;
    g_autofree char *scope = g_strdup_printf("soak/%s/%u", asking->name, number),
                    *path = g_strconcat(NAMES_SLOTS "/", asking->slots[number % asking->n_slots], NULL);
    DBusMessage *message = dbus_message_new_method_call(NAMES_BUS, path, NAMES_SLOT, "GetToken");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    dbus_connection_send(asking->connection, message, NULL);
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
take(struct asking *asking, DBusMessage *message)
{
    int type = dbus_message_get_type(message);
    if (type != DBUS_MESSAGE_TYPE_METHOD_RETURN && type != DBUS_MESSAGE_TYPE_ERROR)
        return false;
    if (type == DBUS_MESSAGE_TYPE_ERROR && !is_explained(message))
        exit(1);
    ask(asking);
    return type == DBUS_MESSAGE_TYPE_METHOD_RETURN;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    unsigned count = argc > 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0, got = 0;
    if (count == 0) {
        fprintf(stderr, "usage: soak-client COUNT NAME SLOT...\n");
        return 2;
    }
    DBusConnection *connection = loop_open_system_bus(&error);
    if (!connection)
        g_error("%s", error->message);
    struct asking asking = { connection, argv[2], argv + 3, (unsigned)argc - 3, 0 };
    while (asking.asked < OUTSTANDING)
        ask(&asking);
    while (got < count) {
        gint64 start = g_get_monotonic_time();
        DBusMessage *message;
        while (!(message = dbus_connection_pop_message(connection)))
            if (!dbus_connection_read_write(connection, SILENCE_MS) ||
                g_get_monotonic_time() - start > SILENCE_MS * G_TIME_SPAN_MILLISECOND) {
                fprintf(stderr, "soak-client: no answer after %u tokens\n", got);
                return 1;
            }
        if (take(&asking, message) && ++got % STEP == 0) {
            printf("%u\n", got);
            fflush(stdout);
        }
        dbus_message_unref(message);
    }
    loop_close(connection);
    return 0;
}
