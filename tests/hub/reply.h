/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Answers as the hub words them.
 */
#pragma once

#include <stdint.h>

#include "tests/hub/fault.h"
#include "tests/hub/verdict.h"

struct MHD_Response;

struct reply {
    struct verdict verdict;
    enum fault_shape shape;
    const char *retry_after; /* may be NULL */
    const char *location;    /* may be NULL */
    int64_t date_offset_s;
};

struct MHD_Response *reply_response(const struct reply *reply);

/* The beginning of the same answer as text, cut inside its header. Caller frees. */
char *reply_cut_text(const struct reply *reply);
