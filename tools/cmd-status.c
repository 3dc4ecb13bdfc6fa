/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * status and list: what hubkeyd has.
 */
#include <config.h>

#include "dbus/loop.h"
#include "dbus/names.h"
#include "tools/bus.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/slots.h"
#include "tools/value.h"

#include <stdio.h>
#include <string.h>

/* ---- list ---- */

static void
list_json(const struct slot_row *row, void *user)
{
    output_json(json_pack("{s:I, s:s, s:s, s:s, s:s}", "slot", (json_int_t)row->slot, "state", row->texts[0], "storage",
                          row->texts[1], "host_name", row->texts[2], "device_id", row->texts[3]));
}

static void
list_text(const struct slot_row *row, void *user)
{
    g_autofree char *slot = g_strdup_printf("%u", row->slot);
    table_add(user, (const char *const[]){ slot, row->texts[0], row->texts[1], row->texts[2], row->texts[3] });
}

static int
run_list(const struct context *context, char **arguments, int n)
{
    static const char *const titles[] = { "SLOT", "STATE", "STORAGE", "HOST NAME", "DEVICE ID" };
    GError *error = NULL;
    DBusConnection *connection = bus_open_any(context, &error);
    struct table *table = table_new(G_N_ELEMENTS(titles), titles);
    bool good = connection && slots_walk(connection, context->json ? list_json : list_text, table, &error);
    bool is_empty = table_rows(table) == 0;
    loop_close(connection);
    if (good && !context->json && is_empty)
        puts("no slot is in use; fill one with: hubkeyctl provision N --connection-string-file FILE");
    if (good && !context->json && !is_empty)
        table_print(table);
    else
        table_free(table);
    return good ? EXIT_DONE : command_error(error);
}

/* ---- status ---- */

struct counts {
    uint32_t slots, ready;
};

static void
count_slot(const struct slot_row *row, void *user)
{
    struct counts *counts = user;
    counts->slots++;
    counts->ready += strcmp(row->texts[0], "ready") == 0;
}

static void
print_status_json(DBusMessage *properties, DBusMessage *statistics, const struct counts *counts)
{
    json_t *object = value_object(properties);
    json_object_set_new(object, "slots", json_integer(counts->slots));
    json_object_set_new(object, "slots_ready", json_integer(counts->ready));
    json_object_set_new(object, "statistics", value_object(statistics));
    output_json(object);
}

static void
add_statistic(const char *name, DBusMessageIter *value, void *user)
{
    static const char *const titles[][2] = {
        { "TokensIssued", "Tokens issued" },     { "TokensShared", "Tokens shared" },
        { "TokensDenied", "Tokens denied" },     { "TpmOperations", "TPM operations" },
        { "TpmRetries", "TPM retries" },         { "TpmResets", "TPM resets" },
        { "QueueDepth", "Requests waiting" },    { "LatencyP50Us", "Latency, median (µs)" },
        { "LatencyP99Us", "Latency, 99% (µs)" },
    };
    const char *title = name;
    for (size_t i = 0; i < G_N_ELEMENTS(titles); i++)
        if (strcmp(name, titles[i][0]) == 0)
            title = titles[i][1];
    g_autofree char *text = value_text(value);
    fields_add(user, title, "%s", text);
}

static void
print_status_text(DBusMessage *properties, DBusMessage *statistics, const struct counts *counts)
{
    const char *const tpm[] = { "TPM:", bus_string(properties, "TpmState") };
    struct table *fields = fields_new();
    fields_add(fields, "hubkeyd", "%s", bus_string(properties, "Version"));
    table_add(fields, tpm);
    fields_add(fields, "Slots in use", "%u", counts->slots);
    fields_add(fields, "Slots ready", "%u", counts->ready);
    bus_each_entry(statistics, add_statistic, fields);
    table_print(fields);
}

static int
run_status(const struct context *context, char **arguments, int n)
{
    GError *error = NULL;
    struct counts counts = { 0 };
    g_autoptr(dbus_message_auto) properties = NULL;
    g_autoptr(dbus_message_auto) statistics = NULL;
    DBusConnection *connection = bus_open_any(context, &error);
    bool good = connection && (properties = bus_properties(connection, NAMES_ROOT, NAMES_MANAGER, &error)) &&
                (statistics = bus_call(connection, bus_message(NAMES_ROOT, NAMES_MANAGER, "GetStatistics"), "a{sv}",
                                       &error)) &&
                slots_walk(connection, count_slot, &counts, &error);
    loop_close(connection);
    if (!good)
        return command_error(error);
    (context->json ? print_status_json : print_status_text)(properties, statistics, &counts);
    return EXIT_DONE;
}

const struct command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "show hubkeyd, its TPM and its counters",
    .run = run_status,
};

const struct command command_list = {
    .name = "list",
    .arguments = "",
    .summary = "list the slots that are in use",
    .run = run_list,
};
