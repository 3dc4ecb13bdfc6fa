/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * token: a SAS token on stdout, for scripts.
 */
#include <config.h>

#include "client/hubkey.h"
#include "tools/command.h"
#include "tools/output.h"

#include <stdio.h>
#include <string.h>

static char *scope, *ttl;

static const GOptionEntry entries[] = {
    { "scope", 0, 0, G_OPTION_ARG_STRING, &scope, "narrow the token to this path below the device", "SCOPE" },
    { "ttl", 0, 0, G_OPTION_ARG_STRING, &ttl, "seconds of life; the slot's default where not given", "SECONDS" },
    { NULL },
};

static int
run(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0, seconds = 0;
    struct hubkey_error error = { 0 };
    char *token = NULL;
    int64_t expires = 0;
    if (!command_slot(context, arguments[0], &slot) || !command_number(context, "--ttl", ttl, UINT32_MAX, &seconds))
        return EXIT_USAGE;
    int result = hubkey_token(slot, scope, seconds, context->socket, &token, &expires, &error);
    if (result != 0)
        return command_failed(command_client_code(result), "%s", error.text);
    if (context->json)
        output_json(json_pack("{s:s, s:I}", "token", token, "expires", (json_int_t)expires));
    else
        puts(token);
    hubkey_free(token);
    return EXIT_DONE;
}

const struct command command_token = {
    .name = "token",
    .arguments = "N [--scope SCOPE] [--ttl SECONDS]",
    .summary = "print a SAS token of slot N",
    .details = "Prints the whole value of an Authorization header and a newline, nothing else. Keep it out of command\n"
               "lines; curl for instance takes a header on stdin with --config -.",
    .entries = entries,
    .n_min = 1,
    .n_max = 1,
    .run = run,
};
