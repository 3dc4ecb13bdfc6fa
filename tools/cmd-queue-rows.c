/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * queue list, peek, export and check: the messages themselves, beside whoever sends them.
 */
#include <config.h>

#include "common/text.h"
#include "tools/message-json.h"
#include "tools/output.h"
#include "tools/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIST_USUAL 1000
#define LIST_MAX 1000000000

static gboolean dead;
static char *limit_text;

#define DEAD_ENTRY                                                                                                     \
    {                                                                                                                  \
        "dead", 0, 0, G_OPTION_ARG_NONE, &dead, "the messages that the hub refused, not those that wait", NULL         \
    }

static const GOptionEntry list_entries[] = {
    TARGET_ENTRY,
    DEAD_ENTRY,
    { "limit", 0, 0, G_OPTION_ARG_STRING, &limit_text, "show so many at most (1000); 0 for all", "COUNT" },
    { NULL },
};

static const GOptionEntry rows_entries[] = { TARGET_ENTRY, DEAD_ENTRY, { NULL } };
static const GOptionEntry check_entries[] = { TARGET_ENTRY, { NULL } };

static uint32_t
which(void)
{
    return dead ? HUBKEY_ROWS_DEAD : HUBKEY_ROWS_WAITING;
}

/* Bodies go to a terminal as what they are, not as what they do to it. */
static bool
is_plain(const char *text, size_t len)
{
    if (!g_utf8_validate_len(text, len, NULL))
        return false;
    for (const char *c = text; c < text + len; c = g_utf8_next_char(c))
        if (g_unichar_iscntrl(g_utf8_get_char(c)) && !strchr("\t\n\r", *c))
            return false;
    return true;
}

/* ---- list ---- */

struct list {
    bool json;
    uint64_t n, limit; /* limit 0: none */
};

static void
print_row(const struct hubkey_queue_row *row, bool first)
{
    g_autofree char *created = output_time(row->message->created_ms);
    if (first)
        printf("%10s  %-19s  %6s  %-36s%s\n", "NUMBER", "CREATED", "BYTES", "ID", dead ? "  STATUS  REASON" : "");
    printf("%10" PRIu64 "  %-19s  %6" PRIu64 "  ", row->seq, created, row->message->len);
    g_autofree char *id = text_printable(row->message->id), *reason = text_printable(row->reason);
    if (dead)
        printf("%-36s  %6d  %s\n", id, row->status, reason);
    else
        printf("%s\n", id);
}

static int
list_row(const struct hubkey_queue_row *row, void *user)
{
    struct list *list = user;
    if (list->limit && list->n == list->limit) {
        fprintf(stderr, "hubkeyctl: there are more; --limit 0 shows all\n");
        return 1;
    }
    if (list->json)
        output_json(message_to_json(row, false));
    else
        print_row(row, list->n == 0);
    list->n++;
    return 0;
}

static int
run_list(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    uint32_t limit = LIST_USUAL;
    g_auto(target_auto) target = { 0 };
    if (!command_number(context, "--limit", limit_text, LIST_MAX, &limit))
        return EXIT_USAGE;
    int code = target_find(context, arguments, n, &target);
    if (code != EXIT_DONE)
        return code;
    struct list list = { .json = context->json, .limit = limit };
    int result = hubkey_queue_each(target.path, which(), 0, 0, list_row, &list, &error);
    return result == 0 ? EXIT_DONE : target_failed(result, &error);
}

/* ---- peek ---- */

struct peek {
    bool json, found;
    uint64_t seq; /* 0: the first there is */
};

static void
print_message(const struct hubkey_queue_row *row)
{
    const struct hubkey_message *message = row->message;
    struct table *fields = fields_new();
    g_autofree char *created = output_time(message->created_ms);
    fields_add(fields, "Number", "%" PRIu64, row->seq);
    fields_add(fields, "Id", "%s", message->id);
    fields_add(fields, "Created", "%s", created);
    if (message->correlation_id)
        fields_add(fields, "Correlation", "%s", message->correlation_id);
    if (message->content_type)
        fields_add(fields, "Content type", "%s", message->content_type);
    if (message->content_encoding)
        fields_add(fields, "Encoding", "%s", message->content_encoding);
    for (uint32_t i = 0; i < message->n_properties; i++)
        fields_add(fields, "Property", "%s=%s", message->properties[i].name, message->properties[i].value);
    if (row->buried_ms != 0) {
        g_autofree char *buried = output_time(row->buried_ms);
        fields_add(fields, "Refused", "%s, HTTP %d: %s", buried, row->status, row->reason);
    }
    fields_add(fields, "Body", "%" PRIu64 " bytes", message->len);
    table_print(fields);
    if (is_plain(message->body, message->len))
        printf("\n%.*s\n", (int)message->len, (const char *)message->body);
    else
        puts("\n(no text; hubkeyctl queue export has it)");
}

static int
peek_row(const struct hubkey_queue_row *row, void *user)
{
    struct peek *peek = user;
    peek->found = peek->seq == 0 || row->seq == peek->seq;
    if (peek->found && peek->json)
        output_json(message_to_json(row, true));
    else if (peek->found)
        print_message(row);
    return 1;
}

static int
run_peek(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    struct peek peek = { .json = context->json };
    g_auto(target_auto) target = { 0 };
    int used;
    int code = target_find_first(context, arguments, n, &target, &used);
    if (code != EXIT_DONE)
        return code;
    if (n - used > 1)
        return command_usage(context, "queue peek takes one message's number");
    if (n > used && !command_seq(context, arguments[used], &peek.seq))
        return EXIT_USAGE;
    /* By its number it is found wherever it is. */
    uint64_t above = peek.seq ? peek.seq - 1 : 0;
    int result = hubkey_queue_each(target.path, which(), above, 1, peek_row, &peek, &error);
    if (result == 0 && !peek.found && peek.seq && !dead)
        result = hubkey_queue_each(target.path, HUBKEY_ROWS_DEAD, above, 1, peek_row, &peek, &error);
    if (result != 0)
        return target_failed(result, &error);
    if (peek.found)
        return EXIT_DONE;
    if (peek.seq)
        return command_failed(EXIT_FAILED, "message %" PRIu64 " is not in %s", peek.seq, target.path);
    return command_failed(EXIT_FAILED, "%s in %s", dead ? "no message is dead" : "no message waits", target.path);
}

/* ---- export ---- */

/* Numbers grow: the last one tells queue drop what is safe elsewhere by now. */
struct export {
    uint64_t n, last;
};

static int
export_row(const struct hubkey_queue_row *row, void *user)
{
    struct export *export = user;
    export->n++;
    export->last = row->seq;
    output_json(message_to_json(row, true));
    return ferror(stdout);
}

static int
run_export(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    g_auto(target_auto) target = { 0 };
    int code = target_find(context, arguments, n, &target);
    if (code != EXIT_DONE)
        return code;
    struct export export = { 0 };
    int result = hubkey_queue_each(target.path, which(), 0, 0, export_row, &export, &error);
    if (export.n > 0)
        fprintf(stderr, "hubkeyctl: %" PRIu64 " message%s exported, the last is number %" PRIu64 "\n", export.n,
                export.n == 1 ? "" : "s", export.last);
    return result == 0 ? EXIT_DONE : target_failed(result, &error);
}

/* ---- check ---- */

static void
note_fault(int32_t level, const char *text, void *user)
{
    json_t *faults = user;
    g_autofree char *shown = text_printable(text);
    if (faults)
        json_array_append_new(faults, output_json_text(text));
    else
        puts(shown);
}

static int
run_check(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    g_auto(target_auto) target = { 0 };
    int code = target_find(context, arguments, n, &target);
    if (code != EXIT_DONE)
        return code;
    json_t *faults = context->json ? json_array() : NULL;
    int found = hubkey_queue_check(target.path, note_fault, faults, &error);
    if (found < 0) {
        json_decref(faults);
        return target_failed(found, &error);
    }
    if (context->json)
        output_json(json_pack("{s:o, s:i, s:o}", "queue", output_json_text(target.path), "found", found, "faults",
                              faults));
    if (found > 0)
        return command_failed(EXIT_FAILED, "%s is not whole; save what can be read: hubkeyctl queue export --queue %s",
                              target.path, target.path);
    if (!context->json)
        puts("the queue is whole");
    return EXIT_DONE;
}

const struct command command_queue_list = {
    .name = "queue list",
    .arguments = "[N | --queue FILE] [--dead] [--limit COUNT]",
    .summary = "list the messages that wait, or are dead",
    .details = "Also beside whoever sends. With --json a message is an object a line.",
    .entries = list_entries,
    .n_max = 1,
    .run = run_list,
};

const struct command command_queue_peek = {
    .name = "queue peek",
    .arguments = "{N | --queue FILE} [NUMBER] [--dead]",
    .summary = "show one message with its body",
    .details = "The oldest that waits (with --dead: the oldest dead one), or the one with this number.",
    .entries = rows_entries,
    .n_max = 2,
    .run = run_peek,
};

const struct command command_queue_export = {
    .name = "queue export",
    .arguments = "[N | --queue FILE] [--dead]",
    .summary = "write all messages to stdout, for queue import",
    .details = "A JSON object a line, the body in base64. Also beside whoever sends; the messages stay in the queue.",
    .entries = rows_entries,
    .n_max = 1,
    .run = run_export,
};

const struct command command_queue_check = {
    .name = "queue check",
    .arguments = "[N | --queue FILE]",
    .summary = "look whether the queue's file is whole",
    .details = "Reads all of it, also beside whoever sends, and changes nothing: the pages of the file, the counters\n"
               "against the messages, each message. Exits with 1 when something is wrong.",
    .entries = check_entries,
    .n_max = 1,
    .run = run_check,
};
