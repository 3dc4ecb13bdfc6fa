/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Moments as journalctl takes them: "today", "-1h 30min", "2 days ago", "2026-11-24 10:00", "@1800000000".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/* text as Unix milliseconds; days and hours are those of now's time zone. */
bool since_parse(const char *text, GDateTime *now, int64_t *ms, GError **error);
