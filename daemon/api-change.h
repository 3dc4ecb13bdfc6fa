/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The rows that change a slot: Provision and Adopt of Manager1, Rotate, UndoRotate and Clear of Slot1. All are an
 * administrator's. Main thread.
 */
#pragma once

#include "dbus/object.h"

void api_change_provision(struct object_request *request, void *api);
void api_change_adopt(struct object_request *request, void *api);
void api_change_rotate(struct object_request *request, void *api);
void api_change_undo(struct object_request *request, void *api);
void api_change_clear(struct object_request *request, void *api);
