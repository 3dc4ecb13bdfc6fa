/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Rows of org.hubkey.Manager1 about the rules: reading them anew, and explaining them.
 */
#pragma once

#include "dbus/object.h"

void api_rules_reload(struct object_request *request, void *api);
void api_rules_explain(struct object_request *request, void *api);
