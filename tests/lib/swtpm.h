/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A software TPM of the test's own on sockets in a directory of its own. It dies with the test.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

struct swtpm {
    char *dir;
    char *socket;
    char *tcti; /* as tss2-tctildr takes it */
    GPid pid;   /* 0 while it has no power */
};

/* A factory-new TPM, started up. NULL where swtpm is not installed; ends the test program where it does not answer
 * within 20 s. */
struct swtpm *swtpm_start(void);
void swtpm_stop(struct swtpm *swtpm); /* and frees; NULL is fine */

/* Killed in mid-flight: what it has in its NV memory stays, sessions and transient objects go. */
void swtpm_cut_power(struct swtpm *swtpm);
void swtpm_give_power(struct swtpm *swtpm); /* with TPM2_Startup(CLEAR), as firmware does */

/* For main(): whether tests with a TPM can run here. Where not, says so in TAP. */
bool swtpm_available(void);
