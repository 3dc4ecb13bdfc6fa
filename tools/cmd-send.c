/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * send: each line of stdin is a message. A line is accepted once it is on disk; sending goes on beside reading, and
 * reading never waits for more input than is there.
 */
#include <config.h>

#include "common/clock.h"
#include "tools/command.h"
#include "tools/lines.h"
#include "tools/output.h"
#include "tools/sender.h"
#include "tools/stop.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GATHER_MAX (2 << 20) /* bytes of lines that are posted together */
#define SLICE_MS 200         /* how soon a signal is noticed while waiting for the hub */
#define WAIT_MAX_S 604800

static char **properties, *content_type, *encoding, *queue_file, *wait_text;
static gboolean ack, queue_only;

static const GOptionEntry entries[] = {
    { "property", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &properties, "give each message this property; repeatable",
      "NAME=VALUE" },
    { "content-type", 0, 0, G_OPTION_ARG_STRING, &content_type, "as application/json, for routing by the body",
      "TYPE" },
    { "encoding", 0, 0, G_OPTION_ARG_STRING, &encoding, "the content's encoding, as utf-8", "NAME" },
    { "queue", 0, 0, G_OPTION_ARG_FILENAME, &queue_file, "queue file in place of the slot's usual one", "FILE" },
    { "ack", 0, 0, G_OPTION_ARG_NONE, &ack, "print number and id of each line once it is safe on disk", NULL },
    { "wait", 0, 0, G_OPTION_ARG_STRING, &wait_text, "after the last line wait so long for the hub (10)", "SECONDS" },
    { "queue-only", 0, 0, G_OPTION_ARG_NONE, &queue_only, "only put the lines into the queue; another process sends",
      NULL },
    { NULL },
};

/* ---- reading ---- */

static bool
is_readable_now(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    return poll(&input, 1, 0) > 0;
}

/* Posts every line that is there. */
static bool
post_lines(struct sender *sender, struct lines *lines, bool last)
{
    g_autofree struct line *batch = g_new(struct line, SENDER_BATCH_MAX);
    for (;;) {
        size_t n = 0;
        while (n < SENDER_BATCH_MAX && lines_next(lines, last, &batch[n]))
            n++;
        if (n == 0)
            return true;
        if (!sender_post(sender, batch, n))
            return false;
    }
}

/* Reads what is ready: 1, at the end 0, or -1. */
static ssize_t
gather(struct lines *lines)
{
    ssize_t n;
    do
        n = lines_fill(lines);
    while (n > 0 && lines_buffered(lines) < GATHER_MAX && is_readable_now());
    return n;
}

/* Until the end of input, a signal, or an error. */
static void
pass_lines(struct sender *sender)
{
    struct lines *lines = lines_new(STDIN_FILENO, HUBKEY_MESSAGE_MAX);
    struct pollfd waiting[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = stop_fd(), .events = POLLIN } };
    ssize_t n = 1;
    while (n > 0) {
        (void)poll(waiting, G_N_ELEMENTS(waiting), -1);
        if (stop_asked())
            break;
        n = gather(lines);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            n = 1;
        if (n < 0)
            sender->fatal = command_failed(EXIT_FAILED, "cannot read stdin: %s", g_strerror(errno));
        if (!post_lines(sender, lines, n == 0))
            break;
    }
    if (stop_asked() && lines_buffered(lines) > 0)
        fprintf(stderr, "hubkeyctl: interrupted; %zu bytes of an unfinished line were not sent\n",
                lines_buffered(lines));
    lines_free(lines);
}

/* ---- the end ---- */

/* Until all of ours have left the queue, whatever other writers put behind them; in slices, so that a signal ends it. */
static bool
await_delivery(struct sender *sender, uint32_t seconds)
{
    int64_t deadline = clock_monotonic_us() / 1000 + (int64_t)seconds * 1000;
    for (;;) {
        int64_t left = stop_asked() ? 0 : deadline - clock_monotonic_us() / 1000;
        /* Does not wait, but cuts a pause short. */
        if (hubkey_client_flush(sender->client, 0, NULL) == 0)
            return true;
        int result = sender_await(sender, (int32_t)CLAMP(left, 0, SLICE_MS));
        if (result != HUBKEY_E_TIMEOUT || left <= 0)
            return result == 0;
    }
}

struct outcome {
    uint64_t delivered, waiting, gone;
    char why[320]; /* what holds the sender up */
};

/* "1 line", "2 lines"; g_free. */
static char *
lines_text(uint64_t n)
{
    return g_strdup_printf("%" PRIu64 " line%s", n, n == 1 ? "" : "s");
}

static void
print_waiting(const struct sender *sender, const struct outcome *outcome, const char *path, uint32_t slot)
{
    g_autofree char *all = lines_text(sender->accepted);
    g_autofree char *waiting = lines_text(outcome->waiting);
    if (queue_only)
        fprintf(stderr, "hubkeyctl: %s in %s\n", waiting, path);
    else
        fprintf(stderr,
                "hubkeyctl: %" PRIu64 " of %s in %s, not sent yet (%s); send with: hubkeyctl queue flush %u%s%s\n",
                outcome->waiting, all, path, outcome->why, slot, queue_file ? " --queue " : "",
                queue_file ? queue_file : "");
}

static void
print_outcome(const struct sender *sender, const struct outcome *outcome, const char *path, uint32_t slot)
{
    if (sender->json)
        output_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "accepted", (json_int_t)sender->accepted, "delivered",
                              (json_int_t)outcome->delivered, "waiting", (json_int_t)outcome->waiting, "dead",
                              (json_int_t)outcome->gone, "refused", (json_int_t)sender->refused, "queue", path));
    g_autofree char *refused = lines_text(sender->refused);
    g_autofree char *gone = lines_text(outcome->gone);
    g_autofree char *delivered = lines_text(outcome->delivered);
    fflush(stdout);
    if (sender->refused > 0)
        fprintf(stderr, "hubkeyctl: %s not sent\n", refused);
    if (outcome->gone > 0)
        fprintf(stderr,
                "hubkeyctl: %s left the queue undelivered, refused by the hub or removed; see: hubkeyctl queue status "
                "--queue %s\n",
                gone, path);
    if (outcome->waiting > 0)
        print_waiting(sender, outcome, path, slot);
    else if (isatty(STDERR_FILENO))
        fprintf(stderr, "%s delivered\n", delivered);
}

/* What became of the lines, and the exit code for it. */
static int
conclude(const struct sender *sender, const struct hubkey_counts *before, bool delivered, const char *path,
         uint32_t slot)
{
    struct hubkey_stats after = { .size = sizeof after };
    struct outcome outcome = { 0 };
    hubkey_client_stats(sender->client, &after);
    command_sender_state(&after, outcome.why, sizeof outcome.why);
    /* Each number has to be looked up, so only where they did not all go to the hub. */
    if (queue_only)
        outcome.waiting = sender->accepted;
    else if (!delivered || after.counts.dead + after.counts.dropped + after.counts.removed >
                               before->dead + before->dropped + before->removed)
        sender_count(sender, &outcome.waiting, &outcome.gone);
    outcome.delivered = sender->accepted - outcome.gone - outcome.waiting;
    print_outcome(sender, &outcome, path, slot);
    if (sender->fatal)
        return sender->fatal;
    if (sender->refused > 0 || outcome.gone > 0)
        return EXIT_FAILED;
    return outcome.waiting > 0 && !queue_only ? EXIT_WAITING : EXIT_DONE;
}

static int
send_lines(const struct context *context, hubkey_client *client, const struct hubkey_property *given, size_t n_given,
           const char *path, uint32_t slot, uint32_t seconds)
{
    struct sender sender;
    struct hubkey_stats before = { .size = sizeof before };
    hubkey_client_stats(client, &before);
    sender_init(&sender, client);
    sender.ack = ack;
    sender.json = context->json;
    sender.form.content_type = content_type;
    sender.form.content_encoding = encoding;
    sender.form.properties = given;
    sender.form.n_properties = (uint32_t)n_given;

    stop_catch();
    pass_lines(&sender);
    bool delivered = sender.accepted == 0 || (!queue_only && await_delivery(&sender, seconds));
    stop_release();
    int code = conclude(&sender, &before.counts, delivered, path, slot);
    sender_clear(&sender);
    return code;
}

/* ---- the command ---- */

static struct hubkey_property *
split_properties(const struct context *context, size_t *n)
{
    *n = properties ? g_strv_length(properties) : 0;
    struct hubkey_property *given = g_new0(struct hubkey_property, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        char *equals = strchr(properties[i], '=');
        if (!equals || equals == properties[i] || equals[1] == '\0') {
            command_usage(context, "--property takes NAME=VALUE, not \"%s\"", properties[i]);
            g_free(given);
            return NULL;
        }
        *equals = '\0';
        given[i] = (struct hubkey_property){ .name = properties[i], .value = equals + 1 };
    }
    return given;
}

static char *
usual_queue(uint32_t slot, struct hubkey_error *error)
{
    char *found = NULL;
    if (hubkey_queue_path(slot, &found, error) != 0)
        return NULL;
    char *path = g_strdup(found);
    hubkey_free(found);
    return path;
}

static int
run(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0, seconds = 10;
    size_t n_given = 0;
    struct hubkey_error error = { 0 };
    hubkey_client *client = NULL;
    if (!command_slot(context, arguments[0], &slot) ||
        !command_number(context, "--wait", wait_text, WAIT_MAX_S, &seconds))
        return EXIT_USAGE;
    g_autofree struct hubkey_property *given = split_properties(context, &n_given);
    if (!given)
        return EXIT_USAGE;
    g_autofree char *path = queue_file ? g_strdup(queue_file) : usual_queue(slot, &error);
    struct hubkey_options options = {
        .size = sizeof options,
        .slot = slot,
        .queue_path = path,
        .socket_path = context->socket,
        .flags = queue_only ? HUBKEY_FLAG_QUEUE_ONLY : 0,
    };
    int result = path ? hubkey_client_open(&options, &client, &error) : error.code;
    if (result != 0)
        return command_failed(command_client_code(result), "%s", error.text);
    int code = send_lines(context, client, given, n_given, path, slot, seconds);
    hubkey_client_close(client, 0);
    return code;
}

const struct command command_send = {
    .name = "send",
    .arguments = "N [OPTION...] <LINES",
    .summary = "send each line of stdin to the hub, as the device of slot N",
    .details =
        "A line is accepted once it is in the queue on disk, from where it reaches the hub even if this program\n"
        "ends; --ack prints its number and id then. Lines that are longer than a message may be are reported by\n"
        "number and left out. Exits with 0 when all were delivered, 5 when some still wait in the queue, 1 when a\n"
        "line or a message was refused.",
    .entries = entries,
    .n_min = 1,
    .n_max = 1,
    .run = run,
};
