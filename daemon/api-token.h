/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The rows of Slot1 that are about tokens: GetToken, GetConnectionString and ReportRejected. Main thread.
 */
#pragma once

#include "dbus/object.h"

void api_token_get(struct object_request *request, void *api);
void api_token_get_connection_string(struct object_request *request, void *api);
void api_token_report_rejected(struct object_request *request, void *api);
