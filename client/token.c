/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/token.h"
#include "common/clock.h"

#include <string.h>

#define US INT64_C(1000000)
#define MARGIN_US US /* not used in its last second, or tenth of its life where that is shorter */

void
token_drop(struct token *token)
{
    if (token->text)
        explicit_bzero(token->text, strlen(token->text));
    g_clear_pointer(&token->text, g_free);
}

/* From now on. Not in whole seconds: of a short life they would be a large part. */
static int64_t
life_until(int64_t expires_s)
{
    int64_t wall_us = clock_wall_us(), seconds = CLAMP(expires_s - wall_us / US, 0, TOKEN_LIFE_MAX_S);
    return MAX(seconds * US - wall_us % US, 0);
}

void
token_set(struct token *token, const char *text, int64_t expires_s, int64_t slow_s, uint64_t generation, uint32_t ttl_s,
          uint32_t random)
{
    expires_s -= slow_s;
    int64_t now = clock_boot_us(), life_us = life_until(expires_s);
    token_drop(token);
    /* Renewed after 75 to 85 percent of its life, so that the margin never comes first. */
    int64_t renew_us = life_us / 100 * 75 + (int64_t)((double)random / 4294967296.0 * (double)(life_us / 10));
    *token = (struct token){
        .text = g_strdup(text),
        .expires_s = expires_s,
        .end_boot_us = now + life_us - MIN(MARGIN_US, life_us / 10),
        .renew_boot_us = now + renew_us,
        .generation = generation,
        .ttl_s = ttl_s,
    };
}

bool
token_usable(const struct token *token)
{
    return token->text && clock_boot_us() < token->end_boot_us && clock_wall_s() < token->expires_s;
}

bool
token_due(const struct token *token)
{
    return !token_usable(token) || clock_boot_us() >= token->renew_boot_us;
}

uint32_t
token_other_ttl(uint32_t ttl_s, uint32_t max_ttl_s, unsigned attempt)
{
    static const uint32_t granularities[] = { 1, 60, 300 };
    uint32_t step = granularities[MIN(attempt, G_N_ELEMENTS(granularities) - 1)] + 1;
    if (ttl_s + step <= max_ttl_s)
        return ttl_s + step;
    return ttl_s > step ? ttl_s - step : 1;
}
