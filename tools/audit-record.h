/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyd's records of its decisions (hubkeyd(8), LOGGING), read from the journal's JSON or from the lines on stderr.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

enum {
    AUDIT_EVENT,
    AUDIT_DECISION,
    AUDIT_SLOT,
    AUDIT_UID,
    AUDIT_CALLER,
    AUDIT_SCOPE,
    AUDIT_TTL,
    AUDIT_RULE,
    AUDIT_ERROR,
    AUDIT_TOKEN_ID,
    AUDIT_GENERATION,
    AUDIT_TRACKING_ID,
    AUDIT_COUNT,
    AUDIT_FIELDS
};

struct audit_entry {
    int64_t time_ms; /* -1 where the source does not tell */
    char *fields[AUDIT_FIELDS]; /* NULL where the record has none */
};

/* The record in one line of either kind; false where it holds none. */
bool audit_entry_read(const char *line, size_t len, struct audit_entry *entry);
void audit_entry_clear(struct audit_entry *entry);

/* With names in snake_case; numbers as numbers. */
json_t *audit_entry_json(const struct audit_entry *entry);

/* The journal's names of the fields, separated by commas; g_free. */
char *audit_entry_journal_fields(void);
