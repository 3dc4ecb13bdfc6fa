/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * AllowedHosts=: the hubs that a key which already stands in the TPM may be adopted for. What somebody else has put
 * there must not make hubkeyd speak for a host of their choice.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#define HOSTS_DEFAULT "*.azure-devices.net;*.azure-devices.cn;*.azure-devices.us"

/* A list of host names separated by ';', where '*' stands for any run of characters within one label. NULL with error
 * (InvalidArgument) set where an entry could be no host name, or where there is none. Lower case. g_strfreev. */
char **hosts_parse(const char *list, GError **error);

/* host: in lower case, as identity_check leaves it. */
bool hosts_match(char *const *patterns, const char *host);
