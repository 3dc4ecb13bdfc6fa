/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * queue pump: sends what other processes put into a queue, for as long as it runs.
 */
#include <config.h>

#include "common/clock.h"
#include "tools/output.h"
#include "tools/stop.h"
#include "tools/target.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#define LAST_WAIT_MS 5000 /* for what is being sent when it is to end */

static const GOptionEntry entries[] = { TARGET_ENTRY, { NULL } };

static void
print_json(int32_t state, int32_t reason, const char *text, json_t *more)
{
    json_t *line = json_pack("{s:I, s:s, s:s, s:o}", "time", (json_int_t)(clock_wall_us() / 1000), "state",
                             hubkey_state_name(state), "reason", hubkey_reason_name(reason), "text",
                             output_json_text(text));
    if (more)
        output_json_add(line, more);
    output_json(line);
}

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    const struct context *context = user;
    char line[320];
    command_state_text(state, text, line, sizeof line);
    if (context->json)
        print_json(state, reason, text, NULL);
    else
        puts(line);
    fflush(stdout); /* a service's stdout is a pipe or a socket */
}

/* What needs a human, or soon may; the states are told already. */
static void
on_log(int32_t level, const char *text, void *user)
{
    if (level <= HUBKEY_LOG_WARNING)
        command_failed(EXIT_FAILED, "%s", text);
}

static void
serve(hubkey_client *client)
{
    struct pollfd waiting[] = { { .fd = hubkey_client_fd(client), .events = POLLIN },
                                { .fd = stop_fd(), .events = POLLIN } };
    while (!stop_asked() && !ferror(stdout)) {
        (void)poll(waiting, G_N_ELEMENTS(waiting), -1);
        (void)hubkey_client_dispatch(client);
    }
}

/* While the hub takes messages, what is there still goes. */
static void
end(const struct context *context, hubkey_client *client)
{
    struct hubkey_stats stats = { .size = sizeof stats };
    hubkey_client_stats(client, &stats);
    if (stats.state == HUBKEY_STATE_ONLINE)
        (void)hubkey_client_flush(client, LAST_WAIT_MS, NULL);
    (void)hubkey_client_dispatch(client);
    hubkey_client_stats(client, &stats);
    hubkey_client_close(client, 0);
    if (context->json)
        print_json(HUBKEY_STATE_STOPPED, HUBKEY_REASON_NONE, "",
                   json_pack("{s:I}", "waiting", (json_int_t)stats.counts.waiting));
    else
        printf("stopped; %" PRIu64 " messages wait\n", stats.counts.waiting);
}

static int
run(const struct context *context, char **arguments, int n)
{
    struct hubkey_error error = { 0 };
    hubkey_client *client = NULL;
    g_auto(target_auto) target = { 0 };
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
        .flags = HUBKEY_FLAG_MUST_SEND,
    };
    stop_catch();
    int result = hubkey_client_open(&options, &client, &error);
    if (result != 0)
        return target_failed(result, &error);
    (void)hubkey_client_set_callbacks(client, on_state, NULL, on_log, (void *)context);
    serve(client);
    end(context, client);
    stop_release();
    return EXIT_DONE;
}

const struct command command_queue_pump = {
    .name = "queue pump",
    .arguments = "[N | --queue FILE]",
    .summary = "send what other processes put into the queue, until a signal",
    .details = "For a service, beside any number of hubkeyctl send --queue-only and programs that only post. Prints\n"
               "each change of state on a line. SIGTERM and SIGINT end it with 0, at most 5 seconds later. Exits with\n"
               "6 when another process sends from the queue already. With --queue alone the slot is looked up by whom\n"
               "the queue is for; N and --queue may stand together.",
    .entries = entries,
    .n_max = 1,
    .run = run,
};
