/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The options that say whose key it is and where it comes from, for provision and rotate.
 */
#pragma once

#include "common/identity.h"
#include "common/secret.h"
#include "tools/command.h"

/* For both commands: --connection-string-file and --key-file. */
#define WHOSE_FILE_ENTRIES                                                                                             \
    { "connection-string-file", 0, 0, G_OPTION_ARG_FILENAME, &whose_options.connection_string_file,                    \
      "a device's connection string as the portal shows it; - is stdin", "FILE" },                                     \
    { "key-file", 0, 0, G_OPTION_ARG_FILENAME, &whose_options.key_file,                                                \
      "the key as the portal shows it: base64, or for an audience the text itself; - is stdin", "FILE" }

struct whose {
    char *connection_string_file, *key_file;
    char *host, *device, *module, *gateway;
    char *audience, *key_name;
};

extern struct whose whose_options;

/* Whether the options together say whose key it is; prints what is missing or too much. */
bool whose_check(const struct context *context);

/* Reads identity and key as whose_check allowed them. */
struct identity *whose_read(struct secret **key, GError **error);
