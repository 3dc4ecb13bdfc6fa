/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * SIGINT and SIGTERM as a descriptor. A handler would be called by ppoll only while nothing else is ready, which beside
 * an input that is always readable is never.
 */
#pragma once

#include <stdbool.h>

/* Takes the signals from here on. One that is ignored, as the shell has it in the background, stays so. */
void stop_catch(void);

/* Readable once one came. -1 where the system has no descriptor for it: then the signals end the program as usual. */
int stop_fd(void);

/* Whether one came since stop_catch; stays true. */
bool stop_asked(void);

/* From here on they end the program as usual. */
void stop_release(void);
