/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/command.h"
#include "client/hubkey.h"
#include "common/error.h"
#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
command_usage(const struct context *context, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("hubkeyctl: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    if (context && context->command)
        fprintf(stderr, "\nUsage: hubkeyctl %s %s\nSee: hubkeyctl %s --help\n", context->command->name,
                context->command->arguments, context->command->name);
    else
        fputs("\nSee: hubkeyctl --help\n", stderr);
    return EXIT_USAGE;
}

int
command_failed(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *shown = text_printable(text); /* much of it comes from elsewhere */
    fprintf(stderr, "hubkeyctl: %s\n", shown);
    return code;
}

static int
code_of_error(int code)
{
    switch (code) {
    case ERROR_NOT_AUTHORIZED:
        return EXIT_DENIED;
    case ERROR_TPM_ABSENT:
    case ERROR_TPM_FAILED:
        return EXIT_TPM;
    case ERROR_UNREACHABLE:
        return EXIT_WAITING;
    default:
        return EXIT_FAILED;
    }
}

int
command_error(GError *error)
{
    int code = error->domain == ERROR_DOMAIN ? code_of_error(error->code) : EXIT_FAILED;
    command_failed(code, "%s", error->message);
    g_error_free(error);
    return code;
}

int
command_client_code(int number)
{
    switch (number) {
    case 0:
        return EXIT_DONE;
    case HUBKEY_E_INVALID:
        return EXIT_USAGE;
    case HUBKEY_E_NOT_AUTHORIZED:
        return EXIT_DENIED;
    case HUBKEY_E_TPM_ABSENT:
    case HUBKEY_E_TPM_FAILED:
        return EXIT_TPM;
    case HUBKEY_E_UNREACHABLE:
    case HUBKEY_E_TIMEOUT:
        return EXIT_WAITING;
    case HUBKEY_E_QUEUE_HELD:
        return EXIT_HELD;
    default:
        return EXIT_FAILED;
    }
}

void
command_log(int32_t level, const char *text, void *user)
{
    if (level <= HUBKEY_LOG_ERROR)
        command_failed(EXIT_FAILED, "%s", text);
}

void
command_state_text(int32_t number, const char *why, char *text, size_t size)
{
    const char *state = hubkey_state_name(number);
    /* The text may begin with the state itself. */
    bool told = g_str_has_prefix(why, state);
    g_snprintf(text, size, "%s%s%s", told ? "" : state, told || !why[0] ? "" : ": ", why);
}

void
command_sender_state(const struct hubkey_stats *stats, char *text, size_t size)
{
    command_state_text(stats->state, stats->text, text, size);
}

bool
command_number(const struct context *context, const char *what, const char *text, uint32_t max, uint32_t *value)
{
    if (!text || text_parse_u32(text, max, value))
        return true;
    command_usage(context, "%s must be a whole number from 0 to %u, not \"%s\"", what, max, text);
    return false;
}

bool
command_seq(const struct context *context, const char *text, uint64_t *seq)
{
    if (g_ascii_string_to_unsigned(text, 10, 1, INT64_MAX, seq, NULL))
        return true;
    command_usage(context, "a message's number must be a whole number from 1 up, not \"%s\"", text);
    return false;
}

bool
command_slot(const struct context *context, const char *text, uint32_t *slot)
{
    return command_number(context, "the slot", text, 65535, slot);
}

bool
command_has_terminal(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

int
command_ask(const char *question)
{
    char answer[16] = "";
    fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof answer, stdin) &&
        (g_ascii_strcasecmp(g_strstrip(answer), "y") == 0 || g_ascii_strcasecmp(answer, "yes") == 0))
        return EXIT_DONE;
    return command_failed(EXIT_FAILED, "nothing was changed");
}
