/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the parts of config share: config-read.c takes files apart, config-keys.c knows the keys and their values,
 * config.c makes of them what holds.
 */
#pragma once

#include "daemon/config.h"

/* Rules as the files give them: a key that no file sets is taken from [slots], then from the defaults. */
struct config_given {
    bool users_set, groups_set, scopes_set, default_ttl_set, max_ttl_set, rate_set;
    GArray *users, *groups;
    char **scopes;
    uint32_t default_ttl, max_ttl, rate;
    char *ttl_at;        /* "FILE:LINE" of the later of DefaultTtl and MaxTtl */
    char *host, *device; /* what stands in the TPM and may be adopted; [slot N] only */
    char *identity_at;   /* "FILE:LINE" of the later of HostName and DeviceId */
};

/* Where a value stands, for complaints. */
struct config_place {
    const char *file;
    unsigned line;
};

/* The group that a key stands in; 0: an unknown one, whose keys are passed over. [slot N] is both IN_SLOTS and
 * IN_SLOT. */
enum { CONFIG_IN_HUBKEYD = 1, CONFIG_IN_SLOTS = 2, CONFIG_IN_SLOT = 4 };

struct config_loading {
    struct config *config;
    struct config_given all;
    GHashTable *slots; /* number -> struct config_given */
    GPtrArray *complaints;
    const struct config_place *place; /* of the value that is being set */
};

/* config-read.c: the file and its drop-ins. */
void config_read(struct config_loading *loading, const char *file);
G_GNUC_PRINTF(3, 4)
void config_complain(struct config_loading *loading, const struct config_place *place, const char *format, ...);

/* config-keys.c: sets one key of a group (CONFIG_IN_* or-ed; name is for complaints). */
void config_set_key(struct config_loading *loading, const struct config_place *place, int where, const char *group,
                    struct config_given *given, const char *key, const char *value);
