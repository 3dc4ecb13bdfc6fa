/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What TCTIs that stand between a program and its TPM have in common: a configuration [KEY=VALUE,]…child=TCTI, and all
 * that they pass on unchanged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tss2/tss2_tcti.h>

#define TCTI_CHILD_VALUE 256

/* The first member of a TCTI's own context. */
struct tcti_child {
    TSS2_TCTI_CONTEXT_COMMON_V2 common;
    TSS2_TCTI_CONTEXT *child;
};

struct tcti_child_functions {
    TSS2_TCTI_TRANSMIT_FCN transmit;
    TSS2_TCTI_RECEIVE_FCN receive;
    TSS2_TCTI_FINALIZE_FCN finalize;
};

/* The first half of a TCTI's init: true where that is all of it, with *rc as the answer. Clears the context. */
bool tcti_child_sized(TSS2_TCTI_CONTEXT *context, size_t *size, const char *conf, size_t needed, TSS2_RC *rc);

/* Takes "KEY=VALUE," off *conf where KEY is next. */
bool tcti_child_take(const char **conf, const char *key, char value[TCTI_CHILD_VALUE]);

/* The second half: conf is what is left, child=TCTI. */
TSS2_RC tcti_child_open(struct tcti_child *self, const struct tcti_child_functions *functions, const char *conf);
void tcti_child_close(struct tcti_child *self);

/* The command's code; 0 where it is too short to have one. */
uint32_t tcti_child_command(const uint8_t *command, size_t size);

/* An answer of nothing but a code; response NULL asks for its size alone. */
void tcti_child_refuse(uint32_t code, size_t *size, uint8_t *response);
