/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api.h"
#include "daemon/access.h"
#include "daemon/admin.h"
#include "daemon/config.h"
#include "daemon/health.h"
#include "dbus/caller.h"
#include "dbus/names.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

/* ---- paths ---- */

bool
api_slot_of_path(const char *path, uint32_t *slot, GError **error)
{
    if (g_str_has_prefix(path, NAMES_SLOTS "/") && text_parse_u32(path + strlen(NAMES_SLOTS "/"), NAMES_SLOT_MAX, slot))
        return true;
    error_set(error, ERROR_NO_SUCH_SLOT, "%s is no slot: slots are " NAMES_SLOTS "/0 to " NAMES_SLOTS "/%d", path,
              NAMES_SLOT_MAX);
    return false;
}

void
api_slot_path(uint32_t slot, char path[])
{
    g_snprintf(path, NAMES_SLOT_PATH_MAX, NAMES_SLOTS "/%u", slot);
}

/* ---- a{sv} ---- */

bool
api_next_entry(DBusMessageIter *entries, const char **key, DBusMessageIter *value)
{
    DBusMessageIter entry;
    if (dbus_message_iter_get_arg_type(entries) != DBUS_TYPE_DICT_ENTRY)
        return false;
    dbus_message_iter_recurse(entries, &entry);
    dbus_message_iter_get_basic(&entry, key);
    dbus_message_iter_next(&entry);
    dbus_message_iter_recurse(&entry, value);
    dbus_message_iter_next(entries);
    return true;
}

void
api_append_entry(DBusMessageIter *entries, const char *key, int type, const void *value)
{
    DBusMessageIter entry, variant;
    const char signature[2] = { (char)type, '\0' };
    if (!dbus_message_iter_open_container(entries, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
        !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &key) ||
        !dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, signature, &variant) ||
        !dbus_message_iter_append_basic(&variant, type, value) ||
        !dbus_message_iter_close_container(&entry, &variant) || !dbus_message_iter_close_container(entries, &entry))
        g_error("out of memory: a D-Bus reply");
}

bool
api_check_no_options(DBusMessageIter *iter, GError **error)
{
    DBusMessageIter entries, value;
    const char *key;
    dbus_message_iter_recurse(iter, &entries);
    if (!api_next_entry(&entries, &key, &value))
        return true;
    error_set(error, ERROR_INVALID_ARGUMENT,
              "options: \"%.64s\" is not known; this call has no options, pass an empty dictionary", key);
    return false;
}

/* ---- the way of a call ---- */

const struct caller *
api_caller(struct object_request *request)
{
    return object_data(request);
}

static const struct event {
    const char *method, *name;
    bool gives_token;
} events[] = {
    { "GetToken", "token", true },
    { "GetConnectionString", "connection-string", true },
    { "ReportRejected", "rejected", false },
    { "Provision", "provision", false },
    { "Adopt", "adopt", false },
    { "Rotate", "rotate", false },
    { "UndoRotate", "undo-rotate", false },
    { "Clear", "clear", false },
    { "Reload", "reload", false },
    { "Explain", "explain", false },
};

/* NULL for what anybody may call: only those whom the bus does not know are refused there. */
static const struct event *
find_event(const char *method)
{
    for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
        if (strcmp(events[i].method, method) == 0)
            return &events[i];
    return NULL;
}

const char *
api_event(const char *method)
{
    const struct event *event = find_event(method);
    return event ? event->name : method;
}

const char *
api_event_of(struct object_request *request)
{
    return api_event(object_row(request)->name);
}

const char *
api_admin_rule(struct object_request *request)
{
    return api_caller(request)->uid == 0 ? "root" : "polkit"; /* nobody else is let in, see daemon/admin.c */
}

void
api_describe_caller(struct object_request *request, struct audit_record *record)
{
    const struct caller *caller = api_caller(request);
    record->caller = caller ? caller->name : object_sender(request);
    record->uid = caller ? caller->uid : (uid_t)-1;
    if (caller && !record->rule && object_row(request)->access == API_ADMIN)
        record->rule = api_admin_rule(request);
}

void
api_refuse(struct api *api, struct object_request *request, struct audit_record *record, const GError *error)
{
    bool denied = g_error_matches(error, ERROR_DOMAIN, ERROR_NOT_AUTHORIZED);
    api_describe_caller(request, record);
    record->decision = denied ? "denied" : "failed";
    record->error = error_name(error->code);
    const struct event *event = find_event(object_row(request)->name);
    if (denied && event && event->gives_token)
        api->stats.tokens_denied++;
    audit_write(record);
    if (g_error_matches(error, ERROR_DOMAIN, ERROR_TPM_FAILED))
        health_look(api->health); /* lockout, or the owner's password, may be why */
    object_fail(request, error);
}

static void
deny(struct api *api, struct object_request *request, uint32_t slot, const char *rule, const GError *error)
{
    struct audit_record record = { .event = api_event_of(request), .slot = slot, .rule = rule };
    api_refuse(api, request, &record, error);
}

/* The caller at the other end of the connection that the request came by; NULL where that is the bus. */
static struct caller *
peer_of(struct api *api, struct object_request *request)
{
    return ((struct api_face *)g_hash_table_lookup(api->faces, object_connection(request)))->caller;
}

/* Whether somebody may administer, under way. */
struct deciding {
    struct api *api;
    struct object_request *request;
    uint32_t slot;
    api_allowed_fn allowed;
};

static void
decided(const GError *error, const char *rule, void *user)
{
    struct deciding *deciding = user;
    if (error)
        deny(deciding->api, deciding->request, deciding->slot, rule, error);
    else
        deciding->allowed(deciding->request, deciding->api);
    g_free(deciding);
}

void
api_permit_admin(struct api *api, struct object_request *request, uint32_t slot, api_allowed_fn allowed)
{
    g_autofree char *number = slot == AUDIT_NO_SLOT ? NULL : g_strdup_printf("%u", slot);
    const struct admin_question question = {
        .caller = api_caller(request),
        .method = object_row(request)->name,
        .slot = number,
        .at_socket = peer_of(api, request) != NULL,
        .socket_allowed = api->config->admin_on_socket,
        .interactive = dbus_message_get_allow_interactive_authorization(object_message(request)),
    };
    struct deciding *deciding = g_new(struct deciding, 1);
    *deciding = (struct deciding){ api, request, slot, allowed };
    admin_ask(api->admin, &question, decided, deciding);
}

static void
enter(struct object_request *request, void *unused)
{
    object_enter(request);
}

/* A slot that the caller has no right to answers NotAuthorized whether it exists or not, so this comes first. */
static void
permit_token(struct api *api, struct object_request *request, const struct caller *caller, uint32_t slot)
{
    const struct access_rules *rules = config_rules(api->config, slot);
    const struct access_subject subject = { caller->uid, caller->groups, caller->n_groups };
    struct access_decision decision = access_check_subject(rules, api->config->default_group, &subject);
    if (decision.allowed) {
        object_enter(request);
        return;
    }
    g_autofree char *who = access_user_text(caller->uid);
    g_autofree char *text = slot == AUDIT_NO_SLOT
                                ? g_strdup_printf("you are %s, who may not use this; and the path names no slot",
                                                  who)
                                : access_explain_denial(rules, &subject, slot, true);
    g_autoptr(GError) error = g_error_new_literal(ERROR_DOMAIN, ERROR_NOT_AUTHORIZED, text);
    deny(api, request, slot, decision.rule, error);
}

/* Which slot a call is about, good or not: that of its object, or what the Manager's calls that are about one have as
 * their first argument. */
static uint32_t
slot_of(struct object_request *request)
{
    DBusMessageIter iter;
    dbus_uint32_t slot = AUDIT_NO_SLOT;
    if (!api_slot_of_path(object_path(request), &slot, NULL) && object_row(request)->access == API_ADMIN &&
        dbus_message_iter_init(object_message(request), &iter) &&
        dbus_message_iter_get_arg_type(&iter) == DBUS_TYPE_UINT32)
        dbus_message_iter_get_basic(&iter, &slot);
    return slot;
}

static void
found_caller(struct caller *caller, const GError *error, void *user)
{
    struct object_request *request = user;
    struct api *api = object_user(request);
    int access = object_row(request)->access;
    uint32_t slot = slot_of(request); /* where it is none, the rules for all hold */
    if (!caller) {
        deny(api, request, slot, "unknown-caller", error);
        return;
    }
    object_set_data(request, caller_ref(caller), (GDestroyNotify)caller_unref);
    if (access == API_ADMIN)
        api_permit_admin(api, request, slot, enter);
    else if (access == API_TOKEN)
        permit_token(api, request, caller, slot);
    else
        object_enter(request);
}

void
api_permit(struct object_request *request, int access, void *user)
{
    struct api *api = user;
    struct caller *peer = peer_of(api, request);
    if (peer)
        found_caller(peer, NULL, request);
    else
        caller_lookup(api->callers, object_sender(request), found_caller, request);
}
