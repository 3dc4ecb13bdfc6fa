/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyd.conf and its drop-ins as a plain struct. Strict: what is unknown, stands twice in one file or is out of range
 * is refused with file and line, because a key that was silently ignored is a door left open.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "daemon/access.h"

#define CONFIG_DEFAULT_FILE "/etc/hubkey/hubkeyd.conf"
#define CONFIG_DEFAULT_TCTI "device:/dev/tpmrm0"
#define CONFIG_FILE_MAX (1 << 20)    /* bytes of one file */
#define CONFIG_FILES_MAX 256         /* drop-ins read */
#define CONFIG_GRANULARITY_MAX 3600  /* seconds */
#define CONFIG_ADOPTED_SLOTS 10      /* slots that can be found in the TPM: 0 to 9 */

struct identity;

struct config {
    char *tcti;
    char *owner_auth_file; /* NULL: the owner has no password */
    char *metrics_file;    /* NULL: none is written */
    char **allowed_hosts;  /* see hosts.h */
    bool protect_bus; /* signatures too, not only what carries a key */
    uint32_t token_granularity;
    bool admin_on_socket; /* root may administer at the private socket */
    gid_t default_group; /* gid of group hubkey, (gid_t)-1 where there is none */
    struct access_rules defaults;
    GHashTable *users, *groups; /* sets of all uid_t and gid_t that some slot's rules let in, see config_allows_some */
    GHashTable *slots; /* slot number -> struct access_rules, for the slots that have a group of their own */
    GHashTable *adoptions; /* slot number -> struct identity, see config_adoption */
};

/* Reads file (which may be missing if it is the default one) and the *.conf files of file.d in byte order of their
 * names. On failure NULL, and complaints has a line "FILE:LINE: …" for each thing that is wrong. */
struct config *config_load(const char *file, GPtrArray *complaints);
void config_free(struct config *config);

typedef struct config config_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config_auto, config_free)

/* The rules that hold for a slot. Borrowed. */
const struct access_rules *config_rules(const struct config *config, uint32_t slot);

/* Whether there may be a slot whose rules let subject in. Quick, however many rules there are. */
bool config_allows_some(const struct config *config, const struct access_subject *subject);

/* Whether a key that stands in the TPM may be adopted for this host (AllowedHosts=), which is in lower case. */
bool config_host_allowed(const struct config *config, const char *host);

/* The host and device for which the key found in a slot is to be adopted without hands (HostName= and DeviceId= of
 * [slot N]), checked, and of an allowed host; NULL: none. Only slots below CONFIG_ADOPTED_SLOTS have one. Borrowed. */
const struct identity *config_adoption(const struct config *config, uint32_t slot);
