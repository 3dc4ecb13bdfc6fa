/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma once

#include "dbus/object.h"

void api_tpm_get_info(struct object_request *request, void *api); /* the row of GetTpmInfo */
