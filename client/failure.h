/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Errors inside the library: a GError whose code is a HUBKEY_E_* number, beside those of common/error.h, which have
 * theirs in its table. One function turns either into what a caller sees.
 */
#pragma once

#include <glib.h>

#include "client/hubkey.h"

#define FAILURE_DOMAIN (failure_domain())

GQuark failure_domain(void);

#define failure_set(error, number, ...) g_set_error((error), FAILURE_DOMAIN, (number), __VA_ARGS__)

/* The HUBKEY_E_* number of an error of either domain; HUBKEY_E_INTERNAL for others, 0 for NULL. */
int failure_number(const GError *error);

/* Writes error (NULL: success) to out (NULL: nowhere), cut at a whole character; returns the number. */
int failure_export(const GError *error, int http_status, struct hubkey_error *out);

/* The same for an error made on the spot. */
int failure_now(struct hubkey_error *out, int number, const char *format, ...) G_GNUC_PRINTF(3, 4);
