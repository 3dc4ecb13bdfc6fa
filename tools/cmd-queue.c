/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * queue status, flush, rebind and drop: what waits on disk.
 */
#include <config.h>

#include "client/hubkey.h"
#include "common/clock.h"
#include "dbus/loop.h"
#include "tools/bus.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_MS 500
#define WAIT_MAX_S 604800
#define SKEW_TOLD_S 60 /* less is of no consequence, and may be an answer that took its time */

static char *wait_text, *through_text;
static gboolean drop_dead, drop_all, drop_yes;

static const GOptionEntry plain_entries[] = { TARGET_ENTRY, { NULL } };

static const GOptionEntry flush_entries[] = {
    TARGET_ENTRY,
    { "wait", 0, 0, G_OPTION_ARG_STRING, &wait_text, "give up when nothing was delivered for so long (10)", "SECONDS" },
    { NULL },
};

static const GOptionEntry drop_entries[] = {
    TARGET_ENTRY,
    { "dead", 0, 0, G_OPTION_ARG_NONE, &drop_dead, "drop the messages that the hub refused, not those that wait",
      NULL },
    { "all", 0, 0, G_OPTION_ARG_NONE, &drop_all, "drop both", NULL },
    { "through", 0, 0, G_OPTION_ARG_STRING, &through_text, "only those up to this number, the last one of an export",
      "NUMBER" },
    { "yes", 'y', 0, G_OPTION_ARG_NONE, &drop_yes, "do not ask, even on a terminal", NULL },
    { NULL },
};

/* ---- status ---- */

static json_t *
time_or_null(int64_t ms)
{
    return ms > 0 ? json_integer(ms) : json_null();
}

/* How the sender fares, or fared; null where nobody ever sent. */
static json_t *
pack_sender(const struct hubkey_queue_info *info)
{
    bool live = info->sender_pid == info->holder_pid;
    if (info->sender_pid == 0)
        return json_null();
    return json_pack("{s:b, s:s, s:s, s:o, s:I, s:o, s:o, s:o, s:I}", "live", live, "state",
                     hubkey_state_name(info->state), "reason", hubkey_reason_name(info->reason), "text",
                     output_json_text(info->state_text), "http_status", (json_int_t)info->http_status, "since",
                     time_or_null(info->state_since_ms), "next_attempt", time_or_null(info->next_attempt_ms),
                     "last_delivery", time_or_null(info->last_delivery_ms), "clock_skew",
                     (json_int_t)info->clock_skew_s);
}

static json_t *
pack_counts(const struct hubkey_queue_info *info)
{
    const struct hubkey_counts *counts = &info->counts;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "accepted", (json_int_t)counts->accepted, "delivered",
                     (json_int_t)counts->delivered, "waiting", (json_int_t)counts->waiting, "dead",
                     (json_int_t)counts->dead, "dropped", (json_int_t)counts->dropped, "removed",
                     (json_int_t)counts->removed, "waiting_bytes", (json_int_t)counts->waiting_bytes, "last_seq",
                     (json_int_t)counts->last_seq);
}

static json_t *
pack_rest(const struct hubkey_queue_info *info)
{
    json_t *salvage = info->salvage ? json_integer(info->salvage) : json_null();
    return json_pack("{s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:I}", "oldest",
                     time_or_null(info->oldest_ms), "file_bytes", (json_int_t)info->file_bytes, "holder_pid",
                     (json_int_t)info->holder_pid, "holder", output_json_text(info->holder), "holder_since",
                     time_or_null(info->holder_since_ms), "host_name", output_json_text(info->host), "device_id",
                     output_json_text(info->device), "module_id", output_json_text(info->module), "sender",
                     pack_sender(info), "expired", (json_int_t)info->expired, "lost", (json_int_t)info->lost,
                     "salvage", salvage, "damaged_files", (json_int_t)info->damaged_files);
}

static void
print_info_json(const char *path, const struct hubkey_queue_info *info)
{
    json_t *all = json_pack("{s:o}", "queue", output_json_text(path));
    output_json_add(all, pack_counts(info));
    output_json_add(all, pack_rest(info));
    output_json(all);
}

static void
add_time(struct table *fields, const char *name, int64_t ms)
{
    g_autofree char *time = output_time(ms);
    if (ms > 0)
        fields_add(fields, name, "%s", time);
}

static void
add_sender(struct table *fields, const struct hubkey_queue_info *info)
{
    bool live = info->sender_pid == info->holder_pid;
    g_autofree char *since = output_time(info->state_since_ms);
    if (info->sender_pid == 0)
        return;
    fields_add(fields, live ? "State" : "Last state", "%s%s%s since %s", hubkey_state_name(info->state),
               info->reason ? ", " : "", hubkey_reason_name(info->reason), since);
    if (info->state_text[0])
        fields_add(fields, "", "%s", info->state_text);
    if (live)
        add_time(fields, "Next try", info->next_attempt_ms);
    add_time(fields, "Last delivery", info->last_delivery_ms);
    if (llabs(info->clock_skew_s) > SKEW_TOLD_S)
        fields_add(fields, "Clock", "this machine's is %lld s %s the hub's", llabs(info->clock_skew_s),
                   info->clock_skew_s > 0 ? "behind" : "ahead of");
}

static void
add_dropped(struct table *fields, const struct hubkey_queue_info *info)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text, "%" PRIu64, info->counts.dropped);
    if (info->expired > 0)
        g_string_append_printf(text, " (%" PRIu64 " of them came to their time)", info->expired);
    if (info->lost > 0)
        g_string_append_printf(text, " (%" PRIu64 " of them could not be read in a damaged file)", info->lost);
    fields_add(fields, "Dropped", "%s", text->str);
}

static void
add_damage(struct table *fields, const char *path, const struct hubkey_queue_info *info)
{
    if (info->salvage)
        fields_add(fields, "Damage", "whoever sends carries over what can be read of %s.salvage-%u first", path,
                   info->salvage);
    if (info->damaged_files)
        fields_add(fields, "Kept", "%u damaged file%s, %s.damaged-*", info->damaged_files,
                   info->damaged_files == 1 ? "" : "s", path);
}

static void
print_info_text(const char *path, const struct hubkey_queue_info *info)
{
    const struct hubkey_counts *counts = &info->counts;
    struct table *fields = fields_new();
    fields_add(fields, "Queue", "%s", path);
    if (info->host[0])
        fields_add(fields, "For", "%s%s%s at %s", info->device, info->module[0] ? "/" : "", info->module, info->host);
    else
        fields_add(fields, "For", "nobody yet; the slot's identity when it is read next");
    g_autofree char *since = output_time(info->holder_since_ms);
    if (info->holder_pid < 0)
        fields_add(fields, "Sent by", "a process that did not say its name");
    else if (info->holder_pid)
        fields_add(fields, "Sent by", "%s (process %d) since %s", info->holder, info->holder_pid, since);
    else
        fields_add(fields, "Sent by", "nobody now");
    add_sender(fields, info);
    fields_add(fields, "Accepted", "%" PRIu64, counts->accepted);
    fields_add(fields, "Delivered", "%" PRIu64, counts->delivered);
    fields_add(fields, "Waiting", "%" PRIu64 " (%" PRIu64 " bytes)", counts->waiting, counts->waiting_bytes);
    if (info->oldest_ms > 0) {
        g_autofree char *oldest = output_time(info->oldest_ms);
        fields_add(fields, "Oldest", "%s", oldest);
    }
    fields_add(fields, "Dead", "%" PRIu64, counts->dead);
    add_dropped(fields, info);
    fields_add(fields, "Removed", "%" PRIu64, counts->removed);
    fields_add(fields, "On disk", "%" PRId64 " bytes", info->file_bytes);
    add_damage(fields, path, info);
    table_print(fields);
}

static int
run_status(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    struct hubkey_queue_info info = { .size = sizeof info };
    g_auto(target_auto) target = { 0 };
    int code = target_find(context, arguments, n, &target);
    if (code != EXIT_DONE)
        return code;
    int result = hubkey_queue_status(target.path, &info, &error);
    if (result != 0)
        return target_failed(result, &error);
    (context->json ? print_info_json : print_info_text)(target.path, &info);
    return EXIT_DONE;
}

/* ---- flush ---- */

static int
note_seq(const struct hubkey_queue_row *row, void *user)
{
    *(uint64_t *)user = row->seq;
    return 1;
}

/* Whether a message up to goal still waits. What is in a damaged file yet is no row here, and an error. */
static bool
waits_up_to(const char *path, uint64_t goal)
{
    uint64_t oldest = 0;
    return hubkey_queue_each(path, HUBKEY_ROWS_WAITING, 0, 1, note_seq, &oldest, NULL) != 0 ||
           (oldest != 0 && oldest <= goal);
}

/* Goes on while something is being delivered, and gives up after seconds without. What others put behind goal
 * meanwhile is not waited for: beside a steady writer there would be no end. */
static int
flush(hubkey_client *client, const char *path, uint64_t goal, uint32_t seconds, struct hubkey_stats *stats,
      struct hubkey_error *error)
{
    uint64_t delivered = 0;
    int64_t since = clock_monotonic_us();
    for (;;) {
        int result = hubkey_client_flush(client, seconds == 0 ? 0 : SLICE_MS, error);
        int64_t now = clock_monotonic_us();
        hubkey_client_stats(client, stats);
        if (result == HUBKEY_E_TIMEOUT && !waits_up_to(path, goal))
            return 0;
        if (result != HUBKEY_E_TIMEOUT || (stats->counts.delivered == delivered && now - since >= seconds * 1000000LL))
            return result;
        if (stats->counts.delivered != delivered)
            since = now;
        delivered = stats->counts.delivered;
    }
}

static int
report_flush(const struct context *context, const struct target *target, int result, const struct hubkey_stats *before,
             const struct hubkey_stats *after, const struct hubkey_error *error)
{
    /* Counters that were lost with a damaged file begin below. */
    uint64_t delivered = after->counts.delivered - MIN(before->counts.delivered, after->counts.delivered);
    if (context->json)
        output_json(json_pack("{s:o, s:I, s:I, s:I}", "queue", output_json_text(target->path), "delivered",
                              (json_int_t)delivered, "waiting", (json_int_t)after->counts.waiting, "dead",
                              (json_int_t)after->counts.dead));
    if (result == HUBKEY_E_TIMEOUT) {
        char why[320];
        command_sender_state(after, why, sizeof why);
        return command_failed(EXIT_WAITING, "%" PRIu64 " messages still wait in %s (%s)", after->counts.waiting,
                              target->path, why);
    }
    if (result != 0)
        return target_failed(result, error);
    if (!context->json && after->counts.waiting == 0)
        printf("%" PRIu64 " messages delivered, none waits\n", delivered);
    else if (!context->json)
        printf("%" PRIu64 " messages delivered; %" PRIu64 " came meanwhile and wait\n", delivered,
               after->counts.waiting);
    return EXIT_DONE;
}

static int
run_flush(const struct context *context, char **arguments, int n)
{
    uint32_t seconds = 10;
    struct hubkey_error error = { 0 };
    struct hubkey_stats before = { .size = sizeof before }, after = { .size = sizeof after };
    hubkey_client *client = NULL;
    g_auto(target_auto) target = { 0 };
    if (!command_number(context, "--wait", wait_text, WAIT_MAX_S, &seconds))
        return EXIT_USAGE;
    int code = target_find(context, arguments, n, &target);
    if (code == EXIT_DONE && !target.has_slot)
        code = target_find_slot(context, &target);
    if (code != EXIT_DONE)
        return code;
    struct hubkey_options options = {
        .size = sizeof options,
        .slot = target.slot,
        .queue_path = target.path,
        .socket_path = context->socket,
    };
    int result = hubkey_client_open(&options, &client, &error);
    if (result != 0)
        return target_failed(result, &error);
    hubkey_client_set_callbacks(client, NULL, NULL, command_log, NULL);
    hubkey_client_stats(client, &before);
    result = flush(client, target.path, before.counts.last_seq, seconds, &after, &error);
    hubkey_client_dispatch(client);
    code = report_flush(context, &target, result, &before, &after, &error);
    hubkey_client_close(client, 0);
    return code;
}

/* ---- rebind ---- */

static int
rebind(const char *path, const char *host, const char *device, const char *module)
{
    struct hubkey_error error = { 0 };
    int result = hubkey_queue_rebind(path, host, device, module, &error);
    return result == 0 ? EXIT_DONE : target_failed(result, &error);
}

/* To whom slot N belongs now. */
static int
rebind_to_slot(const struct context *context, const struct target *target)
{
    GError *error = NULL;
    g_autoptr(dbus_message_auto) properties = NULL;
    DBusConnection *connection = bus_open_any(context, &error);
    if (connection)
        properties = bus_slot_properties(connection, target->slot, &error);
    loop_close(connection);
    if (!properties)
        return command_error(error);
    const char *module = bus_string(properties, "ModuleId");
    return rebind(target->path, bus_string(properties, "HostName"), bus_string(properties, "DeviceId"),
                  module[0] ? module : NULL);
}

static int
run_rebind(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    struct hubkey_queue_info info = { .size = sizeof info };
    g_auto(target_auto) target = { 0 };
    int code = target_find(context, arguments, n, &target);
    if (code == EXIT_DONE)
        target_salvage(&target);
    if (code == EXIT_DONE)
        code = target.has_slot ? rebind_to_slot(context, &target) : rebind(target.path, NULL, NULL, NULL);
    if (code != EXIT_DONE)
        return code;
    int result = hubkey_queue_status(target.path, &info, &error);
    if (result != 0)
        return target_failed(result, &error);
    if (context->json)
        print_info_json(target.path, &info);
    else if (info.host[0])
        printf("the queue is for %s at %s now\n", info.device, info.host);
    else
        puts("the queue is for nobody now, and will be for whom its slot belongs to when it is read next");
    return EXIT_DONE;
}

/* ---- drop ---- */

static int
confirm_drop(const struct target *target)
{
    struct hubkey_error error = { 0 };
    struct hubkey_queue_info info = { .size = sizeof info };
    int result = hubkey_queue_status(target->path, &info, &error);
    if (result != 0)
        return target_failed(result, &error);
    g_autofree char *question = g_strdup_printf("%s has %" PRIu64 " waiting and %" PRIu64
                                                " dead messages. Drop the %s%s%s for good?",
                                                target->path, info.counts.waiting, info.counts.dead,
                                                drop_all    ? "messages"
                                                : drop_dead ? "dead ones"
                                                            : "waiting ones",
                                                through_text ? " up to number " : "", through_text ? through_text : "");
    return command_ask(question);
}

static int
run_drop(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    uint64_t dropped = 0;
    g_auto(target_auto) target = { 0 };
    uint64_t through = UINT64_MAX;
    if (through_text && !command_seq(context, through_text, &through))
        return EXIT_USAGE;
    int code = target_find(context, arguments, n, &target);
    if (code == EXIT_DONE && !drop_yes && command_has_terminal())
        code = confirm_drop(&target);
    if (code != EXIT_DONE)
        return code;
    target_salvage(&target);
    uint32_t which = drop_all    ? HUBKEY_DROP_WAITING | HUBKEY_DROP_DEAD
                     : drop_dead ? HUBKEY_DROP_DEAD
                                 : HUBKEY_DROP_WAITING;
    int result = hubkey_queue_drop_through(target.path, which, through, &dropped, &error);
    if (result != 0)
        return target_failed(result, &error);
    if (context->json)
        output_json(json_pack("{s:o, s:I}", "queue", output_json_text(target.path), "removed", (json_int_t)dropped));
    else
        printf("%" PRIu64 " messages dropped\n", dropped);
    return EXIT_DONE;
}

const struct command command_queue_status = {
    .name = "queue status",
    .arguments = "[N | --queue FILE]",
    .summary = "show what waits in the queue of slot N",
    .entries = plain_entries,
    .n_max = 1,
    .run = run_status,
};

const struct command command_queue_flush = {
    .name = "queue flush",
    .arguments = "[N | --queue FILE] [--wait SECONDS]",
    .summary = "send what waits",
    .details = "Goes on as long as messages are delivered. Where another process sends from the queue, waits for it.\n"
               "With --queue alone the slot is looked up by whom the queue is for; N and --queue may stand together.\n"
               "What comes meanwhile is not waited for. Exits with 0 when nothing else waits any more, or with 5.",
    .entries = flush_entries,
    .n_max = 1,
    .run = run_flush,
};

const struct command command_queue_rebind = {
    .name = "queue rebind",
    .arguments = "[N | --queue FILE]",
    .summary = "give the queue to whom slot N belongs to now",
    .details =
        "A queue belongs to the device whose messages it took; nothing is sent while the slot speaks for another.\n"
        "With --queue alone it belongs to nobody, until its slot is read next. N and --queue may stand together.",
    .entries = plain_entries,
    .n_max = 1,
    .run = run_rebind,
};

const struct command command_queue_drop = {
    .name = "queue drop",
    .arguments = "[N | --queue FILE] [--dead | --all] [--through NUMBER] [--yes]",
    .summary = "remove messages that wait, for good",
    .details = "Asks on a terminal, unless --yes is given. Exits with 6 while another process sends from the queue.",
    .entries = drop_entries,
    .n_max = 1,
    .run = run_drop,
};
