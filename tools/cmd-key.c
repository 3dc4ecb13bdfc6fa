/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * provision, rotate and adopt: keys into slots.
 */
#include <config.h>

#include "dbus/loop.h"
#include "dbus/names.h"
#include "tools/bus.h"
#include "tools/command.h"
#include "tools/keyfile.h"
#include "tools/output.h"
#include "tools/value.h"
#include "tools/whose.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "dev-1 at hub.azure-devices.net", "module m of dev-1 at …", "send at sb://…". g_free. */
static char *
describe(const struct identity *identity)
{
    if (identity->audience)
        return g_strdup_printf("%s at %s", identity->key_name, identity->audience);
    if (identity->module)
        return g_strdup_printf("module %s of %s at %s", identity->module, identity->device, identity->host);
    return g_strdup_printf("%s at %s", identity->device, identity->host);
}

/* ---- provision ---- */

static char *storage;

static const GOptionEntry provision_entries[] = {
    WHOSE_FILE_ENTRIES,
    { "host-name", 0, 0, G_OPTION_ARG_STRING, &whose_options.host, "the hub, as myhub.azure-devices.net", "HOST" },
    { "device-id", 0, 0, G_OPTION_ARG_STRING, &whose_options.device, "the device", "ID" },
    { "module-id", 0, 0, G_OPTION_ARG_STRING, &whose_options.module, "a module of it", "ID" },
    { "gateway", 0, 0, G_OPTION_ARG_STRING, &whose_options.gateway, "the IoT Edge parent that it goes through",
      "HOST" },
    { "audience", 0, 0, G_OPTION_ARG_STRING, &whose_options.audience,
      "Event Hubs or Service Bus: the resource, as sb://ns.servicebus.windows.net/hub", "URI" },
    { "key-name", 0, 0, G_OPTION_ARG_STRING, &whose_options.key_name, "its shared access policy", "NAME" },
    { "storage", 0, 0, G_OPTION_ARG_STRING, &storage,
      "tpm (devices in slots 0 to 9; there the default) or file (wrapped by the TPM)", "WHERE" },
    { NULL },
};

static DBusMessage *
provision_message(uint32_t slot, const struct identity *identity, int key)
{
    DBusMessageIter iter, dict;
    DBusMessage *message = bus_message(NAMES_ROOT, NAMES_MANAGER, "Provision");
    dbus_message_iter_init_append(message, &iter);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &slot))
        g_error("out of memory: a D-Bus message");
    bus_open_options(&iter, &dict);
    bus_append_identity(&dict, identity);
    bus_append_option(&dict, "Storage", storage);
    bus_close_options(&iter, &dict);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &key))
        g_error("out of memory: a D-Bus message");
    bus_append_no_options(&iter);
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

static json_t *
identity_json(uint32_t slot, const struct identity *identity)
{
    return json_pack("{s:I, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "slot", (json_int_t)slot, "host_name", identity->host,
                     "device_id", identity->device, "module_id", identity->module, "gateway_host_name",
                     identity->gateway, "audience", identity->audience, "key_name", identity->key_name);
}

static int
run_provision(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    GError *error = NULL;
    g_autoptr(secret_auto) key = NULL;
    if (!command_slot(context, arguments[0], &slot) || !whose_check(context))
        return EXIT_USAGE;
    if (storage && strcmp(storage, "tpm") != 0 && strcmp(storage, "file") != 0)
        return command_usage(context, "--storage is tpm or file");
    g_autoptr(identity_auto) identity = whose_read(&key, &error);
    if (!identity || !provision(context, slot, identity, key, &error))
        return command_error(error);
    g_autofree char *text = describe(identity);
    if (context->json)
        output_json(identity_json(slot, identity));
    else
        printf("slot %u holds the key of %s\n", slot, text);
    return EXIT_DONE;
}

/* ---- rotate ---- */

static gboolean undo;

static const GOptionEntry rotate_entries[] = {
    WHOSE_FILE_ENTRIES,
    { "undo", 0, 0, G_OPTION_ARG_NONE, &undo, "bring back the key, and the identity, of before the last rotation",
      NULL },
    { NULL },
};

static bool
check_rotate(const struct context *context)
{
    int given = (whose_options.connection_string_file != NULL) + (whose_options.key_file != NULL) + undo;
    if (given != 1)
        command_usage(context, given ? "only one of --key-file, --connection-string-file and --undo"
                                     : "say which key: --key-file, --connection-string-file, or --undo");
    return given == 1;
}

/* The new key, and whom it is for where that changes. The text of an audience's key is the key itself. */
static bool
read_next(DBusConnection *connection, uint32_t slot, struct identity **identity, struct secret **key, GError **error)
{
    if (whose_options.connection_string_file) {
        *identity = keyfile_read_connection_string(whose_options.connection_string_file, key, error);
        return *identity;
    }
    g_autoptr(dbus_message_auto) properties = bus_slot_properties(connection, slot, error);
    if (!properties)
        return false;
    bool audience = *bus_string(properties, "Audience");
    *key = audience ? keyfile_read_text(whose_options.key_file, error) : keyfile_read(whose_options.key_file, error);
    return *key;
}

static DBusMessage *
rotate(DBusConnection *connection, uint32_t slot, GError **error)
{
    g_autoptr(identity_auto) identity = NULL;
    g_autoptr(secret_auto) key = NULL;
    DBusMessageIter iter, dict;
    if (!read_next(connection, slot, &identity, &key, error))
        return NULL;
    int pipe_end = keyfile_to_pipe(key, error);
    if (pipe_end < 0)
        return NULL;
    DBusMessage *message = bus_slot_message(slot, "Rotate");
    dbus_message_iter_init_append(message, &iter);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UNIX_FD, &pipe_end))
        g_error("out of memory: a D-Bus message");
    close(pipe_end);
    bus_open_options(&iter, &dict);
    if (identity)
        bus_append_identity(&dict, identity);
    bus_close_options(&iter, &dict);
    return bus_call(connection, message, "a{sv}", error);
}

static DBusMessage *
undo_rotate(DBusConnection *connection, uint32_t slot, GError **error)
{
    DBusMessageIter iter;
    DBusMessage *message = bus_slot_message(slot, "UndoRotate");
    dbus_message_iter_init_append(message, &iter);
    bus_append_no_options(&iter);
    return bus_call(connection, message, "", error);
}

/* "dev-1 at hub.azure-devices.net". g_free. */
static char *
describe_slot(DBusMessage *properties)
{
    const char *where = bus_string(properties, "Audience"), *device = bus_string(properties, "DeviceId");
    return g_strdup_printf(" of %s at %s", *device ? device : bus_string(properties, "KeyName"),
                           *where ? where : bus_string(properties, "HostName"));
}

/* What Rotate answers holds of this very rotation; UndoRotate answers nothing, and the properties have it. They may be
 * NULL: the key was exchanged all the same. */
static void
print_rotated(const struct context *context, uint32_t slot, DBusMessage *reply, DBusMessage *properties)
{
    DBusMessage *told = undo ? properties : reply;
    json_t *all = told ? value_object(told) : json_object();
    g_autofree char *whose = properties ? describe_slot(properties) : g_strdup("");
    if (context->json)
        output_json(json_pack("{s:I, s:O*, s:O*}", "slot", (json_int_t)slot, "generation",
                              json_object_get(all, "generation"), "can_undo", json_object_get(all, "can_undo")));
    else
        printf("slot %u holds %s key%s", slot, undo ? "its former" : "a new", whose);
    if (!context->json && json_is_true(json_object_get(all, "can_undo")))
        printf("; hubkeyctl rotate %u --undo brings the former one back", slot);
    if (!context->json)
        putchar('\n');
    json_decref(all);
}

static int
run_rotate(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    GError *error = NULL;
    g_autoptr(dbus_message_auto) reply = NULL, properties = NULL;
    if (!command_slot(context, arguments[0], &slot) || !check_rotate(context))
        return EXIT_USAGE;
    DBusConnection *connection = bus_open(context, &error);
    if (connection)
        reply = undo ? undo_rotate(connection, slot, &error) : rotate(connection, slot, &error);
    if (reply)
        properties = bus_slot_properties(connection, slot, NULL);
    loop_close(connection);
    if (!reply)
        return command_error(error);
    print_rotated(context, slot, reply, properties);
    return EXIT_DONE;
}

/* ---- adopt ---- */

static char *adopt_host, *adopt_device, *adopt_name;

static const GOptionEntry adopt_entries[] = {
    { "host-name", 0, 0, G_OPTION_ARG_STRING, &adopt_host, "the hub, as hubkeyctl show tells it", "HOST" },
    { "device-id", 0, 0, G_OPTION_ARG_STRING, &adopt_device, "the device", "ID" },
    { "name", 0, 0, G_OPTION_ARG_STRING, &adopt_name, "the key's Name in the TPM", "HEX" },
    { NULL },
};

static int
check_adopt(const struct context *context)
{
    int given = (adopt_host != NULL) + (adopt_device != NULL) + (adopt_name != NULL);
    if (given == 3 || (given == 0 && command_has_terminal()))
        return EXIT_DONE;
    if (given == 0)
        return command_usage(context, "there is no terminal to ask on; say what is to be adopted: --host-name, "
                                      "--device-id and --name, as hubkeyctl show tells them");
    return command_usage(context, "--host-name, --device-id and --name go together");
}

/* Shows what was found and asks; what is then adopted is exactly what was shown. */
static int
ask_adopt(DBusConnection *connection, uint32_t slot)
{
    GError *error = NULL;
    g_autoptr(dbus_message_auto) properties = bus_slot_properties(connection, slot, &error);
    if (!properties)
        return command_error(error);
    const char *state = bus_string(properties, "State");
    if (strcmp(state, "found") != 0)
        return command_failed(EXIT_FAILED, "slot %u is %s; only a slot that is found can be adopted", slot, state);
    adopt_host = g_strdup(bus_string(properties, "HostName"));
    adopt_device = g_strdup(bus_string(properties, "DeviceId"));
    adopt_name = g_strdup(bus_string(properties, "TpmName"));
    g_autofree char *question = g_strdup_printf(
        "Slot %u holds a key of \"%s\" at \"%s\" whose Name is\n%s.\nShall hubkeyd use it from now on?",
        slot, adopt_device, adopt_host, adopt_name);
    return command_ask(question);
}

static bool
adopt(DBusConnection *connection, uint32_t slot, GError **error)
{
    DBusMessageIter iter, dict;
    DBusMessage *message = bus_message(NAMES_ROOT, NAMES_MANAGER, "Adopt");
    dbus_message_iter_init_append(message, &iter);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &slot))
        g_error("out of memory: a D-Bus message");
    bus_open_options(&iter, &dict);
    bus_append_option(&dict, "HostName", adopt_host);
    bus_append_option(&dict, "DeviceId", adopt_device);
    bus_append_option(&dict, "TpmName", adopt_name);
    bus_close_options(&iter, &dict);
    bus_append_no_options(&iter);
    g_autoptr(dbus_message_auto) reply = bus_call(connection, message, "o", error);
    return reply;
}

static int
run_adopt(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    GError *error = NULL;
    if (!command_slot(context, arguments[0], &slot))
        return EXIT_USAGE;
    int code = check_adopt(context);
    if (code != EXIT_DONE)
        return code;
    DBusConnection *connection = bus_open(context, &error);
    if (!connection)
        return command_error(error);
    code = adopt_host ? EXIT_DONE : ask_adopt(connection, slot);
    if (code == EXIT_DONE && !adopt(connection, slot, &error))
        code = command_error(error);
    loop_close(connection);
    if (code == EXIT_DONE && context->json)
        output_json(json_pack("{s:I, s:o, s:o, s:s}", "slot", (json_int_t)slot, "host_name",
                              output_json_text(adopt_host), "device_id", output_json_text(adopt_device), "tpm_name",
                              adopt_name));
    else if (code == EXIT_DONE)
        printf("slot %u holds the key of %s at %s\n", slot, adopt_device, adopt_host);
    return code;
}

const struct command command_provision = {
    .name = "provision",
    .arguments = "N (--connection-string-file FILE | --host-name HOST --device-id ID [--module-id ID] [--gateway HOST] "
                 "--key-file FILE | --audience URI --key-name NAME --key-file FILE) [--storage tpm|file]",
    .summary = "put a key into slot N (administrators)",
    .details = "The key goes into the TPM and can be used there, but never be read again. Keys stand in files or come\n"
               "on stdin, never on the command line, which other users can read. One trailing newline is ignored.",
    .entries = provision_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_provision,
};

const struct command command_rotate = {
    .name = "rotate",
    .arguments = "N (--key-file FILE | --connection-string-file FILE | --undo)",
    .summary = "exchange the key of slot N (administrators)",
    .details =
        "With a connection string the slot can move to another hub or device in the same step. The former key is\n"
        "kept, wrapped by the TPM, and --undo brings it back, once.",
    .entries = rotate_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_rotate,
};

const struct command command_adopt = {
    .name = "adopt",
    .arguments = "N [--host-name HOST --device-id ID --name HEX]",
    .summary = "use the key that was found in slot N (administrators)",
    .details = "For keys that Windows or an earlier installation put into the TPM; nothing there is changed. Without\n"
               "options it shows what was found and asks.",
    .entries = adopt_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_adopt,
};
