/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reload and Explain: rules that change while hubkeyd runs, and what is said about them, to whom.
 */
#include <config.h>

#include "daemon/config.h"
#include "daemon/reload.h"
#include "dbus/names.h"
#include "tests/lib/api-bus.h"
#include "tests/lib/await.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#define SLOT0 NAMES_SLOTS "/0"
#define IN "hubkey-in"   /* a member of group hubkey */
#define OUT "hubkey-out" /* none */

static void
set_up(struct api_bus *api, gconstpointer configuration)
{
    api_bus_start(api, configuration ? configuration : "");
}

static void
tear_down(struct api_bus *api, gconstpointer unused)
{
    api_bus_stop(api);
}

static bool
is_root(void)
{
    if (getuid() == 0)
        return true;
    g_test_skip("Reload is for root");
    return false;
}

static bool
has_users(void)
{
    if (getuid() == 0 && getpwnam(IN) && getpwnam(OUT) && getgrnam("hubkey"))
        return true;
    g_test_skip("needs root, and the users that ./run makes");
    return false;
}

static DBusMessage *
reload(struct api_bus *api)
{
    return api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "Reload", DBUS_TYPE_INVALID);
}

static DBusMessage *
get_token(struct api_bus *api, const char *scope, dbus_uint32_t ttl)
{
    return api_bus_call(api, SLOT0, NAMES_SLOT, "GetToken", DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl,
                        DBUS_TYPE_INVALID);
}

/* ---- Reload ---- */

/* What is wrong is named with its place, and the old rules go on to the last of them. */
static void
test_refused(struct api_bus *api, gconstpointer unused)
{
    if (!is_root())
        return;
    api_bus_write_config(api, "[slot 0]\nMaxTtl=60\nScopes=files\n");
    api_bus_expect_reply(reload(api), "");
    api_bus_write_config(api, "[slot 0]\nMaxTtl=120\nScopes=messages/events\nMaxTtl=180\nNoKey=1\n");
    g_autofree char *place = g_build_filename(api->folder, "hubkeyd.conf:4: MaxTtl stands twice", NULL);
    api_bus_expect_error(reload(api), "InvalidArgument", place);
    api_bus_expect_error(reload(api), "InvalidArgument", "(and 1 more); nothing was changed");
    api_bus_expect_error(get_token(api, "messages/events", 60), "NotAuthorized", "\"messages/events\" is none of them");
    api_bus_expect_error(get_token(api, "files", 61), "InvalidArgument", "which is 60 s");
    api_bus_expect_reply(get_token(api, "files", 60), "st");
    g_assert_true(api_bus_log_contains("NoKey is not a key")); /* the log has them all */
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=reload", "HUBKEY_DECISION=failed", "HUBKEY_ERROR=InvalidArgument",
                                     NULL));
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=reload", "HUBKEY_DECISION=allowed", "HUBKEY_RULE=root", NULL));
}

/* What holds from the next call on. */
static void
test_applied(struct api_bus *api, gconstpointer unused)
{
    if (!is_root())
        return;
    api_bus_expect_reply(get_token(api, "", 0), "st");
    api_bus_write_config(api, "[slot 0]\nScopes=files\nRequestsPerMinute=1\n");
    api_bus_expect_reply(reload(api), "");
    api_bus_expect_error(get_token(api, "", 0), "NotAuthorized", "Scopes= of [slot 0]");
    api_bus_expect_reply(get_token(api, "files", 0), "st");
    api_bus_expect_error(get_token(api, "files", 0), "Busy", "retry in 60000 ms");
    api_bus_write_config(api, "[hubkeyd]\nTokenGranularity=7\n");
    api_bus_expect_reply(reload(api), "");
    dbus_uint64_t expires = 0;
    const char *token;
    DBusMessage *reply = get_token(api, "", 60);
    g_assert_true(
        dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &token, DBUS_TYPE_UINT64, &expires, DBUS_TYPE_INVALID));
    dbus_message_unref(reply);
    g_assert_cmpuint(expires % 7, ==, 0);
}

static bool
has_signal(void *user)
{
    return ((struct api_bus *)user)->signals->len > 0;
}

/* Lifetimes are properties: those who keep a copy are told, and nobody else. */
static void
test_signals(struct api_bus *api, gconstpointer unused)
{
    if (!is_root())
        return;
    fake_storage_put(api->storage, 1, SLOT_READY, 7, API_BUS_HOST, "e", API_BUS_KEY);
    api_bus_look(api);
    api_bus_expect_reply(get_token(api, "", 0), "st"); /* all signals so far are in */
    g_ptr_array_set_size(api->signals, 0);
    api_bus_write_config(api, "[slot 0]\nMaxTtl=600\n[slots]\nRequestsPerMinute=600\n");
    api_bus_expect_reply(reload(api), "");
    g_assert_true(await(has_signal, api));
    api_bus_expect_reply(get_token(api, "", 0), "st");
    g_assert_cmpuint(api->signals->len, ==, 1);
    g_assert_cmpstr(api->signals->pdata[0], ==, "PropertiesChanged " SLOT0 " " NAMES_SLOT " DefaultTtl MaxTtl");
}

struct outcomes {
    int done, failed;
};

static void
count(const GError *error, void *user)
{
    struct outcomes *outcomes = user;
    outcomes->done++;
    outcomes->failed += error != NULL;
}

static bool
is_done(void *user)
{
    return ((struct outcomes *)user)->done == 3;
}

/* Who asks while the files are being read may have written after that: they are read once more. */
static void
test_during(struct api_bus *api, gconstpointer unused)
{
    struct outcomes outcomes = { 0 };
    api_bus_write_config(api, "nonsense\n");
    reload_begin(api->api.reload, count, &outcomes);
    api_bus_write_config(api, "[slot 0]\nMaxTtl=77\n");
    reload_begin(api->api.reload, count, &outcomes);
    reload_begin(api->api.reload, count, &outcomes);
    g_assert_cmpint(outcomes.done, ==, 0);
    g_assert_true(await(is_done, &outcomes));
    g_assert_cmpint(outcomes.failed, <=, 1); /* the first alone, if it was quick */
    g_assert_cmpuint(config_rules(api->config, 0)->max_ttl, ==, 77);
    reload_begin(api->api.reload, NULL, NULL);
    reload_begin(api->api.reload, count, &outcomes); /* and hubkeyd ends meanwhile */
    reload_free(g_steal_pointer(&api->api.reload));
    g_assert_cmpint(outcomes.done, ==, 4);
}

/* ---- Explain ---- */

static DBusMessage *
explain(struct api_bus *api, dbus_uint32_t slot, dbus_uint32_t uid, const dbus_uint32_t *groups, int n_groups,
        const char *scope)
{
    return api_bus_call(api, NAMES_ROOT, NAMES_MANAGER, "Explain", DBUS_TYPE_UINT32, &slot, DBUS_TYPE_UINT32, &uid,
                        DBUS_TYPE_ARRAY, DBUS_TYPE_UINT32, &groups, n_groups, DBUS_TYPE_STRING, &scope,
                        DBUS_TYPE_INVALID);
}

static void
expect(struct api_bus *api, dbus_uint32_t slot, dbus_uint32_t uid, dbus_uint32_t group, const char *scope,
       const char *rule, const char *words)
{
    dbus_bool_t allowed;
    const char *decided = NULL, *advice = NULL;
    DBusMessage *reply = explain(api, slot, uid, &group, 1, scope);
    g_assert_true(dbus_message_get_args(reply, NULL, DBUS_TYPE_BOOLEAN, &allowed, DBUS_TYPE_STRING, &decided,
                                        DBUS_TYPE_STRING, &advice, DBUS_TYPE_INVALID));
    g_assert_cmpstr(decided, ==, rule);
    g_assert_cmpint(allowed, ==, words == NULL);
    if (words)
        g_assert_nonnull(strstr(advice, words));
    else
        g_assert_cmpstr(advice, ==, "");
    g_assert_false(g_str_has_prefix(advice, "you are")); /* it is about others here */
    dbus_message_unref(reply);
}

static void
test_explain(struct api_bus *api, gconstpointer unused)
{
    dbus_uint32_t none = 54321;
    if (!has_users())
        return;
    const dbus_uint32_t hubkey = getgrnam("hubkey")->gr_gid, in = getpwnam(IN)->pw_uid, out = getpwnam(OUT)->pw_uid;
    api_bus_expect_error(explain(api, 65536, in, &none, 1, ""), "NoSuchSlot", "65536");
    api_bus_expect_error(explain(api, 0, in, &none, 1, "a//b"), "InvalidArgument", "segment 2");
    expect(api, 0, in, hubkey, "", "group-hubkey", NULL);
    expect(api, 0, in, none, "", "outside-group-hubkey", "usermod -aG hubkey " IN);
    expect(api, 9999, out, none, "", "outside-group-hubkey", "slot 9999"); /* whether it is in use or not */
    expect(api, 0, 54321, none, "", "outside-group-hubkey", "uid 54321 may not have tokens of slot 0");
    expect(api, 1, out, none, "files/x", "AllowUsers", NULL);
    expect(api, 1, out, none, "", "Scopes", "\"/\" is none of them");
    expect(api, 1, out, none, "twin", "Scopes", "\"twin\" is none of them");
    expect(api, 1, in, hubkey, "files", "outside-allowed", "AllowUsers=" IN " in [slot 1]");
    expect(api, 2, 54321, hubkey, "", "AllowGroups", NULL);
    expect(api, 0, 0, none, "", "root", NULL);
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=explain", "HUBKEY_DECISION=allowed", "HUBKEY_SLOT=9999",
                                     "HUBKEY_RULE=root", "HUBKEY_UID=0", NULL));
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=explain", "HUBKEY_DECISION=failed", "HUBKEY_ERROR=InvalidArgument",
                                     NULL));
}

static char *
explain_as(struct api_bus *api, const char *user, dbus_uint32_t uid, const dbus_uint32_t *groups, int n_groups)
{
    dbus_uint32_t slot = 0;
    const char *scope = "";
    return api_bus_call_as(api, user, NAMES_ROOT, NAMES_MANAGER, "Explain", DBUS_TYPE_UINT32, &slot, DBUS_TYPE_UINT32,
                           &uid, DBUS_TYPE_ARRAY, DBUS_TYPE_UINT32, &groups, n_groups, DBUS_TYPE_STRING, &scope,
                           DBUS_TYPE_INVALID);
}

/* Everybody about oneself; about others, or with groups that one has not, an administrator. */
static void
test_who_may_ask(struct api_bus *api, gconstpointer unused)
{
    if (!has_users())
        return;
    const struct passwd *in = getpwnam(IN);
    const dbus_uint32_t hubkey = getgrnam("hubkey")->gr_gid, in_uid = in->pw_uid, own[] = { in->pw_gid, hubkey };
    const dbus_uint32_t strange[] = { own[0], 54321 }, out_uid = getpwnam(OUT)->pw_uid;
    const char *denied = NAMES_ERROR_PREFIX "NotAuthorized: you are uid ";
    g_autofree char *own_uid = g_strdup_printf("HUBKEY_UID=%u", in_uid);
    g_autofree char *self = explain_as(api, IN, in_uid, own, 2), *without = explain_as(api, IN, in_uid, NULL, 0);
    g_assert_false(api_bus_has_record("HUBKEY_EVENT=explain", own_uid, NULL)); /* nothing was decided */
    g_autofree char *boast = explain_as(api, IN, in_uid, strange, 2), *wish = explain_as(api, OUT, out_uid, &hubkey, 1);
    g_autofree char *other = explain_as(api, IN, out_uid, NULL, 0), *root = explain_as(api, OUT, 0, NULL, 0);
    g_assert_cmpstr(self, ==, "ok");
    g_assert_cmpstr(without, ==, "ok");
    g_assert_true(g_str_has_prefix(boast, denied));
    g_assert_true(g_str_has_prefix(wish, denied));
    g_assert_true(g_str_has_prefix(other, denied));
    g_assert_true(g_str_has_prefix(root, denied));
    g_assert_true(api_bus_has_record("HUBKEY_EVENT=explain", "HUBKEY_DECISION=denied", NULL));
    g_autofree char *reloaded = api_bus_call_as(api, IN, NAMES_ROOT, NAMES_MANAGER, "Reload", DBUS_TYPE_INVALID);
    g_assert_true(g_str_has_prefix(reloaded, denied));
}

#define ADD(path, test) g_test_add(path, struct api_bus, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    static const char rules[] = "[slot 1]\nAllowUsers=" OUT "\nScopes=files\n[slot 2]\nAllowGroups=hubkey\n";
    g_test_init(&argc, &argv, NULL);
    api_bus_keep_log();
    ADD("/api/reload/refused", test_refused);
    ADD("/api/reload/applied", test_applied);
    ADD("/api/reload/signals", test_signals);
    ADD("/api/reload/during", test_during);
    if (getpwnam(OUT) && getgrnam("hubkey"))
        g_test_add("/api/explain/rules", struct api_bus, rules, set_up, test_explain, tear_down);
    ADD("/api/explain/who-may-ask", test_who_may_ask);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
