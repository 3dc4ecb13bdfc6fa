/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which word was meant.
 */
#pragma once

#include <stddef.h>

/* The word of the list that is nearest to text, NULL where none is near. Borrowed from words. */
const char *suggest_word(const char *text, const char *const *words, size_t n_words);

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b; at most 99. */
unsigned suggest_distance(const char *a, const char *b);
