/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A terminal that does not show what is typed, put right again even when the program is interrupted.
 */
#pragma once

/* Asks for what and turns echo off, where stdin is a terminal; else does nothing. */
void quiet_terminal_begin(const char *what);
void quiet_terminal_end(void);
