/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * why and reload: the rules of who may have tokens.
 */
#include <config.h>

#include "dbus/loop.h"
#include "dbus/names.h"
#include "common/text.h"
#include "tools/bus.h"
#include "tools/command.h"
#include "tools/output.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 1024 /* of one user; hubkeyd looks at no more */

/* ---- why ---- */

static char *user_name, *scope;

static const GOptionEntry why_entries[] = {
    { "user", 0, 0, G_OPTION_ARG_STRING, &user_name, "who would ask, by name or number; yourself where not given",
      "USER" },
    { "scope", 0, 0, G_OPTION_ARG_STRING, &scope, "what for; the whole identity where not given", "SCOPE" },
    { NULL },
};

struct subject {
    uid_t uid;
    char *name; /* NULL where the uid has none */
    dbus_uint32_t groups[GROUPS_MAX + 1];
    int n_groups;
};

/* Oneself: what this session really has, which is what hubkeyd sees, whatever the user database says by now. */
static bool
take_own_groups(struct subject *subject)
{
    int n = getgroups(GROUPS_MAX, (gid_t *)subject->groups);
    if (n < 0)
        return false;
    subject->n_groups = n;
    subject->groups[subject->n_groups++] = getegid();
    return true;
}

static bool
take_groups_of(struct subject *subject, gid_t primary)
{
    subject->n_groups = GROUPS_MAX;
    return !subject->name ||
           getgrouplist(subject->name, primary, (gid_t *)subject->groups, &subject->n_groups) >= 0;
}

/* EXIT_DONE, or the code of a complaint that has been printed. */
static int
find_subject(const struct context *context, struct subject *subject)
{
    uint32_t number = (uint32_t)geteuid();
    const struct passwd *entry = user_name ? getpwnam(user_name) : getpwuid((uid_t)number);
    if (!entry && user_name) {
        if (!text_parse_u32(user_name, UINT32_MAX - 1, &number))
            return command_failed(EXIT_FAILED, "there is no user \"%s\"", user_name);
        entry = getpwuid((uid_t)number);
    }
    subject->uid = entry ? entry->pw_uid : (uid_t)number;
    subject->name = entry ? g_strdup(entry->pw_name) : NULL;
    bool own = subject->uid == geteuid();
    if (!entry && !own)
        subject->n_groups = 0;
    else if (!(own ? take_own_groups(subject) : take_groups_of(subject, entry->pw_gid)))
        return command_failed(EXIT_FAILED, "cannot tell the groups of uid %u: more than %d", subject->uid, GROUPS_MAX);
    return EXIT_DONE;
}

static DBusMessage *
ask(const struct context *context, uint32_t slot, const struct subject *subject, GError **error)
{
    DBusConnection *connection = bus_open(context, error);
    if (!connection)
        return NULL;
    const dbus_uint32_t *groups = subject->groups, uid = subject->uid;
    const char *what = scope ? scope : "";
    DBusMessage *message = bus_message(NAMES_ROOT, NAMES_MANAGER, "Explain");
    if (!dbus_message_append_args(message, DBUS_TYPE_UINT32, &slot, DBUS_TYPE_UINT32, &uid, DBUS_TYPE_ARRAY,
                                  DBUS_TYPE_UINT32, &groups, subject->n_groups, DBUS_TYPE_STRING, &what,
                                  DBUS_TYPE_INVALID))
        g_error("out of memory: a D-Bus message");
    DBusMessage *reply = bus_call(connection, message, "bss", error);
    loop_close(connection);
    return reply;
}

static int
print_answer(const struct context *context, uint32_t slot, const struct subject *subject, DBusMessage *reply)
{
    dbus_bool_t allowed = FALSE;
    const char *rule = "", *advice = "";
    dbus_message_get_args(reply, NULL, DBUS_TYPE_BOOLEAN, &allowed, DBUS_TYPE_STRING, &rule, DBUS_TYPE_STRING, &advice,
                          DBUS_TYPE_INVALID);
    if (context->json)
        output_json(json_pack("{s:I, s:I, s:o, s:o, s:b, s:s, s:s}", "slot", (json_int_t)slot, "uid",
                              (json_int_t)subject->uid, "user", output_json_text(subject->name), "scope",
                              output_json_text(scope ? scope : ""), "allowed", (int)allowed, "rule", rule, "advice",
                              advice));
    else if (allowed)
        printf("allowed: uid %u (%s) may have tokens of slot %u, by the rule %s\n", subject->uid,
               subject->name ? subject->name : "no name", slot, rule);
    else
        printf("denied: %s (rule %s)\n", advice, rule);
    return allowed ? EXIT_DONE : EXIT_DENIED;
}

static int
run_why(const struct context *context, char **arguments, int n)
{
    uint32_t slot = 0;
    struct subject subject = { 0 };
    GError *error = NULL;
    if (!command_slot(context, arguments[0], &slot))
        return EXIT_USAGE;
    int code = find_subject(context, &subject);
    if (code == EXIT_DONE) {
        g_autoptr(dbus_message_auto) reply = ask(context, slot, &subject, &error);
        code = reply ? print_answer(context, slot, &subject, reply) : command_error(error);
    }
    g_free(subject.name);
    return code;
}

/* ---- reload ---- */

static int
run_reload(const struct context *context, char **arguments, int n)
{
    GError *error = NULL;
    DBusConnection *connection = bus_open(context, &error);
    if (!connection)
        return command_error(error);
    g_autoptr(dbus_message_auto) reply = bus_call(connection, bus_message(NAMES_ROOT, NAMES_MANAGER, "Reload"), "",
                                                  &error);
    loop_close(connection);
    if (!reply)
        return command_error(error);
    if (context->json)
        output_json(json_pack("{s:b}", "reloaded", 1));
    else
        puts("the configuration has been read anew");
    return EXIT_DONE;
}

const struct command command_why = {
    .name = "why",
    .arguments = "N [--user USER] [--scope SCOPE]",
    .summary = "tell whether a user may have tokens of slot N, and why",
    .details =
        "Exits with 0 where it is allowed and with 3 where it is denied; says which rule decided, and what would\n"
        "allow it. About other users only administrators may ask.",
    .entries = why_entries,
    .n_min = 1,
    .n_max = 1,
    .run = run_why,
};

const struct command command_reload = {
    .name = "reload",
    .arguments = "",
    .summary = "make hubkeyd read its configuration anew (administrators)",
    .details =
        "All of it holds at once, or, where anything in it is wrong, nothing changes and the place is named. Tcti=\n"
        "and ProtectBus= wait until hubkeyd is started again.",
    .run = run_reload,
};
