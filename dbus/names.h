/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The only wire constants: what is called how on the bus. The interfaces are described in org.hubkey.xml and in
 * org.hubkey(5).
 */
#pragma once

#define NAMES_BUS "org.hubkey"
#define NAMES_ROOT "/org/hubkey"
#define NAMES_SLOTS "/org/hubkey/slot" /* slot N is at NAMES_SLOTS "/N", N canonical decimal */
#define NAMES_MANAGER "org.hubkey.Manager1"
#define NAMES_SLOT "org.hubkey.Slot1"
#define NAMES_ERROR_PREFIX "org.hubkey.Error."

/* Where hubkeyd listens without a bus, unless it was told another directory. */
#define NAMES_SOCKET "/run/hubkey/socket"

#define NAMES_SLOT_MAX 65535   /* the highest slot number */
#define NAMES_SLOT_PATH_MAX 32 /* bytes that hold any slot's path and its NUL */
