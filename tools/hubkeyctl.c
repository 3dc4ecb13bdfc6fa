/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyctl: finds the command, reads its options, runs it.
 */
#include <config.h>

#include "tools/command.h"
#include "tools/suggest.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const struct command *const commands[] = {
    &command_status,       &command_list,        &command_show,         &command_provision,
    &command_adopt,        &command_rotate,      &command_clear,        &command_token,
    &command_why,          &command_reload,      &command_send,         &command_queue_status,
    &command_queue_list,   &command_queue_peek,  &command_queue_flush,  &command_queue_pump,
    &command_queue_drop,   &command_queue_export, &command_queue_import, &command_queue_requeue,
    &command_queue_rebind, &command_queue_check, &command_audit,        &command_doctor,
};

static gboolean want_json, want_help, want_version;
static char *socket_path;

static const GOptionEntry global_entries[] = {
    { "json", 0, 0, G_OPTION_ARG_NONE, &want_json, "print JSON, one object a line", NULL },
    { "socket", 0, 0, G_OPTION_ARG_FILENAME, &socket_path, "talk to hubkeyd through this socket, not the bus", "PATH" },
    { "help", 'h', 0, G_OPTION_ARG_NONE, &want_help, "show help", NULL },
    { "version", 0, 0, G_OPTION_ARG_NONE, &want_version, "show the version", NULL },
    { NULL },
};

/* ---- help ---- */

static void
print_overview(FILE *stream)
{
    fputs("Usage: hubkeyctl COMMAND [ARGUMENT...]\n\n"
          "Keys for Azure IoT Hub in this machine's TPM, and messages to the hub.\n\nCommands:\n",
          stream);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(stream, "  %-16s%s\n", commands[i]->name, commands[i]->summary);
    fputs("\nOptions, before or after the command:\n", stream);
    for (const GOptionEntry *entry = global_entries; entry->long_name; entry++) {
        g_autofree char *option = g_strdup_printf("--%s%s%s", entry->long_name, entry->arg_description ? " " : "",
                                                  entry->arg_description ? entry->arg_description : "");
        fprintf(stream, "  %-16s%s\n", option, entry->description);
    }
    fputs("\nExit status: 0 done, 1 failed, 2 usage, 3 not authorised, 4 TPM, 5 hubkeyd or the hub out of reach or "
          "lines\n"
          "still queued, 6 queue held by another process.\n\n"
          "hubkeyctl COMMAND --help tells more about a command, the manual page hubkeyctl(1) all.\n",
          stream);
}

static GOptionContext *
new_options(const struct command *command)
{
    GOptionContext *options = g_option_context_new(command ? command->arguments : "");
    g_option_context_set_help_enabled(options, FALSE);
    if (command && command->entries)
        g_option_context_add_main_entries(options, command->entries, NULL);
    g_option_context_add_main_entries(options, global_entries, NULL);
    return options;
}

/* One line an option, the command's own first. */
static void
print_options(const GOptionEntry *entries)
{
    for (; entries && entries->long_name; entries++) {
        g_autofree char *option = g_strdup_printf(
            "%s%c%s--%s%s%s", entries->short_name ? "-" : "", entries->short_name ? entries->short_name : ' ',
            entries->short_name ? ", " : "   ", entries->long_name, entries->arg_description ? " " : "",
            entries->arg_description ? entries->arg_description : "");
        printf("  %-36s%s\n", option, entries->description);
    }
}

static void
print_help(const struct command *command)
{
    printf("Usage: hubkeyctl %s%s%s\n\n", command->name, command->arguments[0] ? " " : "", command->arguments);
    printf("%c%s.\n", g_ascii_toupper(command->summary[0]), command->summary + 1);
    if (command->details)
        printf("\n%s\n", command->details);
    puts("\nOptions:");
    print_options(command->entries);
    print_options(global_entries);
}

/* ---- which command ---- */

static bool
has_value(const GOptionEntry *entries, const char *option)
{
    for (; entries && entries->long_name; entries++) {
        const char brief[] = { '-', entries->short_name, '\0' };
        if ((g_str_has_prefix(option, "--") && strcmp(option + 2, entries->long_name) == 0) ||
            (entries->short_name && strcmp(option, brief) == 0))
            return entries->arg != G_OPTION_ARG_NONE;
    }
    return false;
}

/* Whether the next word belongs to this option: it does so in every command that has it, or in none. */
static bool
takes_next(const char *option)
{
    bool takes = has_value(global_entries, option);
    for (size_t i = 0; !takes && i < G_N_ELEMENTS(commands); i++)
        takes = has_value(commands[i]->entries, option);
    return takes;
}

/* Takes the first word that is no option nor the value of one out of argv. */
static char *
take_word(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        if (argv[i][0] == '-') {
            i += takes_next(argv[i]);
        } else {
            char *word = argv[i];
            memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof *argv);
            (*argc)--;
            return word;
        }
    }
    return NULL;
}

static const struct command *
find_command(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int
unknown_command(const char *name)
{
    const char *names[G_N_ELEMENTS(commands)];
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        names[i] = commands[i]->name;
    const char *meant = suggest_word(name, names, G_N_ELEMENTS(names));
    if (meant)
        return command_usage(NULL, "there is no command \"%s\"; did you mean \"%s\"?", name, meant);
    return command_usage(NULL, "there is no command \"%s\"", name);
}

static int
missing_verb(void)
{
    g_autoptr(GString) verbs = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (g_str_has_prefix(commands[i]->name, "queue "))
            g_string_append_printf(verbs, "%s%s", verbs->len ? ", " : "", commands[i]->name + strlen("queue "));
    return command_usage(NULL, "queue needs a verb, one of %s", verbs->str);
}

/* "queue" and its verb are one name. */
static char *
take_name(int *argc, char **argv)
{
    const char *word = take_word(argc, argv);
    if (!word)
        return NULL;
    if (strcmp(word, "queue") != 0)
        return g_strdup(word);
    const char *verb = take_word(argc, argv);
    return verb ? g_strconcat("queue ", verb, NULL) : g_strdup("queue");
}

/* ---- running it ---- */

static bool
parse(const struct context *context, int *argc, char ***argv)
{
    g_autoptr(GError) error = NULL;
    GOptionContext *options = new_options(context->command);
    bool good = g_option_context_parse(options, argc, argv, &error);
    g_option_context_free(options);
    if (!good)
        command_usage(context, "%s", error->message);
    return good;
}

static int
run(struct context *context, int n, char **arguments)
{
    const struct command *command = context->command;
    if (n < command->n_min)
        return command_usage(context, "%s needs an argument", command->name);
    if (n > command->n_max)
        return command_usage(context, "%s does not take the argument \"%s\"", command->name, arguments[command->n_max]);
    context->json = want_json;
    context->socket = socket_path;
    int code = command->run(context, arguments, n);
    /* What could not be written was not done, as far as the reader is concerned. */
    if (fflush(stdout) != 0 || ferror(stdout))
        return command_failed(EXIT_FAILED, "cannot write to stdout");
    return code;
}

/* Keys and tokens pass through here; nobody gets them out of a core. */
static void
forbid_core(void)
{
    static const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
}

int
main(int argc, char **argv)
{
    struct context context = { 0 };
    forbid_core();
    setlocale(LC_CTYPE, "");
    g_autofree char *name = take_name(&argc, argv);
    bool help_command = name && strcmp(name, "help") == 0;
    if (help_command) {
        g_free(name);
        name = take_name(&argc, argv);
    }
    context.command = name ? find_command(name) : NULL;
    if (name && !context.command)
        return strcmp(name, "queue") == 0 ? missing_verb() : unknown_command(name);
    if (!parse(&context, &argc, &argv))
        return EXIT_USAGE;
    if (want_version) {
        puts("hubkeyctl " VERSION);
        return EXIT_DONE;
    }
    if (context.command && (want_help || help_command))
        print_help(context.command);
    else if (want_help || help_command)
        print_overview(stdout);
    else if (context.command)
        return run(&context, argc - 1, argv + 1);
    else
        return command_usage(NULL, "say what to do");
    return EXIT_DONE;
}
