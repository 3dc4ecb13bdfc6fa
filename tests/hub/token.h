/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * SAS tokens as a hub verifies them: over the text of sr as it stands, decoded only to compare what it names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/hub/verdict.h"

#define TOKEN_GRACE_S 300 /* how long after se the hub still accepts */

struct token {
    char *sr_raw;
    char *se_raw;
    uint8_t signature[32];
    int64_t expiry;
    bool has_policy; /* skn present and not empty */
    char id[17];     /* first 16 hex digits of the SHA-256 of the whole header value */
};

/* From the value of an Authorization header. False: the reason is in v; id and sr_raw may be set all the same. */
bool token_parse(const char *authorization, struct token *token, struct verdict *v);
void token_clear(struct token *token);

/* Whether sr lies within identity (host/devices/D…) and is a segment prefix of resource (host/path), and
 * names this host. identity and resource are decoded text, compared without case. */
bool token_covers(const struct token *token, const char *host, const char *identity, const char *resource,
                  struct verdict *v);

bool token_is_signed_by(const struct token *token, const uint8_t *key, size_t key_len);
