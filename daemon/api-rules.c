/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-rules.h"
#include "daemon/access.h"
#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/reload.h"
#include "daemon/sas.h"
#include "dbus/caller.h"
#include "dbus/names.h"
#include "common/error.h"

/* ---- reading them anew ---- */

struct reloading {
    struct api *api;
    struct object_request *request;
};

static void
reloaded(const GError *error, void *user)
{
    struct reloading *reloading = user;
    struct audit_record record = { .event = api_event_of(reloading->request), .decision = "allowed",
                                   .slot = AUDIT_NO_SLOT };
    if (error) {
        api_refuse(reloading->api, reloading->request, &record, error);
    } else {
        api_describe_caller(reloading->request, &record);
        audit_write(&record);
        object_reply(reloading->request, DBUS_TYPE_INVALID);
    }
    g_free(reloading);
}

void
api_rules_reload(struct object_request *request, void *user)
{
    struct api *api = user;
    struct reloading *reloading = g_new(struct reloading, 1);
    *reloading = (struct reloading){ api, request };
    reload_begin(api->reload, reloaded, reloading);
}

/* ---- explaining them ---- */

/* The arguments of Explain; everything is inside the message. */
struct question {
    dbus_uint32_t slot, uid;
    const gid_t *groups;
    int n_groups;
    const char *scope;
};

static struct question
read_question(struct object_request *request)
{
    struct question question = { 0 };
    G_STATIC_ASSERT(sizeof(gid_t) == sizeof(dbus_uint32_t));
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_UINT32, &question.slot, DBUS_TYPE_UINT32,
                          &question.uid, DBUS_TYPE_ARRAY, DBUS_TYPE_UINT32, &question.groups, &question.n_groups,
                          DBUS_TYPE_STRING, &question.scope, DBUS_TYPE_INVALID);
    return question;
}

static bool
check_question(const struct question *question, GError **error)
{
    if (question->slot > NAMES_SLOT_MAX) {
        error_set(error, ERROR_NO_SUCH_SLOT, "slot: %u is above %d", question->slot, NAMES_SLOT_MAX);
        return false;
    }
    return sas_check_scope(question->scope, error);
}

/* What GetToken would say to such a caller. */
static void
explain(struct object_request *request, void *user)
{
    struct api *api = user;
    const struct question question = read_question(request);
    struct audit_record record = { .event = api_event_of(request), .slot = question.slot, .scope = question.scope };
    g_autoptr(GError) error = NULL;
    if (!check_question(&question, &error)) {
        api_refuse(api, request, &record, error);
        return;
    }
    const struct access_rules *rules = config_rules(api->config, question.slot);
    const struct access_subject subject = { question.uid, question.groups, (size_t)question.n_groups };
    struct access_decision decision = access_check_subject(rules, api->config->default_group, &subject);
    g_autofree char *advice = NULL;
    if (!decision.allowed) {
        bool self = question.uid == api_caller(request)->uid;
        advice = access_explain_denial(rules, &subject, question.slot, self);
    } else if (!access_check_scope(rules, question.scope)) {
        decision = (struct access_decision){ false, "Scopes" };
        advice = access_explain_scope(question.scope, question.slot);
    }
    dbus_bool_t allowed = decision.allowed;
    const char *text = advice ? advice : "";
    object_reply(request, DBUS_TYPE_BOOLEAN, &allowed, DBUS_TYPE_STRING, &decision.rule, DBUS_TYPE_STRING, &text,
                 DBUS_TYPE_INVALID);
}

/* About somebody else: an administrator has been let in, which leaves a record. */
static void
explain_other(struct object_request *request, void *user)
{
    const struct question question = read_question(request);
    struct audit_record record = { .event = api_event_of(request), .decision = "allowed", .slot = question.slot,
                                   .scope = question.scope, .rule = api_admin_rule(request) };
    if (check_question(&question, NULL)) {
        api_describe_caller(request, &record);
        audit_write(&record);
    }
    explain(request, user);
}

/* Whether it is about the caller as the bus knows it: with groups that it has not, it is about somebody else. */
static bool
is_about_caller(const struct question *question, const struct caller *caller)
{
    for (int i = 0; i < question->n_groups; i++)
        if (!caller_in_group(caller, question->groups[i]))
            return false;
    return question->uid == caller->uid;
}

void
api_rules_explain(struct object_request *request, void *user)
{
    const struct question question = read_question(request);
    if (is_about_caller(&question, api_caller(request)))
        explain(request, user);
    else
        api_permit_admin(user, request, question.slot, explain_other);
}
