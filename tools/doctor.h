/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyctl doctor: groups of checks, each leaving findings. A finding that wants mending says with which command.
 */
#pragma once

#include <stdbool.h>

#include <dbus/dbus.h>
#include <glib.h>

enum doctor_level {
    DOCTOR_OK,
    DOCTOR_WARNING, /* works, but somebody should know; also what could not be looked at */
    DOCTOR_BAD,     /* must be mended */
};

struct doctor {
    bool json;
    DBusConnection *bus; /* NULL where hubkeyd cannot be reached */
    unsigned bad, warnings;
};

/* mend: a command, NULL only where there is nothing to do. */
void doctor_say(struct doctor *doctor, enum doctor_level level, const char *check, const char *mend, const char *format,
                ...) G_GNUC_PRINTF(5, 6);

/* Runs a program of the system: its output by lines (of stdout and stderr), and whether it exited with 0. NULL where it
 * is not installed. g_strfreev. */
char **doctor_run(const char *const *argv, bool *good);

void doctor_config(struct doctor *doctor);
void doctor_people(struct doctor *doctor);
void doctor_bus(struct doctor *doctor, const char *socket); /* fills in bus */
void doctor_tpm(struct doctor *doctor);
void doctor_slots(struct doctor *doctor);
void doctor_clock(struct doctor *doctor);
void doctor_network(struct doctor *doctor);
