/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the hub thinks of a request: 204, or a status, the hub's name for the error, and the reason in words.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

struct verdict {
    unsigned status;
    const char *code; /* NULL with 204; static or owned by whoever outlives the verdict */
    char reason[200];
};

#define VERDICT_ACCEPTED ((struct verdict){ .status = 204 })

/* Always false, so that a check can end with it. code must be in the table. */
bool verdict_refuse(struct verdict *v, const char *code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The six-digit number of an error name (or of its digits); the status followed by 000 for names outside the table. */
unsigned verdict_number(const char *code, unsigned status);
const char *verdict_default_code(unsigned status); /* the usual name for a status, or NULL */
