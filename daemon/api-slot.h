/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma once

#include "dbus/object.h"

/* org.hubkey.Slot1; its user is struct api. */
extern const struct object_interface api_slot_interface;
