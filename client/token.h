/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The cached token. Its life is counted on two clocks, each of which can end it: wall time, because that is what the
 * hub looks at, and boot time, because wall time may be set back. It is renewed at use, early and at a time of its own
 * for each device; there is no timer that could die.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define TOKEN_LIFE_MAX_S (366 * 86400) /* beyond this an expiry is taken for a mistake and cut */

struct token {
    char *text; /* NULL: none */
    int64_t expires_s;     /* by this machine's wall clock */
    int64_t end_boot_us;   /* not used from then on */
    int64_t renew_boot_us; /* a new one is asked for from then on */
    uint64_t generation;   /* of the slot's key, read before the token was asked for */
    uint32_t ttl_s;        /* what was asked for, the slot's default made explicit */
};

/* Takes a copy. slow_s: this machine's clock is behind the hub's by so much, and the token ends so much earlier than it
 * seems. random: any 32 bits, for the jitter of the renewal. */
void token_set(struct token *token, const char *text, int64_t expires_s, int64_t slow_s, uint64_t generation,
               uint32_t ttl_s, uint32_t random);

/* Erases. Safe on an empty one. */
void token_drop(struct token *token);

/* May be sent now. */
bool token_usable(const struct token *token);

/* Should be replaced before the next request. */
bool token_due(const struct token *token);

/* A life that gives another token than one that was asked for with ttl_s, as two of the same second are the same:
 * longer by more than hubkeyd's granularity (attempt 0, 1, 2: guesses of it, 1 s is its default), or shorter by as much
 * where max_ttl_s forbids. */
uint32_t token_other_ttl(uint32_t ttl_s, uint32_t max_ttl_s, unsigned attempt);
