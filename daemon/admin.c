/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/admin.h"
#include "daemon/access.h"
#include "daemon/polkit.h"
#include "dbus/caller.h"
#include "common/error.h"

#include <string.h>

#define RETRY_MS 1000

struct admin {
    struct polkit *polkit;
};

/* A question that waits for polkit. */
struct asking {
    const char *method, *action;
    uid_t uid;
    admin_decided_fn decided;
    void *user;
};

/* As in org.hubkey.policy. */
static const struct {
    const char *method, *action;
} actions[] = {
    { "Provision", "org.hubkey.provision" }, { "Adopt", "org.hubkey.adopt" }, { "Rotate", "org.hubkey.rotate" },
    { "UndoRotate", "org.hubkey.rotate" },   { "Clear", "org.hubkey.clear" }, { "Reload", "org.hubkey.reload" },
    { "Explain", "org.hubkey.reload" }, /* of somebody else */
};

const char *
admin_action(const char *method)
{
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++)
        if (strcmp(actions[i].method, method) == 0)
            return actions[i].action;
    return NULL;
}

/* ---- refusals ---- */

static GError *
refusal_at_socket(const struct admin_question *question)
{
    g_autofree char *who = access_user_text(question->caller->uid);
    if (!question->socket_allowed)
        return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                           "you are %s; %s is refused at the private socket: use the system bus, or let an "
                           "administrator set AdminOnSocket=yes in [hubkeyd] of hubkeyd.conf", who, question->method);
    return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                       "you are %s; %s is for root at the private socket: run the command as root, with sudo for "
                       "example, or use the system bus, where polkit can allow it to you", who, question->method);
}

static GError *
refusal_of_polkit(const struct asking *asking, enum polkit_answer answer)
{
    g_autofree char *who = access_user_text(asking->uid);
    if (answer == POLKIT_BUSY)
        return g_error_new(ERROR_DOMAIN, ERROR_BUSY, "too many questions of yours or of others wait for polkit; "
                           "retry in %d ms", RETRY_MS);
    if (answer == POLKIT_ABSENT)
        return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                           "you are %s; %s is for root, as polkit does not answer on this machine: run the command as "
                           "root, with sudo for example", who, asking->method);
    if (answer == POLKIT_UNANSWERED)
        return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                           "you are %s; nobody answered the password question for %s in time; call again", who,
                           asking->action);
    if (answer == POLKIT_ERROR)
        return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                           "you are %s; polkit does not know the action %s, or does not tell hubkeyd about it; is "
                           "org.hubkey.policy installed? (the log of hubkeyd has polkit's words) Or run the command as "
                           "root", who, asking->action);
    if (answer == POLKIT_GONE)
        return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED, "%s left, or hubkeyd ends, before polkit answered", who);
    const char *but = answer == POLKIT_PASSWORD ? " without an administrator's password, which nothing here could ask "
                                                  "for (on a terminal, start pkttyagent beside it)" : "";
    return g_error_new(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED,
                       "you are %s; polkit does not let you do %s%s: run the command as root, with sudo for example, "
                       "or let an administrator allow the action in a rule in /etc/polkit-1/rules.d", who,
                       asking->action, but);
}

/* ---- decisions ---- */

static void
polkit_answered(enum polkit_answer answer, void *user)
{
    struct asking *asking = user;
    g_autoptr(GError) error = answer == POLKIT_YES ? NULL : refusal_of_polkit(asking, answer);
    const char *rule = answer == POLKIT_ABSENT ? "not-root" : answer == POLKIT_BUSY ? NULL : "polkit";
    asking->decided(error, rule, asking->user);
    g_free(asking);
}

static void
ask_at_socket(const struct admin_question *question, admin_decided_fn decided, void *user)
{
    bool allowed = question->socket_allowed && question->caller->uid == 0;
    g_autoptr(GError) error = allowed ? NULL : refusal_at_socket(question);
    decided(error, allowed ? "root" : question->socket_allowed ? "not-root" : "AdminOnSocket", user);
}

void
admin_ask(struct admin *admin, const struct admin_question *question, admin_decided_fn decided, void *user)
{
    if (question->at_socket) {
        ask_at_socket(question, decided, user);
        return;
    }
    if (question->caller->uid == 0) {
        decided(NULL, "root", user);
        return;
    }
    struct asking *asking = g_new(struct asking, 1);
    *asking = (struct asking){ .method = question->method, .action = admin_action(question->method) };
    asking->decided = decided;
    asking->uid = question->caller->uid;
    asking->user = user;
    const char *const details[] = { "method", question->method, question->slot ? "slot" : NULL, question->slot, NULL };
    if (asking->action)
        polkit_ask(admin->polkit, question->caller->name, asking->uid, asking->action, details, question->interactive,
                   polkit_answered, asking);
    else
        polkit_answered(POLKIT_ABSENT, asking);
}

void
admin_forget(struct admin *admin, const char *name)
{
    polkit_forget(admin->polkit, name);
}

struct admin *
admin_new(DBusConnection *bus, int person_limit_ms)
{
    struct admin *admin = g_new(struct admin, 1);
    admin->polkit = polkit_new(bus, person_limit_ms);
    return admin;
}

void
admin_free(struct admin *admin)
{
    if (!admin)
        return;
    polkit_free(admin->polkit);
    g_free(admin);
}
