/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who a key speaks for: a device or module of a hub, or a bare audience (Event Hubs, Service Bus). Identities are not
 * secret. The rules of what may stand in one come from IoT Hub's own (identity registry: device ID, module ID).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#define IDENTITY_ID_MAX 128       /* bytes of a device or module ID */
#define IDENTITY_HOST_MAX 253     /* bytes of a host name, RFC 1035 */
#define IDENTITY_AUDIENCE_MAX 512 /* bytes of an audience, unencoded */
#define IDENTITY_KEY_NAME_MAX 256 /* bytes of a policy name */

/* Absent parts are NULL. Either host and device (with module and gateway if any), or audience and key_name. */
struct identity {
    char *host; /* lower case */
    char *device;
    char *module;
    char *gateway;
    char *audience;
    char *key_name;
};

struct identity *identity_new(void);
struct identity *identity_copy(const struct identity *identity);
void identity_free(struct identity *identity); /* NULL is fine */
bool identity_equal(const struct identity *a, const struct identity *b);

/* Checks every part against its rule, and that the parts belong together; lower-cases host and gateway. */
bool identity_check(struct identity *identity, GError **error);

/* Whether text has a part of a connection string or a token in it that a secret stands in or next to: SharedAccessKey=,
 * SharedAccessKeyName= or SharedAccessSignature, in any case. A policy called RootManageSharedAccessKey is none. */
bool identity_has_secret(const char *text, size_t len);

/* The resource that a token of this identity opens, not percent-encoded: host/devices/ID[/modules/ID], or the
 * audience. Caller frees. */
char *identity_resource(const struct identity *identity);

/* Takes apart "HostName=H;DeviceId=D[;ModuleId=M][;GatewayHostName=G];SharedAccessKey=K" or, with
 * SharedAccessSignature= in place of the key, what hubkeyd's GetConnectionString returns. White space around the whole
 * is ignored, part names are matched without case, unknown parts are refused. On success *secret points into text at
 * the value of SharedAccessKey or SharedAccessSignature, *secret_len bytes of it. Error texts never contain a value. */
struct identity *identity_parse_connection_string(const char *text, size_t len, const char **secret,
                                                  size_t *secret_len, GError **error);

typedef struct identity identity_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(identity_auto, identity_free)
