/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma once

/* A copy for hubkey_free. */
char *api_hand_out(const char *text);
