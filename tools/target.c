/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/target.h"
#include "dbus/loop.h"
#include "tools/bus.h"
#include "tools/slots.h"

#include <string.h>

char *target_file;

void
target_clear(struct target *target)
{
    g_free(target->path);
}

int
target_failed(int result, const struct hubkey_error *error)
{
    return command_failed(command_client_code(result), "%s", error->text[0] ? error->text : hubkey_strerror(result));
}

void
target_salvage(const struct target *target)
{
    (void)hubkey_queue_salvage(target->path, command_log, NULL, NULL);
}

int
target_find(const struct context *context, char **arguments, int n, struct target *target)
{
    struct hubkey_error error = { 0 };
    char *path = NULL;
    if (n == 0 && !target_file)
        return command_usage(context, "say which queue: a slot's number, or --queue FILE");
    target->has_slot = n > 0;
    if (n > 0 && !command_slot(context, arguments[0], &target->slot))
        return EXIT_USAGE;
    if (target_file) {
        target->path = g_strdup(target_file);
        return EXIT_DONE;
    }
    int result = hubkey_queue_path(target->slot, &path, &error);
    if (result != 0)
        return target_failed(result, &error);
    target->path = g_strdup(path);
    hubkey_free(path);
    return EXIT_DONE;
}

int
target_find_first(const struct context *context, char **arguments, int n, struct target *target, int *used)
{
    *used = target_file ? 0 : MIN(n, 1);
    return target_find(context, arguments, *used, target);
}

/* ---- the slot of a queue ---- */

/* Slots of the queue's host and device: with modules there are several. */
struct search {
    const struct hubkey_queue_info *info;
    GArray *slots; /* uint32_t */
};

static void
compare_slot(const struct slot_row *row, void *user)
{
    struct search *search = user;
    if (strcmp(row->texts[SLOTS_HOST], search->info->host) == 0 &&
        strcmp(row->texts[SLOTS_DEVICE], search->info->device) == 0)
        g_array_append_val(search->slots, row->slot);
}

/* Looks for the queue's owner. False with error set, or without where no slot is his. */
static bool
search_slot(DBusConnection *connection, const struct hubkey_queue_info *info, uint32_t *slot, GError **error)
{
    g_autoptr(GArray) slots = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    struct search search = { info, slots };
    if (!slots_walk(connection, compare_slot, &search, error))
        return false;
    for (guint i = 0; i < slots->len; i++) {
        *slot = g_array_index(slots, uint32_t, i);
        g_autoptr(dbus_message_auto) properties = bus_slot_properties(connection, *slot, error);
        if (!properties)
            return false;
        if (strcmp(bus_string(properties, "ModuleId"), info->module) == 0)
            return true;
    }
    return false;
}

int
target_find_slot(const struct context *context, struct target *target)
{
    struct hubkey_error error = { 0 };
    struct hubkey_queue_info info = { .size = sizeof info };
    GError *problem = NULL;
    int result = hubkey_queue_status(target->path, &info, &error);
    if (result != 0)
        return target_failed(result, &error);
    if (info.host[0] != '\0') {
        DBusConnection *connection = bus_open_any(context, &problem);
        target->has_slot = connection && search_slot(connection, &info, &target->slot, &problem);
        loop_close(connection);
        if (problem)
            return command_error(problem);
    }
    return target->has_slot
               ? EXIT_DONE
               : command_failed(EXIT_FAILED,
                                "no slot holds whom this queue is for; name one beside --queue %s", target->path);
}
