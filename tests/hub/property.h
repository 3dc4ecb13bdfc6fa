/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Message properties: application ones, system ones, and those only the hub may stamp.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/hub/verdict.h"

enum property_kind {
    PROPERTY_NONE,    /* not a property of a message */
    PROPERTY_APP,     /* iothub-app-NAME */
    PROPERTY_SYSTEM,  /* a system property a device may set */
    PROPERTY_STAMPED, /* set by the hub; what a device sends is dropped */
};

/* *bare is the application property's own name, or the system property's canonical header name. */
enum property_kind property_kind(const char *header, const char **bare);

bool property_is_message_id(const char *bare);

/* Whether name and value may stand so; *counted grows by what the 256 KiB limit counts of them. */
bool property_check(enum property_kind kind, const char *bare, const char *value, size_t len, size_t *counted,
                    struct verdict *v);
