/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/doctor.h"
#include "common/text.h"
#include "tools/command.h"
#include "tools/output.h"
#include "dbus/loop.h"

#include <stdarg.h>
#include <stdio.h>

static gboolean want_network;

static const GOptionEntry entries[] = {
    { "network", 0, 0, G_OPTION_ARG_NONE, &want_network, "also reach the hubs, and compare clocks with theirs", NULL },
    { NULL },
};

void
doctor_say(struct doctor *doctor, enum doctor_level level, const char *check, const char *mend, const char *format, ...)
{
    static const char *const names[] = { "ok", "warning", "bad" };
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *said = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_autofree char *text = g_utf8_make_valid(said, -1);
    doctor->bad += level == DOCTOR_BAD;
    doctor->warnings += level == DOCTOR_WARNING;
    if (doctor->json) {
        output_json(
            json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "level", names[level], "text", text, "mend", mend));
        return;
    }
    g_autofree char *shown = text_printable(text);
    printf("%-8s %-8s %s\n", names[level], check, shown);
    if (mend)
        printf("%-17s mend: %s\n", "", mend);
}

char **
doctor_run(const char *const *argv, bool *good)
{
    g_autofree char *out = NULL;
    g_autofree char *err = NULL;
    int status = 0;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, NULL))
        return NULL;
    g_autofree char *both = g_strconcat(out, err, NULL);
    *good = g_spawn_check_wait_status(status, NULL);
    return g_strsplit(both, "\n", -1);
}

static int
run(const struct context *context, char **arguments, int n)
{
    struct doctor doctor = { .json = context->json };
    doctor_config(&doctor);
    doctor_people(&doctor);
    doctor_bus(&doctor, context->socket);
    if (doctor.bus) {
        doctor_tpm(&doctor);
        doctor_slots(&doctor);
    }
    doctor_clock(&doctor);
    if (want_network && doctor.bus)
        doctor_network(&doctor);
    loop_close(doctor.bus);
    if (!context->json)
        printf("%u to mend, %u warning%s\n", doctor.bad, doctor.warnings, doctor.warnings == 1 ? "" : "s");
    return doctor.bad > 0 ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_doctor = {
    .name = "doctor",
    .arguments = "[--network]",
    .summary = "look for what is wrong, and say what mends it",
    .details = "Exit status 1 means that something must be mended. Sees less where it is not root, and says what.",
    .entries = entries,
    .run = run,
};
