/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Rules from the message format documentation: charset, message id, creation time in UTC, and what is counted:
 * the values of system properties, names and values of application properties.
 */
#include <config.h>

#include "tests/hub/property.h"
#include "tests/hub/charset.h"

#include <string.h>

#define APP_PREFIX "iothub-app-"
#define MESSAGE_ID "iothub-messageid"
#define CREATION_TIME "iothub-creation-time-utc"

static const char *const system_names[] = {
    MESSAGE_ID,
    CREATION_TIME,
    "iothub-contenttype",
    "iothub-contentencoding",
    "iothub-correlationid",
    "iothub-userid",
    "iothub-to",
    "iothub-expiry",
    "iothub-ack",
    "iothub-interface-id",
    "iothub-creationtimeutc",
    "iothub-messageschema",
    "dt-subject",
    NULL,
};

static const char *const stamped_names[] = {
    "iothub-connection-device-id",
    "iothub-connection-module-id",
    "iothub-connection-auth-method",
    "iothub-connection-auth-generation-id",
    "iothub-enqueuedtime",
    "iothub-message-source",
    NULL,
};

static const char *
canonical(const char *const *names, const char *header)
{
    for (; *names; names++)
        if (g_ascii_strcasecmp(*names, header) == 0)
            return *names;
    return NULL;
}

enum property_kind
property_kind(const char *header, const char **bare)
{
    const size_t prefix = strlen(APP_PREFIX);

    *bare = NULL;
    if (g_ascii_strncasecmp(header, APP_PREFIX, prefix) == 0) {
        /* The documented spelling of the creation time in a batch carries the application prefix. */
        *bare = g_ascii_strcasecmp(header + prefix, CREATION_TIME) == 0 ? CREATION_TIME : header + prefix;
        return *bare == header + prefix ? PROPERTY_APP : PROPERTY_SYSTEM;
    }
    if ((*bare = canonical(system_names, header)))
        return PROPERTY_SYSTEM;
    return canonical(stamped_names, header) ? PROPERTY_STAMPED : PROPERTY_NONE;
}

bool
property_is_message_id(const char *bare)
{
    return strcmp(bare, MESSAGE_ID) == 0;
}

static bool
check_app(const char *bare, const char *value, size_t len, struct verdict *v)
{
    if (!*bare || !charset_is_app(bare, strlen(bare)))
        return verdict_refuse(v, "ArgumentInvalid",
                              "application property name has a character outside the allowed set");
    if (!charset_is_app(value, len))
        return verdict_refuse(v, "ArgumentInvalid",
                              "value of application property %.64s has a character outside the allowed set", bare);
    return true;
}

/* YYYY-MM-DDTHH:MM:SS[.fraction]Z */
static bool
is_utc_time(const char *value)
{
    g_autoptr(GDateTime) time = strlen(value) >= 20 && value[10] == 'T' ? g_date_time_new_from_iso8601(value, NULL)
                                                                        : NULL;

    return time && g_str_has_suffix(value, "Z");
}

static bool
is_ack(const char *value)
{
    return g_strcmp0(value, "none") == 0 || g_strcmp0(value, "positive") == 0 || g_strcmp0(value, "negative") == 0 ||
           g_strcmp0(value, "full") == 0;
}

static bool
check_system(const char *bare, const char *value, size_t len, struct verdict *v)
{
    if (property_is_message_id(bare) && !charset_is_message_id(value, len))
        return verdict_refuse(v, "ArgumentInvalid",
                              "iothub-messageid must be 1 to 128 of A-Z a-z 0-9 - : . + %% _ # * ? ! ( ) , = @ ; $ '");
    if (!charset_is_printable(value, len))
        return verdict_refuse(v, "ArgumentInvalid", "value of %s must be printable ASCII", bare);
    if ((strcmp(bare, CREATION_TIME) == 0 || strcmp(bare, "iothub-creationtimeutc") == 0) && !is_utc_time(value))
        return verdict_refuse(v, "ArgumentInvalid", "%s must be a UTC time such as 2024-05-01T12:00:00.000Z", bare);
    if (strcmp(bare, "iothub-ack") == 0 && !is_ack(value))
        return verdict_refuse(v, "ArgumentInvalid", "iothub-ack must be none, positive, negative or full");
    return true;
}

bool
property_check(enum property_kind kind, const char *bare, const char *value, size_t len, size_t *counted,
               struct verdict *v)
{
    *counted += len + (kind == PROPERTY_APP ? strlen(bare) : 0);
    return kind == PROPERTY_APP ? check_app(bare, value, len, v) : check_system(bare, value, len, v);
}
