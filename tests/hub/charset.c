/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The sets of the device-facing REST documentation, as one table of flags.
 */
#include <config.h>

#include "tests/hub/charset.h"

#include <stdint.h>
#include <string.h>

#include <glib.h>

enum { ID = 1, MESSAGE_ID = 2, APP = 4, PRINTABLE = 8 };

static uint8_t flags[256];

static void
mark(const char *characters, uint8_t flag)
{
    for (const char *c = characters; *c; c++)
        flags[(uint8_t)*c] |= flag;
}

static const uint8_t *
flag_table(void)
{
    static gsize ready;

    if (g_once_init_enter(&ready)) {
        for (unsigned c = 0x20; c < 0x7f; c++)
            flags[c] |= PRINTABLE | (g_ascii_isalnum((char)c) ? ID | MESSAGE_ID | APP : 0);
        mark("-:.+%_#*?!(),=@$'", ID);
        mark("-:.+%_#*?!(),=@;$'", MESSAGE_ID);
        mark("!#$%&'*+-.^_`|~", APP);
        g_once_init_leave(&ready, 1);
    }
    return flags;
}

static bool
all(const char *s, size_t len, uint8_t flag)
{
    const uint8_t *table = flag_table();

    for (size_t i = 0; i < len; i++)
        if (!(table[(uint8_t)s[i]] & flag))
            return false;
    return true;
}

bool
charset_is_id(const char *s, size_t len)
{
    return len >= 1 && len <= CHARSET_ID_MAX && all(s, len, ID);
}

bool
charset_is_message_id(const char *s, size_t len)
{
    return len >= 1 && len <= CHARSET_ID_MAX && all(s, len, MESSAGE_ID);
}

bool
charset_is_app(const char *s, size_t len)
{
    return all(s, len, APP);
}

bool
charset_is_printable(const char *s, size_t len)
{
    return all(s, len, PRINTABLE);
}
