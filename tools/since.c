/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/since.h"
#include "common/error.h"

#include <stdio.h>
#include <string.h>

#define AMOUNT_MAX 1000000000

static bool
take(GDateTime *time, int64_t *ms)
{
    if (!time)
        return false;
    *ms = g_date_time_to_unix(time) * 1000;
    g_date_time_unref(time);
    return true;
}

/* ---- words ---- */

static bool
parse_day(const char *text, GDateTime *now, int64_t *ms)
{
    static const struct {
        const char *word;
        int days;
    } words[] = { { "today", 0 }, { "yesterday", -1 }, { "tomorrow", 1 } };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i].word) != 0)
            continue;
        g_autoptr(GDateTime) day = g_date_time_add_days(now, words[i].days);
        return take(g_date_time_new(g_date_time_get_timezone(now), g_date_time_get_year(day),
                                    g_date_time_get_month(day), g_date_time_get_day_of_month(day), 0, 0, 0),
                    ms);
    }
    return false;
}

/* ---- so long ago ---- */

static int64_t
unit_s(const char *unit)
{
    static const struct {
        const char *names;
        int64_t seconds;
    } units[] = { { " s sec second seconds ", 1 },   { " m min minute minutes ", 60 },   { " h hr hour hours ", 3600 },
                  { " d day days ", 86400 },         { " w week weeks ", 7 * 86400 } };
    g_autofree char *word = g_strdup_printf(" %s ", unit);
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (strstr(units[i].names, word))
            return units[i].seconds;
    return 0;
}

/* "1h 30min", "90" (seconds) */
static bool
parse_span(const char *text, int64_t *seconds)
{
    *seconds = 0;
    do {
        char *end, unit[16] = "s";
        guint64 amount = g_ascii_strtoull(text, &end, 10);
        int len = 0;
        if (!g_ascii_isdigit(*text) || amount > AMOUNT_MAX)
            return false;
        while (*end == ' ')
            end++;
        if (g_ascii_isalpha(*end) && sscanf(end, "%15[a-z]%n", unit, &len) != 1)
            return false;
        int64_t each = unit_s(unit);
        *seconds += (int64_t)amount * each;
        for (text = end + len; *text == ' '; text++)
            continue;
        if (each == 0)
            return false;
    } while (*text);
    return true;
}

static bool
parse_distance(const char *text, GDateTime *now, int64_t *ms)
{
    int64_t seconds;
    bool ago = g_str_has_suffix(text, " ago"), signs = text[0] == '-' || text[0] == '+';
    if (ago == signs)
        return false;
    g_autofree char *span = ago ? g_strndup(text, strlen(text) - strlen(" ago")) : g_strdup(text + 1);
    if (!parse_span(span, &seconds))
        return false;
    *ms = (g_date_time_to_unix(now) + (text[0] == '+' ? seconds : -seconds)) * 1000;
    return true;
}

/* ---- a date, a time, both ---- */

static bool
parse_date(const char *text, GDateTime *now, int64_t *ms)
{
    int year = g_date_time_get_year(now), month = g_date_time_get_month(now), day = g_date_time_get_day_of_month(now);
    int hour = 0, minute = 0, second = 0, len = 0, at = 0;
    bool utc = g_str_has_suffix(text, " UTC");
    g_autofree char *local = g_strndup(text, strlen(text) - (utc ? strlen(" UTC") : 0));
    g_autoptr(GTimeZone) zone = utc ? g_time_zone_new_utc() : g_time_zone_ref(g_date_time_get_timezone(now));
    const char *rest = local;
    if (strlen(rest) > 4 && rest[4] == '-' && sscanf(rest, "%4d-%2d-%2d%n", &year, &month, &day, &len) != 3)
        return false;
    rest += len;
    if (len > 0 && *rest && *rest++ != ' ')
        return false;
    if (*rest && (sscanf(rest, "%2d:%2d%n", &hour, &minute, &at) != 2 || at == 0))
        return false;
    rest += at;
    if (*rest && (sscanf(rest, ":%2d%n", &second, &at) != 1 || rest[at]))
        return false;
    return (len > 0 || at > 0) && take(g_date_time_new(zone, year, month, day, hour, minute, second), ms);
}

static bool
parse_iso(const char *text, GDateTime *now, int64_t *ms)
{
    return strchr(text, 'T') && take(g_date_time_new_from_iso8601(text, g_date_time_get_timezone(now)), ms);
}

static bool
parse_unix(const char *text, int64_t *ms)
{
    guint64 seconds;
    if (text[0] != '@' || !g_ascii_string_to_unsigned(text + 1, 10, 0, G_MAXINT64 / 1000, &seconds, NULL))
        return false;
    *ms = (int64_t)seconds * 1000;
    return true;
}

bool
since_parse(const char *text, GDateTime *now, int64_t *ms, GError **error)
{
    if (strcmp(text, "now") == 0) {
        *ms = g_date_time_to_unix(now) * 1000;
        return true;
    }
    if (parse_day(text, now, ms) || parse_distance(text, now, ms) || parse_unix(text, ms) || parse_iso(text, now, ms) ||
        parse_date(text, now, ms))
        return true;
    error_set(error, ERROR_INVALID_ARGUMENT, "\"%s\" is no moment; these are: \"-1h\", \"2 days ago\", \"today\", "
              "\"yesterday\", \"10:00\", \"2026-11-24 10:00\", \"@1800000000\"", text);
    return false;
}
