/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A fuzzer is one file that takes apart one input and asserts what must hold of it. libFuzzer feeds it in ./run fuzz;
 * replay.c does in the test suite, where no clang is needed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* The names are libFuzzer's. Initialize is called once, before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a fuzzer's Initialize begins with: scratch files in memory, no cores, log records go to hear. NULL: nowhere. */
void fuzz_begin(GLogWriterFunc hear);

/* The input as text; NULL where it has a NUL in it. g_free. */
char *fuzz_text(const uint8_t *data, size_t size);

/* The path of a file that holds the input, the same file each time. Owned by us. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* A folder that goes away with the process. Owned by us. */
const char *fuzz_folder(void);

/* Asserts that a function that failed said why, in one valid line; clears the error. */
void fuzz_expect_error(GError **error);
