/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The request target: which resource of which device, by which version of the protocol.
 */
#pragma once

#include <stdbool.h>

struct target {
    char *raw;         /* the path as it came, without the query */
    char *path;        /* decoded; NULL when an escape is broken */
    char *device;      /* decoded; NULL when the path names none */
    char *module;      /* likewise */
    char *api_version; /* as it came; NULL when absent */
    bool events;       /* the path is a messages/events one */
    bool repeated;     /* api-version stands more than once */
};

void target_parse(const char *uri, struct target *target);
void target_clear(struct target *target);
