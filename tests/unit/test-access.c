/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/access.c: the table of who may have what.
 */
#include <config.h>

#include "daemon/access.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#define HUBKEY_GID 900
#define NO_GROUP ((gid_t)-1)

/* What a row's subject and rules are made of; the uid 1000 is the one who asks unless said otherwise. */
struct row {
    uid_t uid;
    gid_t groups[3];
    size_t n_groups;
    bool named;
    uid_t users[2];
    guint n_users;
    gid_t allowed[2];
    guint n_allowed;
    gid_t default_group;
    bool wanted;
    const char *rule;
};

static const struct row table[] = {
    /* Nobody is named: root and group hubkey. */
    { .uid = 0, .default_group = HUBKEY_GID, .wanted = true, .rule = "root" },
    { .uid = 0, .default_group = NO_GROUP, .wanted = true, .rule = "root" },
    { .uid = 1000,
      .groups = { 1000, HUBKEY_GID },
      .n_groups = 2,
      .default_group = HUBKEY_GID,
      .wanted = true,
      .rule = "group-hubkey" },
    { .uid = 1000, .groups = { 1000 }, .n_groups = 1, .default_group = HUBKEY_GID, .rule = "outside-group-hubkey" },
    { .uid = 1000, .n_groups = 0, .default_group = HUBKEY_GID, .rule = "outside-group-hubkey" },
    { .uid = HUBKEY_GID,
      .groups = { 1 },
      .n_groups = 1,
      .default_group = HUBKEY_GID,
      .rule = "outside-group-hubkey" }, /* a uid is no gid */
    /* No such group on this machine: never matched, not even by a group that is called -1. */
    { .uid = 1000, .groups = { NO_GROUP }, .n_groups = 1, .default_group = NO_GROUP, .rule = "outside-group-hubkey" },
    /* AllowUsers: exactly those, and root. */
    { .uid = 1000,
      .named = true,
      .users = { 999, 1000 },
      .n_users = 2,
      .default_group = HUBKEY_GID,
      .wanted = true,
      .rule = "AllowUsers" },
    { .uid = 1001,
      .named = true,
      .users = { 999, 1000 },
      .n_users = 2,
      .default_group = HUBKEY_GID,
      .rule = "outside-allowed" },
    { .uid = 1001,
      .groups = { HUBKEY_GID },
      .n_groups = 1,
      .named = true,
      .users = { 1000 },
      .n_users = 1,
      .default_group = HUBKEY_GID,
      .rule = "outside-allowed" }, /* group hubkey counts no more */
    { .uid = 0,
      .named = true,
      .users = { 1000 },
      .n_users = 1,
      .default_group = HUBKEY_GID,
      .wanted = true,
      .rule = "root" },
    /* AllowGroups. */
    { .uid = 1000,
      .groups = { 5, 77 },
      .n_groups = 2,
      .named = true,
      .allowed = { 76, 77 },
      .n_allowed = 2,
      .default_group = HUBKEY_GID,
      .wanted = true,
      .rule = "AllowGroups" },
    { .uid = 77,
      .groups = { 5 },
      .n_groups = 1,
      .named = true,
      .allowed = { 77 },
      .n_allowed = 1,
      .default_group = HUBKEY_GID,
      .rule = "outside-allowed" },
    /* Both: either is enough. */
    { .uid = 1000,
      .groups = { 77 },
      .n_groups = 1,
      .named = true,
      .users = { 1 },
      .n_users = 1,
      .allowed = { 77 },
      .n_allowed = 1,
      .default_group = HUBKEY_GID,
      .wanted = true,
      .rule = "AllowGroups" },
    /* Named, but nobody: root alone. */
    { .uid = 1000,
      .groups = { HUBKEY_GID },
      .n_groups = 1,
      .named = true,
      .default_group = HUBKEY_GID,
      .rule = "outside-allowed" },
    { .uid = 0, .named = true, .default_group = HUBKEY_GID, .wanted = true, .rule = "root" },
};

static void
test_subjects(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        const struct row *row = &table[i];
        struct access_rules rules = { .named = row->named };
        if (row->n_users)
            rules.users = g_array_append_vals(g_array_new(FALSE, FALSE, sizeof(uid_t)), row->users, row->n_users);
        if (row->n_allowed)
            rules.groups = g_array_append_vals(g_array_new(FALSE, FALSE, sizeof(gid_t)), row->allowed, row->n_allowed);
        const struct access_subject subject = { row->uid, row->groups, row->n_groups };
        struct access_decision decision = access_check_subject(&rules, row->default_group, &subject);
        g_assert_cmpstr(decision.rule, ==, row->rule);
        g_assert_cmpint(decision.allowed, ==, row->wanted);
        g_clear_pointer(&rules.users, g_array_unref);
        g_clear_pointer(&rules.groups, g_array_unref);
    }
}

static void
test_scopes(void)
{
    char *some[] = { (char *)"messages/events", (char *)"files", NULL },
         *whole[] = { (char *)"files", (char *)"/", NULL };
    const struct access_rules none = { 0 }, limited = { .scopes = some }, all = { .scopes = whole };
    g_assert_true(access_check_scope(&none, ""));
    g_assert_true(access_check_scope(&none, "anything"));
    g_assert_false(access_check_scope(&limited, ""));
    g_assert_false(access_check_scope(&limited, "messages"));
    g_assert_false(access_check_scope(&limited, "messages/events2"));
    g_assert_true(access_check_scope(&limited, "messages/events"));
    g_assert_true(access_check_scope(&limited, "messages/events/x"));
    g_assert_true(access_check_scope(&limited, "files/notifications"));
    g_assert_true(access_check_scope(&all, ""));
    g_assert_true(access_check_scope(&all, "twin"));
}

/* A denial says who one was taken for, and the very line that would allow it. */
static void
test_explanations(void)
{
    const struct access_rules open = { 0 }, named = { .named = true };
    const struct passwd *nobody = getpwnam("nobody");
    const struct access_subject stranger = { 54321, NULL, 0 };
    g_autofree char *first = access_explain_denial(&open, &stranger, 3, true),
                    *second = access_explain_denial(&named, &stranger, 3, true);
    g_assert_nonnull(strstr(first, "you are uid 54321, "));
    g_assert_nonnull(strstr(first, "slot 3"));
    g_assert_nonnull(strstr(first, "usermod -aG hubkey NAME"));
    g_assert_nonnull(strstr(second, "AllowUsers=NAME in [slot 3]"));
    if (!nobody) {
        g_test_skip("there is no user nobody");
        return;
    }
    const struct access_subject known = { nobody->pw_uid, NULL, 0 };
    g_autofree char *who = g_strdup_printf("you are uid %u (nobody), ", nobody->pw_uid);
    g_autofree char *third = access_explain_denial(&open, &known, 0, true),
                    *fourth = access_explain_denial(&named, &known, 65535, true);
    g_assert_true(g_str_has_prefix(third, who) && g_str_has_prefix(fourth, who));
    g_assert_true(g_str_has_suffix(third, "usermod -aG hubkey nobody"));
    g_assert_nonnull(strstr(fourth, "AllowUsers=nobody in [slot 65535]"));
}

static void
test_user_text(void)
{
    g_autofree char *root = access_user_text(0), *unknown = access_user_text(54321);
    g_assert_cmpstr(root, ==, "root");
    g_assert_cmpstr(unknown, ==, "uid 54321");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/access/subjects", test_subjects);
    g_test_add_func("/access/scopes", test_scopes);
    g_test_add_func("/access/explanations", test_explanations);
    g_test_add_func("/access/user-text", test_user_text);
    return g_test_run();
}
