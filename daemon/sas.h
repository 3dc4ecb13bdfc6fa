/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shared access signatures, as pure text: what a caller may narrow a token to, what is signed, what the token says.
 * Rules: Azure IoT Hub, "Control access with SAS tokens"; signed is the resource as it stands in the token, a line
 * feed, and the expiry in decimal.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define SAS_SCOPE_MAX 256
#define SAS_SCOPE_SEGMENT_MAX 128
#define SAS_TOKEN_ID_DIGITS 16

/* "" or segments of A-Z a-z 0-9 - . _ ~ ! $ ' ( ) * + , = : @ joined by one '/', none of them "." or "..". Nothing is
 * normalised; anything else is InvalidArgument. */
bool sas_check_scope(const char *scope, GError **error);

/* Whether scope is prefix or lies below it, by whole segments. "/" is the whole identity and covers all. */
bool sas_scope_within(const char *scope, const char *prefix);

/* What is signed: "sr\nse". resource is percent-encoded already. g_free. */
char *sas_string_to_sign(const char *resource, const char *scope, uint64_t expires);

/* The whole token for what was signed. key_name NULL or the policy's name. g_free. */
char *sas_token(const char *string_to_sign, const uint8_t mac[32], const char *key_name);

/* The first 16 hex digits of the token's SHA-256, which names it in logs without giving it away. */
void sas_token_id(const char *token, char id[SAS_TOKEN_ID_DIGITS + 1]);

/* The expiry of a token asked for at now: now + ttl rounded up to a multiple of granularity, never beyond
 * now + max_ttl. All in seconds. */
uint64_t sas_expiry(int64_t now, uint32_t ttl, uint32_t granularity, uint32_t max_ttl);
