/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the sandbox's hubkeyd and its bus allow, for as long as a row needs it, and being one of those users.
 */
#pragma once

#include <stdbool.h>

/* The drop-in that a measuring program has for itself, read anew; NULL takes it away. */
void rules_set(const char *text);

/* Whether everybody may call the test services on the sandbox's bus, which are root's otherwise. */
void rules_open_bus(bool open);

/* This process is the user's from now on, and ends with its parent. */
void rules_become(const char *user);
