/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Processes beside the one that measures: it waits until they are ready, and notices where one ended by itself.
 */
#pragma once

#include <stddef.h>

#include <sys/types.h>

/* serve calls ready_tell(ready) once it is ready, and never returns. what says in an error what did not start. */
pid_t ready_start(void (*serve)(int ready), const char *what);

/* Ends the program where it had ended by itself: what was measured since means nothing. */
void ready_stop(pid_t pid);

/* The two halves of it, for many at one pipe. Whoever has told, or ended, does not keep it open: nobody is waited for
 * in vain. */
void ready_tell(int ready);
void ready_await(int ready, size_t n, const char *what);
