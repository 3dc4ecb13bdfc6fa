/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which queue a `queue` command is about: the usual one of slot N, or FILE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/hubkey.h"
#include "tools/command.h"

struct target {
    char *path;
    bool has_slot;
    uint32_t slot;
};

/* What --queue says, for the table of options. */
extern char *target_file;

#define TARGET_ENTRY                                                                                                   \
    {                                                                                                                  \
        "queue", 0, 0, G_OPTION_ARG_FILENAME, &target_file, "the queue's file, where it is not slot N's usual one",    \
            "FILE"                                                                                                     \
    }

/* Of a command whose one argument is N. EXIT_DONE, or an exit code after a complaint. */
int target_find(const struct context *context, char **arguments, int n, struct target *target);

/* Of a command with further arguments: with --queue all are those, else N comes first. *used: how many were N. */
int target_find_first(const struct context *context, char **arguments, int n, struct target *target, int *used);

/* Finds the slot by whom the queue is for, where N was not given. */
int target_find_slot(const struct context *context, struct target *target);

void target_clear(struct target *target);
typedef struct target target_auto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(target_auto, target_clear)

/* Before messages are changed: carries over what a damaged file still holds, and says so. What keeps it from that keeps
 * the change as well, which tells it. */
void target_salvage(const struct target *target);

/* Prints why a function of libhubkey failed; the exit code for it. */
int target_failed(int result, const struct hubkey_error *error);
