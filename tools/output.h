/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Aligned text for people, one JSON object a line for programs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Prints object as one line and drops the reference. */
void output_json(json_t *object);

/* A text of the world outside - a path, a program's name, what a hub said - with what is not UTF-8 in it replaced, as
 * JSON can have nothing else. NULL: null. */
json_t *output_json_text(const char *text);

/* Adds all members of part, which is dropped, to object. */
void output_json_add(json_t *object, json_t *part);

/* "TpmState" as "tpm_state". g_free. */
char *output_snake_case(const char *name);

/* A table: cells are copied; columns are as wide as their widest cell. */
struct table;

struct table *table_new(size_t n_columns, const char *const *titles); /* titles NULL: no head line */
void table_add(struct table *table, const char *const *cells);
size_t table_rows(const struct table *table);
/* Prints and frees. The words of a slot's or the TPM's state are coloured on a terminal. */
void table_print(struct table *table);
void table_free(struct table *table); /* without printing */

/* A table of "Title: value" lines. */
struct table *fields_new(void);
void fields_add(struct table *table, const char *title, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "2026-11-24 06:30:05" in local time for Unix milliseconds. g_free. */
char *output_time(int64_t ms);
