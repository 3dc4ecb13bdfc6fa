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
#define MAX_BYTES (UINT64_C(1) << 30) /* as libhubkey's own default */

static char **properties, *content_type, *encoding, *queue_file, *wait_text, *policy_text, *max_bytes_text;
static gboolean ack, queue_only, dry_run;

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
    { "max-bytes", 0, 0, G_OPTION_ARG_STRING, &max_bytes_text, "how much may wait in the queue (1073741824)", "BYTES" },
    { "policy", 0, 0, G_OPTION_ARG_STRING, &policy_text,
      "when no more may wait: refuse the line (usual), block until there is room, or drop-oldest", "POLICY" },
    { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "only check the lines; nothing is queued or sent", NULL },
    { NULL },
};

/* Indices are HUBKEY_POLICY_*. */
static const char *const policies[] = { "refuse", "block", "drop-oldest" };

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
        int ready = poll(waiting, G_N_ELEMENTS(waiting), sender->progress ? PROGRESS_MS : -1);
        sender_show(sender, false);
        if (stop_asked())
            break;
        if (ready == 0)
            continue;
        n = gather(lines);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            n = 1;
        if (n < 0)
            sender->fatal = command_failed(EXIT_FAILED, "cannot read stdin: %s", g_strerror(errno));
        if (!post_lines(sender, lines, n == 0))
            break;
    }
    progress_clear(sender->progress);
    if (stop_asked() && lines_buffered(lines) > 0)
        fprintf(stderr, "hubkeyctl: interrupted; %zu bytes of an unfinished line were not sent\n",
                lines_buffered(lines));
    lines_free(lines);
}

/* ---- the end ---- */

/* Until all of ours have left the queue, whatever others put behind them; in slices, so that a signal ends it. */
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
        sender_show(sender, true);
        if (result != HUBKEY_E_TIMEOUT || left <= 0)
            return result == 0;
    }
}

struct outcome {
    uint64_t delivered, waiting, dead, dropped, removed; /* dropped: also those that expired or were lost */
    char why[320];                                       /* what holds the sender up */
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

/* Names a kind of lines that will not arrive, where there are any. */
static void
print_gone(uint64_t n, const char *how, const char *path)
{
    g_autofree char *lines = lines_text(n);
    if (n > 0)
        fprintf(stderr, "hubkeyctl: %s %s; see: hubkeyctl queue status --queue %s\n", lines, how, path);
}

static void
print_outcome_json(const struct sender *sender, const struct outcome *outcome, const char *path)
{
    output_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I}", "accepted", (json_int_t)sender->accepted,
                          "delivered", (json_int_t)outcome->delivered, "waiting", (json_int_t)outcome->waiting, "dead",
                          (json_int_t)outcome->dead, "refused", (json_int_t)sender->refused, "queue",
                          output_json_text(path), "dropped", (json_int_t)outcome->dropped, "removed",
                          (json_int_t)outcome->removed));
}

static void
print_outcome(const struct sender *sender, const struct outcome *outcome, const char *path, uint32_t slot)
{
    if (sender->json)
        print_outcome_json(sender, outcome, path);
    g_autofree char *refused = lines_text(sender->refused);
    g_autofree char *delivered = lines_text(outcome->delivered);
    fflush(stdout);
    if (sender->refused > 0)
        fprintf(stderr, "hubkeyctl: %s not sent\n", refused);
    print_gone(outcome->dead, "refused by the hub for good", path);
    print_gone(outcome->dropped, "dropped undelivered", path);
    print_gone(outcome->removed, "removed from the queue undelivered", path);
    if (outcome->waiting > 0)
        print_waiting(sender, outcome, path, slot);
    else if (isatty(STDERR_FILENO))
        fprintf(stderr, "%s delivered\n", delivered);
}

/* Each number has to be looked up. */
static void
look_up(const struct sender *sender, struct outcome *outcome)
{
    uint64_t fates[SENDER_FATES];
    sender_count(sender, fates);
    outcome->waiting = fates[0];
    outcome->dead = fates[HUBKEY_GONE_DEAD];
    outcome->dropped = fates[HUBKEY_GONE_DROPPED] + fates[HUBKEY_GONE_EXPIRED] + fates[HUBKEY_GONE_LOST];
    outcome->removed = fates[HUBKEY_GONE_REMOVED];
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
    /* Not where they all went to the hub, or all wait. */
    bool some_gone = after.counts.dead + after.counts.dropped + after.counts.removed >
                     before->dead + before->dropped + before->removed;
    bool none_left = !some_gone && after.counts.delivered == before->delivered;
    if (none_left)
        outcome.waiting = sender->accepted;
    else if (some_gone || !delivered)
        look_up(sender, &outcome);
    uint64_t gone = outcome.dead + outcome.dropped + outcome.removed;
    outcome.delivered = sender->accepted - gone - outcome.waiting;
    print_outcome(sender, &outcome, path, slot);
    if (sender->fatal)
        return sender->fatal;
    if (sender->refused > 0 || gone > 0)
        return EXIT_FAILED;
    return outcome.waiting > 0 && !queue_only ? EXIT_WAITING : EXIT_DONE;
}

/* What a dry run found. */
static int
conclude_dry(const struct sender *sender, const char *path)
{
    g_autofree char *accepted = lines_text(sender->accepted);
    g_autofree char *refused = lines_text(sender->refused);
    if (sender->json)
        output_json(json_pack("{s:b, s:I, s:I, s:I, s:o}", "dry_run", 1, "accepted", (json_int_t)sender->accepted,
                              "bytes", (json_int_t)sender->bytes, "refused", (json_int_t)sender->refused, "queue",
                              output_json_text(path)));
    else
        printf("%s would go into %s, %" PRIu64 " bytes as the hub counts\n", accepted, path, sender->bytes);
    fflush(stdout);
    if (sender->refused > 0)
        fprintf(stderr, "hubkeyctl: %s would not be sent\n", refused);
    return sender->fatal ? sender->fatal : sender->refused > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int
send_lines(struct sender *sender, const char *path, uint32_t slot, uint32_t seconds)
{
    struct hubkey_stats before = { .size = sizeof before };
    hubkey_client_stats(sender->client, &before);
    sender->progress = sender->json ? NULL : progress_new();
    stop_catch();
    pass_lines(sender);
    bool delivered = sender->accepted == 0 || (!queue_only && await_delivery(sender, seconds));
    stop_release();
    progress_free(sender->progress);
    sender->progress = NULL;
    hubkey_client_dispatch(sender->client); /* a damaged queue, above all */
    return conclude(sender, &before.counts, delivered, path, slot);
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

static bool
read_bounds(const struct context *context, struct hubkey_options *options)
{
    bool known = !policy_text;
    for (uint32_t i = 0; policy_text && i < G_N_ELEMENTS(policies); i++)
        if (strcmp(policy_text, policies[i]) == 0) {
            options->policy = i;
            known = true;
        }
    if (!known) {
        command_usage(context, "--policy must be refuse, block or drop-oldest, not \"%s\"", policy_text);
        return false;
    }
    options->max_bytes = MAX_BYTES;
    if (max_bytes_text && !g_ascii_string_to_unsigned(max_bytes_text, 10, 1, INT64_MAX, &options->max_bytes, NULL)) {
        command_usage(context, "--max-bytes must be a whole number from 1 up, not \"%s\"", max_bytes_text);
        return false;
    }
    return true;
}

static void
set_up(struct sender *sender, const struct context *context, const struct hubkey_options *options)
{
    sender_init(sender, NULL);
    sender->ack = ack;
    sender->json = context->json;
    sender->block = options->policy == HUBKEY_POLICY_BLOCK;
    sender->max_bytes = options->max_bytes;
    sender->form.content_type = content_type;
    sender->form.content_encoding = encoding;
}

/* With the sender's form complete and the queue's path known. */
static int
run_sender(struct sender *sender, const struct hubkey_options *options, uint32_t seconds)
{
    struct hubkey_error error = { 0 };
    if (dry_run) {
        pass_lines(sender);
        return conclude_dry(sender, options->queue_path);
    }
    int result = hubkey_client_open(options, &sender->client, &error);
    if (result != 0)
        return command_failed(command_client_code(result), "%s", error.text);
    hubkey_client_set_callbacks(sender->client, NULL, NULL, command_log, NULL);
    int code = send_lines(sender, options->queue_path, options->slot, seconds);
    hubkey_client_close(sender->client, 0);
    return code;
}

static int
run(const struct context *context, char **arguments, int n)
{
    uint32_t seconds = 10;
    size_t n_given = 0;
    struct hubkey_error error = { 0 };
    struct hubkey_options options = { .size = sizeof options, .socket_path = context->socket };
    struct sender sender;
    if (!command_slot(context, arguments[0], &options.slot) ||
        !command_number(context, "--wait", wait_text, WAIT_MAX_S, &seconds) || !read_bounds(context, &options))
        return EXIT_USAGE;
    g_autofree struct hubkey_property *given = split_properties(context, &n_given);
    if (!given)
        return EXIT_USAGE;
    g_autofree char *path = queue_file ? g_strdup(queue_file) : usual_queue(options.slot, &error);
    if (!path)
        return command_failed(command_client_code(error.code), "%s", error.text);
    options.queue_path = path;
    options.flags = queue_only ? HUBKEY_FLAG_QUEUE_ONLY : 0;
    set_up(&sender, context, &options);
    sender.form.properties = given;
    sender.form.n_properties = (uint32_t)n_given;
    /* What all lines have in common is wrong at once, not with the first line. */
    int result = hubkey_message_check(&sender.form, NULL, &error);
    int code = result == 0 ? run_sender(&sender, &options, seconds) : command_usage(context, "%s", error.text);
    sender_clear(&sender);
    return code;
}

const struct command command_send = {
    .name = "send",
    .arguments = "N [OPTION...] <LINES",
    .summary = "send each line of stdin to the hub, as the device of slot N",
    .details =
        "A line is accepted once it is in the queue on disk, from where it reaches the hub even if this program\n"
        "ends; --ack prints its number and id then. Lines that are longer than a message may be are reported by\n"
        "number and left out. On a terminal it shows how far it is. SIGINT and SIGTERM end the reading; whole lines\n"
        "that were read are accepted. Exits with 0 when all were delivered, 5 when some still wait in the queue, 1\n"
        "when a line or a message was refused.",
    .entries = entries,
    .n_min = 1,
    .n_max = 1,
    .run = run,
};
