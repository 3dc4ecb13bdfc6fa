/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * show, provision and clear: one slot.
 */
#include <config.h>

#include "dbus/loop.h"
#include "dbus/names.h"
#include "tools/bus.h"
#include "tools/command.h"
#include "tools/keyfile.h"
#include "tools/output.h"
#include "tools/value.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* ---- provision ---- */

static char *connection_string_file, *host_name, *device_id, *key_file;

static const GOptionEntry provision_entries[] = {
    { "connection-string-file", 0, 0, G_OPTION_ARG_FILENAME, &connection_string_file,
      "a device's connection string as the portal shows it; - is stdin", "FILE" },
    { "host-name", 0, 0, G_OPTION_ARG_STRING, &host_name, "the hub, as myhub.azure-devices.net", "HOST" },
    { "device-id", 0, 0, G_OPTION_ARG_STRING, &device_id, "the device", "ID" },
    { "key-file", 0, 0, G_OPTION_ARG_FILENAME, &key_file, "its primary or secondary key in base64; - is stdin",
      "FILE" },
    { NULL },
};

/* Exactly one of the two forms must be whole. */
static bool
check_form(const struct context *context)
{
    bool any = host_name || device_id || key_file, all = host_name && device_id && key_file;
    if (connection_string_file ? !any : all)
        return true;
    if (connection_string_file)
        command_usage(context, "--connection-string-file says all; leave out --host-name, --device-id and --key-file");
    else if (any)
        command_usage(context, "%s is missing", !host_name ? "--host-name" : !device_id ? "--device-id" : "--key-file");
    else
        command_usage(context, "say whose key: --connection-string-file, or --host-name, --device-id and --key-file");
    return false;
}

static struct identity *
read_identity(struct secret **key, GError **error)
{
    if (connection_string_file)
        return keyfile_read_connection_string(connection_string_file, key, error);
    g_autoptr(identity_auto) identity = identity_new();
    identity->host = g_strdup(host_name);
    identity->device = g_strdup(device_id);
    if (!identity_check(identity, error) || !(*key = keyfile_read(key_file, error)))
        return NULL;
    return g_steal_pointer(&identity);
}

static void
append_setting(DBusMessageIter *dict, const char *name, const char *value)
{
    DBusMessageIter entry, variant;
    if (!value)
        return;
    if (!dbus_message_iter_open_container(dict, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
        !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &name) ||
        !dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "s", &variant) ||
        !dbus_message_iter_append_basic(&variant, DBUS_TYPE_STRING, &value) ||
        !dbus_message_iter_close_container(&entry, &variant) || !dbus_message_iter_close_container(dict, &entry))
        g_error("out of memory: a D-Bus message");
}

static void
append_no_options(DBusMessageIter *iter)
{
    DBusMessageIter dict;
    if (!dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, "{sv}", &dict) ||
        !dbus_message_iter_close_container(iter, &dict))
        g_error("out of memory: a D-Bus message");
}

static DBusMessage *
provision_message(uint32_t slot, const struct identity *identity, int key)
{
    DBusMessageIter iter, dict;
    DBusMessage *message = bus_message(NAMES_ROOT, NAMES_MANAGER, "Provision");
    dbus_message_iter_init_append(message, &iter);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &slot) ||
        !dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{sv}", &dict))
        g_error("out of memory: a D-Bus message");
    append_setting(&dict, "HostName", identity->host);
    append_setting(&dict, "DeviceId", identity->device);
    append_setting(&dict, "ModuleId", identity->module);
    append_setting(&dict, "GatewayHostName", identity->gateway);
    if (!dbus_message_iter_close_container(&iter, &dict) ||
        !dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &key))
        g_error("out of memory: a D-Bus message");
    append_no_options(&iter);
    return message;
}

static bool
provision(const struct context *context, uint32_t slot, const struct identity *identity, const struct secret *key,
          GError **error)
{
    DBusConnection *connection = bus_open(context, error);
    if (!connection)
        return false;
    int pipe_end = keyfile_to_pipe(key, error);
    g_autoptr(dbus_message_auto) reply = NULL;
    if (pipe_end >= 0) {
        reply = bus_call(connection, provision_message(slot, identity, pipe_end), "o", error);
        close(pipe_end);
    }
    loop_close(connection);
    return reply != NULL;
}

static int
run_provision(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    GError *error = NULL;
    g_autoptr(secret_auto) key = NULL;
    if (!command_slot(context, arguments[0], &slot) || !check_form(context))
        return EXIT_USAGE;
    g_autoptr(identity_auto) identity = read_identity(&key, &error);
    if (!identity || !provision(context, slot, identity, key, &error))
        return command_error(error);
    if (context->json)
        output_json(json_pack("{s:I, s:s, s:s}", "slot", (json_int_t)slot, "host_name", identity->host, "device_id",
                              identity->device));
    else
        printf("slot %u holds the key of %s at %s\n", slot, identity->device, identity->host);
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
    append_no_options(&iter);
    g_autoptr(dbus_message_auto) reply = bus_call(connection, message, "", &error);
    return reply ? EXIT_DONE : command_error(error);
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
    loop_close(connection);
    if (code == EXIT_DONE && context->json)
        output_json(json_pack("{s:I}", "slot", (json_int_t)slot));
    else if (code == EXIT_DONE)
        printf("slot %u is empty\n", slot);
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

const struct command command_provision = {
    .name = "provision",
    .arguments = "N (--connection-string-file FILE | --host-name HOST --device-id ID --key-file FILE)",
    .summary = "put a device's key into slot N (root)",
    .details = "The key goes into the TPM and can be used there, but never be read again. Keys stand in files or come\n"
               "on stdin, never on the command line, which other users can read. One trailing newline is ignored.",
    .entries = provision_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_provision,
};

const struct command command_clear = {
    .name = "clear",
    .arguments = "N [--yes]",
    .summary = "empty slot N (root)",
    .details = "Asks on a terminal. Without one, --yes is needed.",
    .entries = clear_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_clear,
};
