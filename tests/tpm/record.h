/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a spy wrote down (tcti-spy.c with record=%s/record): what crossed between a bench and its TPM.
 */
#pragma once

#include "tests/tpm/bench.h"

#define RECORD_CREATE 0x153
#define RECORD_HMAC 0x155
#define RECORD_FLUSH_CONTEXT 0x165
#define RECORD_START_AUTH_SESSION 0x176
#define RECORD_PASSWORD 0x40000009 /* where a session's handle would stand */

/* A list of commands and answers, direction first. */
GPtrArray *record_read(struct bench *bench);
void record_forget(struct bench *bench);

bool record_is_command(GBytes *message);
uint32_t record_number(GBytes *message, size_t at); /* big-endian, counted from the message's tag on */

/* How many commands with this code (0: of any) were sent. */
unsigned record_count(GPtrArray *messages, uint32_t code);

bool record_holds(GPtrArray *messages, const void *bytes, size_t len);

/* Neither the whole nor a part that helps to guess it; in both directions. */
void record_expect_absent(GPtrArray *messages, const void *secret, size_t len);

/* Every session is salted to the SRK. */
void record_expect_salted(GPtrArray *messages);
