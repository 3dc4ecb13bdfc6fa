/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The life of hubkeyd: each part in order, the loop, and all of it back again.
 */
#pragma once

struct config;

/* As the command line says it; borrowed. */
struct serve_places {
    char *config_file;
    char *state_dir;
    char *runtime_dir;
};

/* Serves until it is told to end, or cannot go on; gives the exit code. Takes config. */
int serve(const struct serve_places *places, struct config *config);
