/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/hosts.c: what AllowedHosts= lets through.
 */
#include <config.h>

#include "daemon/hosts.h"
#include "common/error.h"

#include <string.h>

static bool
matches(const char *list, const char *host)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) patterns = hosts_parse(list, &error);
    g_assert_no_error(error);
    return hosts_match(patterns, host);
}

static void
test_match(void)
{
    static const struct {
        const char *list, *host;
        bool wanted;
    } rows[] = {
        { HOSTS_DEFAULT, "hub.azure-devices.net", true },
        { HOSTS_DEFAULT, "hub.azure-devices.cn", true },
        { HOSTS_DEFAULT, "hub.azure-devices.us", true },
        { HOSTS_DEFAULT, "hub.azure-devices.net.example.org", false },
        { HOSTS_DEFAULT, "a.hub.azure-devices.net", false }, /* '*' is one label */
        { HOSTS_DEFAULT, "azure-devices.net", false },
        { HOSTS_DEFAULT, "hub.azure-devices-net", false },
        { HOSTS_DEFAULT, "hubazure-devices.net", false },
        { HOSTS_DEFAULT, "example.org", false },
        { HOSTS_DEFAULT, "", false },
        { "hub.example.org", "hub.example.org", true },
        { "HUB.Example.org", "hub.example.org", true },
        { "hub.example.org", "hub.example.orgs", false },
        { "hub.example.org", "hub.example.or", false },
        { "plant-*.example.org", "plant-7.example.org", true },
        { "plant-*.example.org", "plant-.example.org", true },
        { "plant-*.example.org", "plant-7.8.example.org", false },
        { "*-hub-*.example.org", "a-hub-hub-b.example.org", true },
        { "*ab*ab.org", "abab.org", true },
        { "*ab*ab.org", "xabxabxab.org", true },
        { "*ab*ab.org", "xabxabxa.org", false },
        { "*.*.org", "a.b.org", true },
        { "*.*.org", "a.org", false },
        { "*.*.org", "a.b.c.org", false },
        { "hub.*", "hub.org", true },
        { "hub.*", "hub.example.org", false },
        { "**", "localhost", true },
        { "*", "localhost", true },
        { "*", "a.b", false },
        { " a.org ;; b.org ;", "b.org", true },
        { "a.org;b.org", "c.org", false },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_test_message("%s in %s", rows[i].host, rows[i].list);
        g_assert_cmpint(matches(rows[i].list, rows[i].host), ==, rows[i].wanted);
    }
}

/* Nothing that an entry or a host can be made of takes more than length times length steps. */
static void
test_hostile(void)
{
    GString *pattern = g_string_new(NULL), *host = g_string_new(NULL);
    while (pattern->len < 250)
        g_string_append(pattern, "*a");
    g_string_append(pattern, "b");
    while (host->len < 100000)
        g_string_append(host, "a");
    g_assert_false(matches(pattern->str, host->str));
    g_string_append(host, "b");
    g_assert_true(matches(pattern->str, host->str));
    g_string_free(pattern, TRUE);
    g_string_free(host, TRUE);
}

static void
test_refused(void)
{
    g_autofree char *longest = g_strnfill(254, 'a');
    const char *const lists[] = {
        "",        " ; ;",        "a..b",          ".a",     "a.",      "https://a.org", "a.org:443",
        "a b.org", "a.org,b.org", "h\xc3\xbc.org", "a?.org", "[a].org", longest
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(hosts_parse(lists[i], &error));
        g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(hosts_parse("a.org;a_b.org", &error));
    g_assert_nonnull(strstr(error->message, "\"a_b.org\""));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hosts/match", test_match);
    g_test_add_func("/hosts/hostile", test_hostile);
    g_test_add_func("/hosts/refused", test_refused);
    return g_test_run();
}
