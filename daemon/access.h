/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who may have which tokens. Pure: rules and a subject in, a decision with its reason out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#define ACCESS_DEFAULT_TTL 3600
#define ACCESS_MAX_TTL 86400
#define ACCESS_TTL_CEILING (366 * 86400) /* what MaxTtl= may be set to */
#define ACCESS_RATE_MAX 1000000 /* what RequestsPerMinute= may be set to */
#define ACCESS_DEFAULT_GROUP "hubkey"

struct access_rules {
    bool named; /* AllowUsers or AllowGroups is set: exactly those, and root */
    GArray *users;   /* uid_t */
    GArray *groups;  /* gid_t */
    char **scopes;   /* prefixes; NULL: everything */
    uint32_t default_ttl, max_ttl;
    uint32_t requests_per_minute; /* of each uid; 0: as many as it likes */
};

/* Who asks, as the bus knows it. */
struct access_subject {
    uid_t uid;
    const gid_t *groups;
    size_t n_groups;
};

struct access_decision {
    bool allowed;
    const char *rule; /* which rule decided, for the log: one word; static */
};

/* May the subject have tokens of the slot at all? default_group is the gid of group hubkey, (gid_t)-1 if there is
 * none. */
struct access_decision access_check_subject(const struct access_rules *rules, gid_t default_group,
                                            const struct access_subject *subject);

/* May this scope be asked for? */
bool access_check_scope(const struct access_rules *rules, const char *scope);

/* Who was denied tokens of a slot, and what would allow it. self: it is told to the subject itself. g_free. */
char *access_explain_denial(const struct access_rules *rules, const struct access_subject *subject, uint32_t slot,
                            bool self);
/* The same of a scope that the slot does not give. */
char *access_explain_scope(const char *scope, uint32_t slot);

/* "root", "uid 1005 (alice)": the name by /etc/passwd only, so that no directory service can stall the bus. Main
 * thread. g_free. */
char *access_user_text(uid_t uid);
