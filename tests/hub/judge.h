/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Everything about a request that can be judged before its body.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "tests/hub/request.h"
#include "tests/hub/target.h"
#include "tests/hub/verdict.h"

struct judge {
    const char *host;
    unsigned port;
    GHashTable *devices;
    int64_t now_s; /* the hub's clock */
};

/* Fills token_id, sr_raw and token_expiry of request as far as the token can be read. */
bool judge_head(const struct judge *judge, const struct target *target, const char *method, const char *server_name,
                const GArray *headers, struct request *request, struct verdict *v);
