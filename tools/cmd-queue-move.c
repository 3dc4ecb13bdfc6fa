/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * queue requeue and import: dead messages and those of another queue, behind the ones that wait.
 */
#include <config.h>

#include "tools/lines.h"
#include "tools/message-json.h"
#include "tools/output.h"
#include "tools/target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES (2 << 20) /* a message's body in base64, and its properties, with room for \u escapes */
#define BATCH_MAX 1000           /* messages in one transaction, */
#define BATCH_BYTES (4 << 20)    /* and what their lines may have together, beyond the last */
#define COMPLAINTS_MAX 20        /* lines named one by one; the rest is counted */

static gboolean all;

static const GOptionEntry requeue_entries[] = {
    TARGET_ENTRY,
    { "all", 0, 0, G_OPTION_ARG_NONE, &all, "all dead messages", NULL },
    { NULL },
};

static const GOptionEntry import_entries[] = { TARGET_ENTRY, { NULL } };

/* ---- requeue ---- */

static int
requeue_all(const char *path, uint64_t *moved)
{
    struct hubkey_error error = { 0 };
    int result = hubkey_queue_requeue(path, 1, UINT64_MAX, moved, &error);
    return result == 0 ? EXIT_DONE : target_failed(result, &error);
}

static int
requeue_each(const char *path, const uint64_t *numbers, int n, uint64_t *moved)
{
    int code = EXIT_DONE;
    for (int i = 0; i < n; i++) {
        struct hubkey_error error = { 0 };
        uint64_t one = 0;
        int result = hubkey_queue_requeue(path, numbers[i], numbers[i], &one, &error);
        if (result != 0)
            return target_failed(result, &error);
        if (one == 0)
            code = command_failed(EXIT_FAILED, "there is no dead message %" PRIu64 " in %s", numbers[i], path);
        *moved += one;
    }
    return code;
}

static int
run_requeue(const struct context *context, char **arguments, int n)
{
    uint64_t moved = 0;
    g_auto(target_auto) target = { 0 };
    int used;
    int code = target_find_first(context, arguments, n, &target, &used);
    if (code != EXIT_DONE)
        return code;
    if (all == (n > used))
        return command_usage(context, "say which: numbers of dead messages (see queue list --dead), or --all");
    g_autofree uint64_t *numbers = g_new(uint64_t, MAX(n - used, 1));
    for (int i = used; i < n; i++)
        if (!command_seq(context, arguments[i], &numbers[i - used]))
            return EXIT_USAGE;
    target_salvage(&target);
    code = all ? requeue_all(target.path, &moved) : requeue_each(target.path, numbers, n - used, &moved);
    if (context->json && (code == EXIT_DONE || moved > 0))
        output_json(json_pack("{s:o, s:I}", "queue", output_json_text(target.path), "requeued", (json_int_t)moved));
    else if (code == EXIT_DONE || moved > 0)
        printf("%" PRIu64 " message%s will be sent again\n", moved, moved == 1 ? "" : "s");
    return code;
}

/* ---- import ---- */

struct import {
    const char *path;
    GArray *batch; /* struct message_read */
    size_t bytes;
    uint64_t first_line, imported, refused;
    int fatal; /* exit code, 0 before */
};

static void
clear_read(gpointer read)
{
    message_read_clear(read);
}

static void
refuse(struct import *import, uint64_t number, const char *why)
{
    import->refused++;
    if (import->refused <= COMPLAINTS_MAX)
        command_failed(EXIT_FAILED, "line %" PRIu64 " was not imported: %s", number, why);
    if (import->refused == COMPLAINTS_MAX)
        fputs("hubkeyctl: further lines that are not imported are only counted\n", stderr);
}

static bool
put_batch(struct import *import)
{
    struct hubkey_error error = { 0 };
    guint n = import->batch->len;
    if (n == 0)
        return true;
    g_autofree const struct hubkey_message **messages = g_new(const struct hubkey_message *, n);
    for (guint i = 0; i < n; i++)
        messages[i] = &g_array_index(import->batch, struct message_read, i).message;
    int result = hubkey_queue_import(import->path, messages, n, NULL, &error);
    g_array_set_size(import->batch, 0);
    import->bytes = 0;
    if (result != 0)
        import->fatal = command_failed(command_client_code(result),
                                       "line %" PRIu64 " and those behind it were not imported: %s",
                                       import->first_line, error.text);
    else
        import->imported += n;
    return result == 0;
}

static bool
take_line(struct import *import, const struct line *line)
{
    struct hubkey_error error = { 0 };
    struct message_read read;
    if (line->len == 0)
        return true;
    if (!line->text) {
        refuse(import, line->number, "it is longer than any message");
        return true;
    }
    g_autofree char *fault = message_read(&read, line->text, line->len);
    if (!fault && hubkey_message_check(&read.message, NULL, &error) != 0)
        fault = g_strdup(error.text);
    if (fault) {
        refuse(import, line->number, fault);
        message_read_clear(&read);
        return true;
    }
    if (import->batch->len == 0)
        import->first_line = line->number;
    import->bytes += line->len;
    g_array_append_val(import->batch, read);
    return (import->batch->len < BATCH_MAX && import->bytes < BATCH_BYTES) || put_batch(import);
}

static void
import_lines(struct import *import, int fd, const char *name)
{
    struct lines *lines = lines_new(fd, LINE_MAX_BYTES);
    struct line line;
    bool good = true;
    ssize_t n = 1;
    while (n > 0 && good) {
        do
            n = lines_fill(lines);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            import->fatal = command_failed(EXIT_FAILED, "cannot read %s: %s", name, g_strerror(errno));
        while (good && lines_next(lines, n == 0, &line))
            good = take_line(import, &line);
    }
    if (good)
        (void)put_batch(import);
    lines_free(lines);
}

static int
import_from(const struct context *context, const char *path, int fd, const char *name)
{
    struct import import = { .path = path, .batch = g_array_new(FALSE, FALSE, sizeof(struct message_read)) };
    g_array_set_clear_func(import.batch, clear_read);
    import_lines(&import, fd, name);
    g_array_unref(import.batch);
    if (context->json)
        output_json(json_pack("{s:o, s:I, s:I}", "queue", output_json_text(path), "imported",
                              (json_int_t)import.imported, "refused", (json_int_t)import.refused));
    else
        printf("%" PRIu64 " message%s imported\n", import.imported, import.imported == 1 ? "" : "s");
    return import.fatal ? import.fatal : import.refused > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int
run_import(const struct context *context, char **arguments, int n)
{
    g_auto(target_auto) target = { 0 };
    int used;
    int code = target_find_first(context, arguments, n, &target, &used);
    if (code != EXIT_DONE)
        return code;
    if (n - used > 1)
        return command_usage(context, "queue import takes one FILE, or - for stdin");
    const char *name = n > used && strcmp(arguments[used], "-") != 0 ? arguments[used] : NULL;
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0)
        return command_failed(EXIT_FAILED, "cannot read %s: %s", name, g_strerror(errno));
    target_salvage(&target);
    code = import_from(context, target.path, fd, name ? name : "stdin");
    if (name)
        close(fd);
    return code;
}

const struct command command_queue_requeue = {
    .name = "queue requeue",
    .arguments = "{N | --queue FILE} {NUMBER... | --all}",
    .summary = "have dead messages sent once more",
    .details = "They get new numbers, behind those that wait, and keep their ids. Exits with 6 while another process\n"
               "sends from the queue.",
    .entries = requeue_entries,
    .n_max = INT_MAX,
    .run = run_requeue,
};

const struct command command_queue_import = {
    .name = "queue import",
    .arguments = "{N | --queue FILE} [INPUT]",
    .summary = "take in messages that queue export wrote",
    .details =
        "From the file INPUT, or stdin where it is - or not given. They keep their ids and creation times. The queue\n"
        "is made where there is none. Lines that are no message are reported by number and left out; exits with 1\n"
        "then, and with 6 while another process sends from the queue.",
    .entries = import_entries,
    .n_max = 2,
    .run = run_import,
};
