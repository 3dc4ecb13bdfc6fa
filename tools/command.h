/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What every command of hubkeyctl has: a row that says how it is called, and a function that does it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* hubkeyctl(1), EXIT STATUS. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_DENIED = 3,
    EXIT_TPM = 4,
    EXIT_WAITING = 5, /* hubkeyd or the hub is out of reach, or lines are still queued */
    EXIT_HELD = 6,
};

/* The options that stand before or after any command. */
struct context {
    bool json;
    const char *socket; /* --socket, NULL where not given */
    const struct command *command;
};

struct command {
    const char *name;      /* one word or two: "token", "queue flush" */
    const char *arguments; /* "N [--scope S]" */
    const char *summary;   /* one line */
    const char *details;   /* for --help; NULL for none */
    const GOptionEntry *entries;
    int n_min, n_max; /* how many positional arguments */
    int (*run)(const struct context *context, char **arguments, int n);
};

extern const struct command command_status, command_list, command_show, command_provision, command_adopt,
    command_rotate, command_clear, command_token, command_why, command_reload, command_send, command_audit,
    command_doctor, command_queue_status, command_queue_list, command_queue_peek, command_queue_flush,
    command_queue_pump, command_queue_drop, command_queue_export, command_queue_import, command_queue_requeue,
    command_queue_rebind, command_queue_check;

/* Prints "hubkeyctl: ..." with a hint at --help; returns EXIT_USAGE. */
int command_usage(const struct context *context, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Prints "hubkeyctl: ..." and returns code. */
int command_failed(int code, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Prints error (of common/error.h's domain) and returns the exit code that belongs to it. Frees it. */
int command_error(GError *error);

/* The exit code for a HUBKEY_E_* number. */
int command_client_code(int number);

/* hubkey_log_fn: prints what needs a human. */
void command_log(int32_t level, const char *text, void *user);

struct hubkey_stats;
/* What the sender does now, and what holds it up: "offline: no connection to the hub". */
void command_sender_state(const struct hubkey_stats *stats, char *text, size_t size);

/* The same of a state and its explanation. */
void command_state_text(int32_t number, const char *why, char *text, size_t size);

/* Reads a message's number; false, and the complaint printed, otherwise. */
bool command_seq(const struct context *context, const char *text, uint64_t *seq);

/* Reads a slot number, 0 to 65535; false, and the complaint printed, otherwise. */
bool command_slot(const struct context *context, const char *text, uint32_t *slot);

/* Reads a number of seconds (or whatever what names) up to max; NULL text leaves *value. */
bool command_number(const struct context *context, const char *what, const char *text, uint32_t max, uint32_t *value);

/* Asks question on the terminal. EXIT_DONE for yes; EXIT_FAILED for anything else. */
int command_ask(const char *question);
bool command_has_terminal(void);
