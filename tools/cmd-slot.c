/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * show and clear: one slot.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/loop.h"
#include "tools/bus.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/value.h"

#include <stdio.h>
#include <string.h>

/* ---- show ---- */

/* Titles in the order shown; what is empty is left out. */
static const char *const titles[][2] = {
    { "Slot", "Slot" },
    { "State", "State" },
    { "StateReason", "Why" },
    { "HostName", "Host name" },
    { "DeviceId", "Device ID" },
    { "ModuleId", "Module ID" },
    { "GatewayHostName", "Gateway" },
    { "Audience", "Audience" },
    { "KeyName", "Key name" },
    { "Storage", "Storage" },
    { "Generation", "Generation" },
    { "CanUndo", "Can undo" },
    { "TpmName", "TPM name of the key" },
    { "HardwareDeviceId", "Hardware device ID" },
    { "DefaultTtl", "Default lifetime (s)" },
    { "MaxTtl", "Longest lifetime (s)" },
};

struct texts {
    char *of[G_N_ELEMENTS(titles)];
};

static void
take_text(const char *name, DBusMessageIter *value, void *user)
{
    struct texts *texts = user;
    for (size_t i = 0; i < G_N_ELEMENTS(titles); i++)
        if (strcmp(name, titles[i][0]) == 0 && !texts->of[i])
            texts->of[i] = value_text(value);
}

static void
print_slot(DBusMessage *properties)
{
    struct texts texts = { { NULL } };
    struct table *fields = fields_new();
    bus_each_entry(properties, take_text, &texts);
    for (size_t i = 0; i < G_N_ELEMENTS(titles); i++) {
        if (texts.of[i] && texts.of[i][0] != '\0')
            fields_add(fields, titles[i][1], "%s", texts.of[i]);
        g_free(texts.of[i]);
    }
    table_print(fields);
}

static int
run_show(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    GError *error = NULL;
    g_autoptr(dbus_message_auto) properties = NULL;
    if (!command_slot(context, arguments[0], &slot))
        return EXIT_USAGE;
    DBusConnection *connection = bus_open_any(context, &error);
    if (connection)
        properties = bus_slot_properties(connection, slot, &error);
    loop_close(connection);
    if (!properties)
        return command_error(error);
    if (context->json)
        output_json(value_object(properties));
    else
        print_slot(properties);
    return EXIT_DONE;
}

/* ---- clear ---- */

static gboolean clear_yes;

static const GOptionEntry clear_entries[] = {
    { "yes", 'y', 0, G_OPTION_ARG_NONE, &clear_yes, "do not ask", NULL },
    { NULL },
};

static int
confirm_clear(DBusConnection *connection, uint32_t slot)
{
    GError *error = NULL;
    g_autoptr(dbus_message_auto) properties = bus_slot_properties(connection, slot, &error);
    if (!properties)
        return command_error(error);
    g_autofree char *question = g_strdup_printf(
        "Slot %u holds the key of \"%s\" at \"%s\". It cannot be read back from anywhere. Clear it?", slot,
        bus_string(properties, "DeviceId"), bus_string(properties, "HostName"));
    return command_ask(question);
}

static int
clear(DBusConnection *connection, uint32_t slot)
{
    DBusMessageIter iter;
    GError *error = NULL;
    int code = clear_yes ? EXIT_DONE : confirm_clear(connection, slot);
    if (code != EXIT_DONE)
        return code;
    DBusMessage *message = bus_slot_message(slot, "Clear");
    dbus_message_iter_init_append(message, &iter);
    bus_append_no_options(&iter);
    g_autoptr(dbus_message_auto) reply = bus_call(connection, message, "", &error);
    return reply ? EXIT_DONE : command_error(error);
}

/* The slot is forgotten; what is somebody else's, or did not match the record, may still stand in the TPM. */
static void
print_cleared(const struct context *context, DBusConnection *connection, uint32_t slot)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(dbus_message_auto) properties = bus_slot_properties(connection, slot, &error);
    const char *state = properties ? bus_string(properties, "State")
                        : g_error_matches(error, ERROR_DOMAIN, ERROR_NOT_PROVISIONED) ? "empty"
                                                                                       : NULL;
    const char *reason = properties ? bus_string(properties, "StateReason") : "";
    if (context->json)
        output_json(json_pack("{s:I, s:s*}", "slot", (json_int_t)slot, "state", state));
    else if (properties)
        printf("slot %u is forgotten; what stands there now is %s%s%s\n", slot, state, *reason ? ": " : "", reason);
    else
        printf("slot %u is %s\n", slot, state ? state : "forgotten");
}

static int
run_clear(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    GError *error = NULL;
    if (!command_slot(context, arguments[0], &slot))
        return EXIT_USAGE;
    if (!clear_yes && !command_has_terminal())
        return command_usage(context, "there is no terminal to ask on; say --yes if slot %u is to lose its key", slot);
    DBusConnection *connection = bus_open(context, &error);
    if (!connection)
        return command_error(error);
    int code = clear(connection, slot);
    if (code == EXIT_DONE)
        print_cleared(context, connection, slot);
    loop_close(connection);
    return code;
}

const struct command command_show = {
    .name = "show",
    .arguments = "N",
    .summary = "show slot N",
    .n_min = 1,
    .n_max = 1,
    .run = run_show,
};

const struct command command_clear = {
    .name = "clear",
    .arguments = "N [--yes]",
    .summary = "empty slot N (administrators)",
    .details = "Asks on a terminal. Without one, --yes is needed.",
    .entries = clear_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_clear,
};
