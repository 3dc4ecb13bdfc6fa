/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/hosts.h"
#include "common/error.h"
#include "common/identity.h"

#include <string.h>

static bool
check_pattern(const char *pattern, GError **error)
{
    size_t len = strlen(pattern);
    bool good = len >= 1 && len <= IDENTITY_HOST_MAX && !g_str_has_prefix(pattern, ".") &&
                !g_str_has_suffix(pattern, ".") && !strstr(pattern, "..");
    for (size_t i = 0; good && i < len; i++)
        good = g_ascii_isalnum(pattern[i]) || strchr("-.*", pattern[i]);
    if (!good)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "\"%s\" is not a host name, with \"*\" for any part of one label, as in *.azure-devices.net",
                  pattern);
    return good;
}

char **
hosts_parse(const char *list, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(list, ";", -1);
    g_autoptr(GPtrArray) patterns = g_ptr_array_new_with_free_func(g_free);
    for (char **part = parts; *part; part++) {
        if (!*g_strstrip(*part))
            continue;
        if (!check_pattern(*part, error))
            return NULL;
        g_ptr_array_add(patterns, g_ascii_strdown(*part, -1));
    }
    if (patterns->len == 0) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "must list at least one host name; \"*\" stands for any part of one label");
        return NULL;
    }
    g_ptr_array_add(patterns, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&patterns), FALSE);
}

/* The latest '*' is the only one that ever needs another try: what earlier ones took, it can take as well. A '.' ends
 * what it may take, and with it the label. */
static bool
match(const char *pattern, const char *host)
{
    const char *star = NULL, *taken = NULL;
    while (*host) {
        if (*pattern == '*') {
            star = ++pattern;
            taken = host;
        } else if (*pattern == *host) {
            if (*host == '.')
                star = NULL;
            pattern++;
            host++;
        } else if (star && *taken != '.') {
            pattern = star;
            host = ++taken;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool
hosts_match(char *const *patterns, const char *host)
{
    for (; *patterns; patterns++)
        if (match(*patterns, host))
            return true;
    return false;
}
