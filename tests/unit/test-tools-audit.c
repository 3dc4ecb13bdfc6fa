/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What hubkeyctl audit reads: moments, and records of both kinds.
 */
#include <config.h>

#include "common/error.h"
#include "tools/audit-record.h"
#include "tools/since.h"

#include <string.h>

#include <glib.h>

/* Tuesday, 2026-11-24 12:34:56 in a zone two hours east of Greenwich. */
#define NOW INT64_C(1795516496)

static void
test_since(void)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {
        { "now", NOW },
        { "today", NOW - 45296 },
        { "yesterday", NOW - 45296 - 86400 },
        { "tomorrow", NOW - 45296 + 86400 },
        { "-1h", NOW - 3600 },
        { "-90", NOW - 90 },
        { "-1h30m", NOW - 5400 },
        { "-1 h 30 min", NOW - 5400 },
        { "+5s", NOW + 5 },
        { "2 days ago", NOW - 172800 },
        { "1 week 1 hour ago", NOW - 7 * 86400 - 3600 },
        { "@1800000000", 1800000000 },
        { "10:00", NOW - 2 * 3600 - 34 * 60 - 56 },
        { "10:00:30", NOW - 2 * 3600 - 34 * 60 - 26 },
        { "2026-11-24", NOW - 45296 },
        { "2026-11-24 10:00", NOW - 2 * 3600 - 34 * 60 - 56 },
        { "2026-11-23 12:34:56", NOW - 86400 },
        { "2026-11-24 10:34:56 UTC", NOW },
        { "2026-11-24T10:34:56Z", NOW },
        { "2026-11-24T12:34:56", NOW },
    };
    static const char *const bad[] = { "", " ", "-", "+", "-h", "-1x", "ago", "1 ago ago", "1h", "h ago", "@", "@x",
                                       "@-1", "10", "10:", "10:61", "25:00", "10:00x", "10:00:00x", "2026-13-01",
                                       "2026-02-30", "2026-11-24x", "2026-11-24 x", "2026-11-24 10", "Today", "T",
                                       "-99999999999h", "today UTC" };
    g_autoptr(GTimeZone) zone = g_time_zone_new_offset(7200);
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(NOW);
    g_autoptr(GDateTime) now = g_date_time_to_timezone(utc, zone);
    int64_t ms;
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", good[i].text);
        since_parse(good[i].text, now, &ms, &error);
        g_assert_no_error(error);
        g_assert_cmpint(ms, ==, good[i].seconds * 1000);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", bad[i]);
        g_assert_false(since_parse(bad[i], now, &ms, &error));
        g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    }
}

static char *
json_of(const char *line)
{
    struct audit_entry entry;
    if (!audit_entry_read(line, strlen(line), &entry))
        return NULL;
    json_t *object = audit_entry_json(&entry);
    g_autofree char *made = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    audit_entry_clear(&entry);
    return g_steal_pointer(&made);
}

static void
test_records(void)
{
    static const char *const expected =
        "{\"caller\":\":1.5\",\"decision\":\"denied\",\"error\":\"NotAuthorized\",\"event\":\"token\","
        "\"rule\":\"Scopes\",\"scope\":\"a/b=c\",\"slot\":3,\"time\":1800000000123,\"ttl\":60,\"uid\":1000}";
    g_autofree char *line = json_of("Nov 24 10:00 host hubkeyd: info: token denied: slot 3 HUBKEY_TIME=1800000000123 "
                                    "HUBKEY_EVENT=token HUBKEY_DECISION=denied HUBKEY_SLOT=3 HUBKEY_UID=1000 "
                                    "HUBKEY_CALLER=:1.5 HUBKEY_SCOPE=a/b=c HUBKEY_TTL=60 HUBKEY_RULE=Scopes "
                                    "HUBKEY_ERROR=NotAuthorized HUBKEY_SCOPE=other HUBKEY_NEW=1");
    g_autofree char *journal = json_of("{\"__REALTIME_TIMESTAMP\":\"1800000000123456\",\"HUBKEY_EVENT\":\"token\","
                                       "\"HUBKEY_DECISION\":\"denied\",\"HUBKEY_SLOT\":\"3\",\"HUBKEY_UID\":\"1000\","
                                       "\"HUBKEY_CALLER\":\":1.5\",\"HUBKEY_SCOPE\":\"a/b=c\",\"HUBKEY_TTL\":\"60\","
                                       "\"HUBKEY_RULE\":\"Scopes\",\"HUBKEY_ERROR\":\"NotAuthorized\","
                                       "\"MESSAGE\":[1,2]}");
    g_assert_cmpstr(line, ==, expected);
    g_assert_cmpstr(journal, ==, expected);
    g_autofree char *empty_scope = json_of("HUBKEY_EVENT=token HUBKEY_DECISION=allowed HUBKEY_SCOPE= HUBKEY_SLOT=x");
    g_assert_cmpstr(empty_scope, ==,
                    "{\"decision\":\"allowed\",\"event\":\"token\",\"scope\":\"\",\"slot\":\"x\",\"time\":null}");
}

static void
test_other_lines(void)
{
    static const char *const lines[] = { "", "hubkeyd: info: slot 0 is ready", "{", "{}", "[]", "HUBKEY_EVENT=token",
                                         "{\"HUBKEY_EVENT\":\"token\"}", "{\"HUBKEY_EVENT\":1,\"HUBKEY_DECISION\":[2]}",
                                         "hubkeyd: warning: HUBKEY?EVENT=token HUBKEY?DECISION=allowed" };
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
        g_assert_null(json_of(lines[i]));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tools-audit/since", test_since);
    g_test_add_func("/tools-audit/records", test_records);
    g_test_add_func("/tools-audit/other-lines", test_other_lines);
    return g_test_run();
}
