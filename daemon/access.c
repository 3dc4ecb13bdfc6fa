/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/access.h"
#include "daemon/sas.h"
#include "common/clock.h"

#include <pwd.h>
#include <stdio.h>

#define NAME_KEPT_US (10 * G_USEC_PER_SEC)

static bool
lists_group(const GArray *groups, const struct access_subject *subject)
{
    for (guint i = 0; groups && i < groups->len; i++)
        for (size_t j = 0; j < subject->n_groups; j++)
            if (g_array_index(groups, gid_t, i) == subject->groups[j])
                return true;
    return false;
}

static bool
lists_user(const GArray *users, uid_t uid)
{
    for (guint i = 0; users && i < users->len; i++)
        if (g_array_index(users, uid_t, i) == uid)
            return true;
    return false;
}

static bool
in_group(const struct access_subject *subject, gid_t group)
{
    for (size_t i = 0; i < subject->n_groups; i++)
        if (subject->groups[i] == group)
            return true;
    return false;
}

struct access_decision
access_check_subject(const struct access_rules *rules, gid_t default_group, const struct access_subject *subject)
{
    if (subject->uid == 0)
        return (struct access_decision){ true, "root" };
    if (rules->named) {
        if (lists_user(rules->users, subject->uid))
            return (struct access_decision){ true, "AllowUsers" };
        if (lists_group(rules->groups, subject))
            return (struct access_decision){ true, "AllowGroups" };
        return (struct access_decision){ false, "outside-allowed" };
    }
    if (default_group != (gid_t)-1 && in_group(subject, default_group))
        return (struct access_decision){ true, "group-" ACCESS_DEFAULT_GROUP };
    return (struct access_decision){ false, "outside-group-" ACCESS_DEFAULT_GROUP };
}

bool
access_check_scope(const struct access_rules *rules, const char *scope)
{
    if (!rules->scopes)
        return true;
    for (char **prefix = rules->scopes; *prefix; prefix++)
        if (sas_scope_within(scope, *prefix))
            return true;
    return false;
}

static char *
read_user_name(uid_t uid)
{
    FILE *file = fopen("/etc/passwd", "re");
    char *name = NULL;
    if (!file)
        return NULL;
    for (struct passwd *entry; !name && (entry = fgetpwent(file));)
        if (entry->pw_uid == uid)
            name = g_strdup(entry->pw_name);
    fclose(file);
    return name;
}

/* The last one asked for is kept for a while: who is denied again and again must not keep the bus thread reading. */
static const char *
user_name(uid_t uid)
{
    static char *name;
    static uid_t of = (uid_t)-1;
    static int64_t read_us;
    int64_t now = clock_boot_us();
    if (of != uid || now - read_us > NAME_KEPT_US) {
        g_free(name);
        name = read_user_name(uid);
        of = uid;
        read_us = now;
    }
    return name;
}

char *
access_user_text(uid_t uid)
{
    const char *name = uid == 0 ? NULL : user_name(uid);
    if (uid == 0)
        return g_strdup("root");
    return name ? g_strdup_printf("uid %u (%s)", uid, name) : g_strdup_printf("uid %u", uid);
}

char *
access_explain_denial(const struct access_rules *rules, const struct access_subject *subject, uint32_t slot, bool self)
{
    g_autofree char *who = access_user_text(subject->uid);
    const char *name = user_name(subject->uid), *before = self ? "you are " : "", *after = self ? ", who" : "";
    if (rules->named)
        return g_strdup_printf(
            "%s%s%s may not have tokens of slot %u; an administrator can allow it with AllowUsers=%s "
            "in [slot %u] of hubkeyd.conf",
            before, who, after, slot, name ? name : "NAME", slot);
    return g_strdup_printf("%s%s%s may not have tokens of slot %u: only root and members of group %s may; an "
                           "administrator can allow it with: usermod -aG %s %s",
                           before, who, after, slot, ACCESS_DEFAULT_GROUP, ACCESS_DEFAULT_GROUP, name ? name : "NAME");
}

char *
access_explain_scope(const char *scope, uint32_t slot)
{
    const char *as_listed = *scope ? scope : "/"; /* the whole identity, as Scopes= writes it */
    return g_strdup_printf("slot %u gives tokens for some scopes only, \"%s\" is none of them; an administrator can "
                           "add it to Scopes= of [slot %u] in hubkeyd.conf", slot, as_listed, slot);
}
