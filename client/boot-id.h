/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which boot of the machine this is: /proc/sys/kernel/random/boot_id (random(4)).
 */
#pragma once

/* The same text until the next boot, another after it. Static. */
const char *boot_id(void);

void boot_id_set(const char *id); /* for a test; NULL: the real one. Not for use while other threads run. */
