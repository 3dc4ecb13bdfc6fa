/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who may call what: callers of several users, and what those are told who may not.
 */
#include <config.h>

#include "dbus/names.h"
#include "tests/lib/api-bus.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#define IN "hubkey-in"   /* a member of group hubkey */
#define OUT "hubkey-out" /* none */

struct fixture {
    struct api_bus api;
    bool ready;
};

static void
set_up(struct fixture *fixture, gconstpointer configuration)
{
    if (getuid() != 0 || !getpwnam(IN) || !getpwnam(OUT) || !getgrnam("hubkey")) {
        g_test_skip("needs root, and the users that ./run makes");
        return;
    }
    fixture->ready = true;
    api_bus_start(&fixture->api, configuration ? configuration : "");
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    if (fixture->ready)
        api_bus_stop(&fixture->api);
}

/* Calls as user; the answer begins with this error ("ok" for none) and has all of these words, which end with NULL. */
static void
expect(struct fixture *fixture, const char *user, const char *path, const char *member, const char *error,
       const char *const *words)
{
    const char *scope = "", *interface = strcmp(path, NAMES_ROOT) == 0 ? NAMES_MANAGER : NAMES_SLOT;
    dbus_uint32_t zero = 0;
    dbus_uint64_t generation = 3;
    g_autofree char *said = strcmp(member, "GetToken") == 0
                                ? api_bus_call_as(&fixture->api, user, path, interface, member, DBUS_TYPE_STRING,
                                                  &scope, DBUS_TYPE_UINT32, &zero, DBUS_TYPE_INVALID)
                            : strcmp(member, "GetConnectionString") == 0
                                ? api_bus_call_as(&fixture->api, user, path, interface, member, DBUS_TYPE_UINT32, &zero,
                                                  DBUS_TYPE_INVALID)
                            : strcmp(member, "ReportRejected") == 0
                                ? api_bus_call_as(&fixture->api, user, path, interface, member, DBUS_TYPE_UINT64,
                                                  &generation, DBUS_TYPE_STRING, &scope, DBUS_TYPE_INVALID)
                            : strcmp(member, "ListSlots") == 0
                                ? api_bus_call_as(&fixture->api, user, path, interface, member, DBUS_TYPE_UINT32, &zero,
                                                  DBUS_TYPE_UINT32, &zero, DBUS_TYPE_INVALID)
                                : api_bus_call_as(&fixture->api, user, path, interface, member, DBUS_TYPE_INVALID);
    g_autofree char *head = strcmp(error, "ok") == 0 ? g_strdup("ok")
                                                     : g_strconcat(NAMES_ERROR_PREFIX, error, ": ", NULL);
    g_test_message("%s %s %s: %s", user, path, member, said);
    g_assert_true(g_str_has_prefix(said, head));
    for (; words && *words; words++)
        g_assert_nonnull(strstr(said, *words));
}

/* Who has no right is told so in the same words whether the slot exists or not, and whatever else is wrong. */
static void
test_denied(struct fixture *fixture, gconstpointer unused)
{
    static const char *const methods[] = { "GetToken", "GetConnectionString", "ReportRejected" };
    static const struct {
        const char *path, *slot;
    } paths[] = {
        { NAMES_SLOTS "/0", "slot 0" },   { NAMES_SLOTS "/1", "slot 1" },          { NAMES_SLOTS "/10", "slot 10" },
        { NAMES_SLOTS "/65535", "slot 65535" },
    };
    static const char *const odd[] = { NAMES_SLOTS "/65536", NAMES_SLOTS "/007", NAMES_SLOTS "/x/y" };
    if (!fixture->ready)
        return;
    g_autofree char *who = g_strdup_printf("you are uid %u (" OUT "), ", getpwnam(OUT)->pw_uid);
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(paths); j++) {
            const char *const words[] = { who, paths[j].slot, "usermod -aG hubkey " OUT, NULL };
            expect(fixture, OUT, paths[j].path, methods[i], "NotAuthorized", words);
        }
        for (size_t j = 0; j < G_N_ELEMENTS(odd); j++)
            expect(fixture, OUT, odd[j], methods[i], "NotAuthorized",
                   (const char *const[]){ who, "names no slot", NULL });
    }
    g_autofree char *types = api_bus_call_as(&fixture->api, OUT, NAMES_SLOTS "/0", NAMES_SLOT, "GetToken",
                                             DBUS_TYPE_INVALID);
    g_assert_true(g_str_has_prefix(types, NAMES_ERROR_PREFIX "NotAuthorized: ")); /* before the arguments */
    /* The log says which rule it was; tokens that were denied are counted. */
    g_autofree char *uid = g_strdup_printf("HUBKEY_UID=%u", getpwnam(OUT)->pw_uid);
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=denied", "HUBKEY_RULE=outside-group-hubkey",
                                     "HUBKEY_SLOT=10", "HUBKEY_ERROR=NotAuthorized", uid, NULL));
    g_assert_cmpuint(fixture->api.api.stats.tokens_denied, ==, 2 * (G_N_ELEMENTS(paths) + G_N_ELEMENTS(odd)) + 1);
    g_assert_cmpuint(fixture->api.api.stats.tokens_issued, ==, 0);
}

static void
test_admin_denied(struct fixture *fixture, gconstpointer unused)
{
    static const char *const users[] = { IN, OUT };
    if (!fixture->ready)
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        g_autofree char *who = g_strdup_printf("you are uid %u (%s); ", getpwnam(users[i])->pw_uid, users[i]);
        /* The arguments are wrong, too, and the slots are empty or none: that is not what they are told. */
        expect(fixture, users[i], NAMES_ROOT, "Provision", "NotAuthorized",
               (const char *const[]){ who, "Provision is for root", NULL });
        expect(fixture, users[i], NAMES_SLOTS "/0", "Clear", "NotAuthorized",
               (const char *const[]){ who, "Clear is for root", NULL });
        expect(fixture, users[i], NAMES_SLOTS "/9", "Clear", "NotAuthorized", (const char *const[]){ who, NULL });
        expect(fixture, users[i], NAMES_SLOTS "/65536", "Clear", "NotAuthorized", (const char *const[]){ who, NULL });
    }
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=provision", "HUBKEY_DECISION=denied", "HUBKEY_RULE=not-root", NULL));
    g_assert_cmpuint(fixture->api.api.stats.tokens_denied, ==, 0); /* these were no tokens */
    g_assert_cmpuint(fake_storage_count(fixture->api.storage, FAKE_STORAGE_CLEAR), ==, 0);
}

/* What anybody may: look. */
static void
test_anybody(struct fixture *fixture, gconstpointer unused)
{
    const char *interface = NAMES_SLOT;
    if (!fixture->ready)
        return;
    expect(fixture, OUT, NAMES_ROOT, "ListSlots", "ok", NULL);
    expect(fixture, OUT, NAMES_ROOT, "GetStatistics", "ok", NULL);
    g_autofree char *properties = api_bus_call_as(&fixture->api, OUT, NAMES_SLOTS "/0", DBUS_INTERFACE_PROPERTIES,
                                                  "GetAll", DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID);
    g_autofree char *empty = api_bus_call_as(&fixture->api, OUT, NAMES_SLOTS "/1", DBUS_INTERFACE_PROPERTIES, "GetAll",
                                             DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID);
    g_autofree char *xml = api_bus_call_as(&fixture->api, OUT, NAMES_SLOTS "/0", DBUS_INTERFACE_INTROSPECTABLE,
                                           "Introspect", DBUS_TYPE_INVALID);
    g_assert_cmpstr(properties, ==, "ok");
    g_assert_true(g_str_has_prefix(empty, NAMES_ERROR_PREFIX "NotProvisioned: "));
    g_assert_cmpstr(xml, ==, "ok");
}

static void
test_group(struct fixture *fixture, gconstpointer unused)
{
    if (!fixture->ready)
        return;
    expect(fixture, IN, NAMES_SLOTS "/0", "GetToken", "ok", NULL);
    expect(fixture, IN, NAMES_SLOTS "/0", "GetConnectionString", "ok", NULL);
    expect(fixture, IN, NAMES_SLOTS "/0", "ReportRejected", "ok", NULL);
    expect(fixture, IN, NAMES_SLOTS "/1", "GetToken", "NotProvisioned",
           (const char *const[]){ "slot 1 is empty", NULL });
    expect(fixture, IN, NAMES_SLOTS "/65536", "GetToken", "NoSuchSlot", NULL);
    expect(fixture, "root", NAMES_SLOTS "/0", "GetToken", "ok", NULL);
    g_assert_true(
        api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=allowed", "HUBKEY_RULE=group-hubkey", NULL));
    g_assert_true(
        api_bus_has_record("HUBKEY_EVENT=token", "HUBKEY_DECISION=allowed", "HUBKEY_RULE=root", "HUBKEY_UID=0", NULL));
}

/* The rules of each slot by themselves. */
static void
test_rules(struct fixture *fixture, gconstpointer unused)
{
    static const char *const line[] = { "AllowUsers=" IN " in [slot 1]", NULL };
    if (!fixture->ready)
        return;
    fake_storage_put(fixture->api.storage, 1, SLOT_READY, 1, API_BUS_HOST, "e", API_BUS_KEY);
    fake_storage_put(fixture->api.storage, 2, SLOT_READY, 1, API_BUS_HOST, "f", API_BUS_KEY);
    api_bus_look(&fixture->api);
    expect(fixture, OUT, NAMES_SLOTS "/1", "GetToken", "ok", NULL);
    expect(fixture, IN, NAMES_SLOTS "/1", "GetToken", "NotAuthorized", line);
    expect(fixture, "root", NAMES_SLOTS "/1", "GetToken", "ok", NULL);
    expect(fixture, IN, NAMES_SLOTS "/2", "GetToken", "ok", NULL); /* by AllowGroups=hubkey */
    expect(fixture, OUT, NAMES_SLOTS "/2", "GetToken", "NotAuthorized", NULL);
    expect(fixture, OUT, NAMES_SLOTS "/0", "GetToken", "NotAuthorized", NULL);
    g_assert_true(api_bus_has_record("HUBKEY_RULE=AllowUsers", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=1", NULL));
    g_assert_true(api_bus_has_record("HUBKEY_RULE=AllowGroups", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=2", NULL));
    g_assert_true(api_bus_has_record("HUBKEY_RULE=outside-allowed", "HUBKEY_DECISION=denied", "HUBKEY_SLOT=1", NULL));
}

#define ADD(path, test, configuration) g_test_add(path, struct fixture, configuration, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    api_bus_keep_log();
    ADD("/api/access/denied", test_denied, NULL);
    ADD("/api/access/admin-denied", test_admin_denied, NULL);
    ADD("/api/access/anybody", test_anybody, NULL);
    ADD("/api/access/group", test_group, NULL);
    ADD("/api/access/rules", test_rules, "[slot 1]\nAllowUsers=" OUT "\n[slot 2]\nAllowGroups=hubkey\n");
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
