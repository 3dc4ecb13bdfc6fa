/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/api-token.h"
#include "daemon/access.h"
#include "daemon/api.h"
#include "daemon/clock-step.h"
#include "daemon/config.h"
#include "daemon/rate.h"
#include "daemon/sas.h"
#include "daemon/sharing.h"
#include "daemon/slot.h"
#include "dbus/caller.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>

#define TRACKING_ID_MAX 128 /* bytes of an IoT Hub tracking ID that are taken at all */

/* A request for a token that has been let in; in the room of the D-Bus request. */
struct asking {
    struct api *api;
    struct object_request *request;
    int64_t since_us;
    const char *scope; /* inside the request's message, or static */
    uint32_t slot, ttl;
    uint64_t generation; /* of the slot when the call came */
    bool connection_string;
    const char *rule;
};

static void
refuse(struct asking *asking, const GError *error)
{
    struct audit_record record = { .event = api_event_of(asking->request), .slot = asking->slot, .ttl = asking->ttl,
                                   .scope = asking->scope, .rule = asking->rule };
    api_refuse(asking->api, asking->request, &record, error);
}

/* HostName=H;DeviceId=D;SharedAccessSignature=TOKEN, as IoT Hub's SDKs read it. */
static char *
connection_string(const struct slot *slot, const char *token)
{
    const struct identity *identity = slot->identity;
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "HostName=%s;DeviceId=%s", identity->host, identity->device);
    if (identity->module)
        g_string_append_printf(text, ";ModuleId=%s", identity->module);
    if (identity->gateway)
        g_string_append_printf(text, ";GatewayHostName=%s", identity->gateway);
    g_string_append_printf(text, ";SharedAccessSignature=%s", token);
    return g_string_free(text, FALSE);
}

/* One that many are given is made into an answer once. */
static void
reply_shared(struct asking *asking, const struct sharing_answer *answer)
{
    dbus_uint64_t expires = answer->expires;
    if (!answer->beside->data)
        *answer->beside = (struct sharing_beside){
            object_answer_new(DBUS_TYPE_STRING, &answer->token, DBUS_TYPE_UINT64, &expires, DBUS_TYPE_INVALID),
            (GDestroyNotify)dbus_message_unref,
        };
    object_reply_copy(asking->request, answer->beside->data);
}

static void
reply_text(struct asking *asking, const struct sharing_answer *answer)
{
    dbus_uint64_t expires = answer->expires;
    g_autofree char *made = asking->connection_string ? connection_string(slots_get(asking->api->slots, asking->slot),
                                                                          answer->token) : NULL;
    const char *text = made ? made : answer->token;
    object_reply(asking->request, DBUS_TYPE_STRING, &text, DBUS_TYPE_UINT64, &expires, DBUS_TYPE_INVALID);
}

static void
reply_token(struct asking *asking, const struct sharing_answer *answer)
{
    struct api *api = asking->api;
    struct audit_record record = { .event = api_event_of(asking->request), .decision = "allowed", .slot = asking->slot,
                                   .ttl = asking->ttl, .scope = asking->scope, .rule = asking->rule,
                                   .token_id = answer->token_id };
    api_describe_caller(asking->request, &record);
    audit_write(&record);
    clock_step_note(api->clock_step, asking->slot, answer->expires);
    api->stats.tokens_issued++;
    api->stats.tokens_shared += answer->shared;
    stats_note_latency(&api->stats, clock_monotonic_us() - asking->since_us);
    if (answer->beside && !asking->connection_string)
        reply_shared(asking, answer);
    else
        reply_text(asking, answer);
}

/* A token of the key that was there when it was asked for is of no use, and belongs to another identity perhaps. */
static bool
check_unchanged(const struct asking *asking, GError **error)
{
    if (!slots_check_ready(asking->api->slots, asking->slot, error))
        return false;
    if (slots_get(asking->api->slots, asking->slot)->generation == asking->generation)
        return true;
    error_set(error, ERROR_BUSY, "slot %u was changed while its token was being made; retry in 0 ms", asking->slot);
    return false;
}

static bool
check_has_connection_string(const struct slot *slot, GError **error)
{
    if (!slot->identity->audience)
        return true;
    error_set(error, ERROR_UNSUPPORTED, "slot %u is for an Audience, which has no connection string; ask for a token",
              slot->number);
    return false;
}

static void
got_token(const struct sharing_answer *answer, void *user)
{
    struct asking *asking = user;
    g_autoptr(GError) changed = NULL;
    if (answer->error) {
        refuse(asking, answer->error);
    } else if (answer->token && !check_unchanged(asking, &changed)) {
        refuse(asking, changed);
    } else if (answer->token) {
        reply_token(asking, answer);
    } else {
        g_autoptr(GError) gone = NULL;
        error_set(&gone, ERROR_INTERNAL, "hubkeyd stopped waiting for this token");
        refuse(asking, gone);
    }
}

/* The grammar of the arguments, then what the rules of the slot allow. NotAuthorized has come before. */
static bool
check_request(struct asking *asking, GError **error)
{
    const struct access_rules *rules = config_rules(asking->api->config, asking->slot);
    if (!sas_check_scope(asking->scope, error))
        return false;
    if (!access_check_scope(rules, asking->scope)) {
        g_autofree char *text = access_explain_scope(asking->scope, asking->slot);
        g_set_error_literal(error, ERROR_DOMAIN, ERROR_NOT_AUTHORIZED, text);
        asking->rule = "Scopes";
        return false;
    }
    if (asking->ttl > rules->max_ttl) {
        error_set(error, ERROR_INVALID_ARGUMENT, "ttl: %u s is above MaxTtl of slot %u, which is %u s", asking->ttl,
                  asking->slot, rules->max_ttl);
        return false;
    }
    if (asking->ttl == 0)
        asking->ttl = rules->default_ttl;
    return true;
}

/* A clock that stands before this release was made is not set: its tokens would be dead on arrival. */
static bool
check_clock(GError **error)
{
    if (clock_wall_s() >= RELEASE_TIME)
        return true;
    error_set(error, ERROR_CLOCK_UNSET, "this machine's clock is not set: it stands before the day this version of "
              "hubkey was made; set it (timedatectl) and ask again");
    return false;
}

static bool
submit(struct asking *asking, GError **error)
{
    struct api *api = asking->api;
    const struct access_rules *rules = config_rules(api->config, asking->slot);
    const struct caller *caller = api_caller(asking->request);
    if (!check_clock(error) || !slots_check_ready(api->slots, asking->slot, error))
        return false;
    const struct slot *slot = slots_get(api->slots, asking->slot);
    if (asking->connection_string && !check_has_connection_string(slot, error))
        return false;
    asking->generation = slot->generation;
    if (!rate_take(api->rate, caller->uid, asking->slot, rules->requests_per_minute, error)) {
        asking->rule = "RequestsPerMinute";
        return false;
    }
    uint64_t expires = sas_expiry(clock_wall_s(), asking->ttl, api->config->token_granularity, rules->max_ttl);
    return sharing_request(api->sharing, slot, asking->scope, expires, caller->uid,
                           caller->name, got_token, asking, error);
}

static const char *
rule_of(struct api *api, struct object_request *request, uint32_t slot)
{
    const struct caller *caller = api_caller(request);
    const struct access_subject subject = { caller->uid, caller->groups, caller->n_groups };
    return access_check_subject(config_rules(api->config, slot), api->config->default_group, &subject).rule;
}

static struct asking *
begin(struct api *api, struct object_request *request)
{
    G_STATIC_ASSERT(sizeof(struct asking) <= OBJECT_ROOM_BYTES);
    struct asking *asking = object_room(request);
    asking->api = api;
    asking->request = request;
    asking->since_us = clock_monotonic_us();
    asking->slot = AUDIT_NO_SLOT;
    asking->scope = "";
    return asking;
}

static void
ask(struct asking *asking)
{
    g_autoptr(GError) error = NULL;
    if (api_slot_of_path(object_path(asking->request), &asking->slot, &error)) {
        asking->rule = rule_of(asking->api, asking->request, asking->slot);
        if (check_request(asking, &error) && submit(asking, &error))
            return;
    }
    refuse(asking, error);
}

void
api_token_get(struct object_request *request, void *user)
{
    struct asking *asking = begin(user, request);
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_STRING, &asking->scope, DBUS_TYPE_UINT32,
                          &asking->ttl, DBUS_TYPE_INVALID);
    ask(asking);
}

void
api_token_get_connection_string(struct object_request *request, void *user)
{
    struct asking *asking = begin(user, request);
    asking->connection_string = true;
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_UINT32, &asking->ttl, DBUS_TYPE_INVALID);
    ask(asking);
}

/* ---- rejected tokens ---- */

static bool
printable(const char *text)
{
    for (; *text; text++)
        if (!g_ascii_isgraph(*text) && *text != ' ')
            return false;
    return true;
}

static bool
check_report(struct api *api, uint32_t slot, uint64_t generation, const char *tracking_id, GError **error)
{
    const struct slot *known = slots_get(api->slots, slot);
    if (!known || known->state == SLOT_FOUND || known->generation == 0)
        return slots_check_ready(api->slots, slot, error); /* no token was ever made of it */
    if (generation < 1 || generation > known->generation) {
        error_set(error, ERROR_INVALID_ARGUMENT, "generation: slot %u has had generations 1 to %" G_GUINT64_FORMAT,
                  slot, known->generation);
        return false;
    }
    if (strlen(tracking_id) > TRACKING_ID_MAX || !printable(tracking_id)) {
        error_set(error, ERROR_INVALID_ARGUMENT, "tracking_id: at most %d printable ASCII characters", TRACKING_ID_MAX);
        return false;
    }
    return true;
}

void
api_token_report_rejected(struct object_request *request, void *user)
{
    struct api *api = user;
    struct audit_record record = { .event = api_event_of(request), .decision = "allowed", .slot = AUDIT_NO_SLOT };
    g_autoptr(GError) error = NULL;
    dbus_uint64_t generation = 0;
    const char *tracking_id = "";
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_UINT64, &generation, DBUS_TYPE_STRING, &tracking_id,
                          DBUS_TYPE_INVALID);
    if (!api_slot_of_path(object_path(request), &record.slot, &error) ||
        !check_report(api, record.slot, generation, tracking_id, &error)) {
        api_refuse(api, request, &record, error);
        return;
    }
    api_describe_caller(request, &record);
    record.rule = rule_of(api, request, record.slot);
    record.generation = generation;
    record.tracking_id = tracking_id;
    audit_write(&record);
    slots_doubt(api->slots, record.slot);
    object_reply(request, DBUS_TYPE_INVALID);
}
