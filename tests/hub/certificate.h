/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The hub's own CA and its server certificate, made once and kept in the state directory.
 */
#pragma once

#include <glib.h>

struct certificate {
    char *ca_file; /* what clients must trust */
    char *chain;   /* PEM text of the server certificate */
    char *key;     /* PEM text of its key */
};

/* Reads ca.pem, ca-key.pem, server.pem and server-key.pem in dir; makes those that are missing, and a new server
 * certificate when it is not for host. */
gboolean certificate_load(struct certificate *certificate, const char *dir, const char *host, GError **error);
void certificate_clear(struct certificate *certificate);
