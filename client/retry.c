/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/retry.h"
#include "client/hubkey.h"

#include <string.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define QUOTA_SPREAD_MS (5 * 60 * 1000)

/* IoT Hub's error codes by number and by the name in iothub-errorcode; the hub sends one or the other. */
enum meaning { ABOUT_MESSAGE = 1, ABOUT_PROTOCOL, ABOUT_DEVICE, ABOUT_HOST, ABOUT_QUOTA };

static const struct {
    int number;
    const char *name;
    enum meaning meaning;
} codes[] = {
    { 400004, "ArgumentInvalid", ABOUT_MESSAGE },
    { 400005, "ArgumentNull", ABOUT_MESSAGE },
    { 400006, "IotHubFormatError", ABOUT_MESSAGE },
    { 400012, "DeserializationError", ABOUT_MESSAGE },
    { 400103, "InvalidContentEncodingOrType", ABOUT_MESSAGE },
    { 400001, "InvalidProtocolVersion", ABOUT_PROTOCOL },
    { 401001, "IotHubNotFound", ABOUT_HOST },
    { 403001, "IotHubSuspended", ABOUT_HOST },
    { 403002, "IotHubQuotaExceeded", ABOUT_QUOTA },
    { 403004, "DeviceMaximumQueueDepthExceeded", ABOUT_PROTOCOL }, /* not an answer to telemetry */
    { 403006, "DeviceMaximumActiveFileUploadLimitExceeded", ABOUT_PROTOCOL },
    { 403010, NULL, ABOUT_HOST }, /* the hub's tier does not do this */
    { 403012, "DeviceDisabled", ABOUT_DEVICE },
    { 404001, "DeviceNotFound", ABOUT_DEVICE },
    { 404010, "ModuleNotFound", ABOUT_DEVICE },
};

static enum meaning
meaning_of(const struct reply *reply)
{
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (reply->number == codes[i].number ||
            (codes[i].name && g_ascii_strcasecmp(reply->code, codes[i].name) == 0))
            return codes[i].meaning;
    return 0;
}

static void
set(struct retry_verdict *verdict, enum retry_action action, enum retry_family family, int32_t state, int32_t reason)
{
    verdict->action = action;
    verdict->family = family;
    verdict->state = state;
    verdict->reason = reason;
}

static void
reject(struct retry_verdict *verdict, int32_t reason)
{
    set(verdict, RETRY_REJECTED, RETRY_PROBE, HUBKEY_STATE_REJECTED, reason);
}

static void
judge_failure(const struct reply *reply, struct retry_verdict *verdict)
{
    set(verdict, RETRY_LATER, RETRY_NETWORK, HUBKEY_STATE_OFFLINE,
        reply->failure == REPLY_TLS     ? HUBKEY_REASON_TLS
        : reply->failure == REPLY_PROXY ? HUBKEY_REASON_PROXY
                                        : HUBKEY_REASON_NETWORK);
    verdict->maybe_delivered = reply->sent && reply->failure != REPLY_TLS && reply->failure != REPLY_CONNECT &&
                               reply->failure != REPLY_PROXY;
    g_snprintf(verdict->text, sizeof verdict->text, "%s: %s",
               reply->failure == REPLY_TLS       ? "the hub's certificate is not trusted"
               : reply->failure == REPLY_PROXY   ? "the HTTP proxy lets nothing through"
               : reply->failure == REPLY_CONNECT ? "no connection to the hub"
               : reply->failure == REPLY_TIMEOUT ? "the hub did not answer in time"
                                                 : "the connection to the hub broke",
               reply->text);
}

static void
judge_client_error(const struct reply *reply, struct retry_verdict *verdict)
{
    enum meaning meaning = meaning_of(reply);
    if (reply->status == 401)
        set(verdict, RETRY_AUTH, RETRY_PROBE, HUBKEY_STATE_REJECTED, HUBKEY_REASON_KEY);
    else if (reply->status == 400 && meaning == ABOUT_MESSAGE)
        set(verdict, RETRY_SPLIT, RETRY_PROBE, HUBKEY_STATE_REJECTED, HUBKEY_REASON_MESSAGES);
    else if (meaning == ABOUT_QUOTA)
        set(verdict, RETRY_LATER, RETRY_QUOTA, HUBKEY_STATE_QUOTA, HUBKEY_REASON_NONE);
    else if (meaning == ABOUT_HOST)
        reject(verdict, HUBKEY_REASON_HOST);
    else if (meaning == ABOUT_PROTOCOL)
        reject(verdict, HUBKEY_REASON_PROTOCOL);
    else if (meaning == ABOUT_DEVICE || reply->status == 403 || reply->status == 404)
        reject(verdict, HUBKEY_REASON_DEVICE);
    else
        reject(verdict, HUBKEY_REASON_PROTOCOL);
}

static void
describe(const struct reply *reply, struct retry_verdict *verdict)
{
    const char *who = reply->from_hub ? "the hub" : "a server";
    size_t n = (size_t)g_snprintf(verdict->text, sizeof verdict->text, "%s answered %d", who, reply->status);
    const struct {
        const char *before, *text;
    } more[] = { { " ", reply->code }, { ": ", reply->text }, { ", tracking id ", reply->tracking } };
    for (size_t i = 0; i < G_N_ELEMENTS(more); i++)
        if (more[i].text[0] && n < sizeof verdict->text)
            n += (size_t)g_snprintf(verdict->text + n, sizeof verdict->text - n, "%s%s", more[i].before, more[i].text);
}

void
retry_judge(const struct reply *reply, struct retry_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    if (reply->failure != REPLY_OK || reply->status < 200) {
        judge_failure(reply, verdict);
        return;
    }
    describe(reply, verdict);
    if (reply->status < 300 && !reply->html) {
        set(verdict, RETRY_DELIVERED, RETRY_NETWORK, HUBKEY_STATE_ONLINE, HUBKEY_REASON_NONE);
        verdict->text[0] = '\0';
    } else if (reply->status >= 500) {
        set(verdict, RETRY_LATER, RETRY_SERVER, HUBKEY_STATE_BACKING_OFF, HUBKEY_REASON_NONE);
        verdict->maybe_delivered = true; /* 500008 and 504 say nothing about what happened behind them */
    } else if (reply->status == 429) {
        set(verdict, RETRY_LATER, RETRY_THROTTLE, HUBKEY_STATE_THROTTLED, HUBKEY_REASON_NONE);
    } else if (reply->status == 413) {
        /* Also from a proxy with a limit of its own: smaller requests pass it. */
        set(verdict, RETRY_SPLIT, RETRY_PROBE, HUBKEY_STATE_REJECTED, HUBKEY_REASON_MESSAGES);
    } else if (!reply->from_hub && reply->status != 405 && reply->status != 415) {
        /* A proxy, a captive portal, a redirect: not the hub's word on anything. */
        set(verdict, RETRY_LATER, RETRY_NETWORK, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_PROXY);
        g_strlcat(verdict->text, " without a word of IoT Hub: a proxy or portal is in between", sizeof verdict->text);
    } else {
        judge_client_error(reply, verdict);
    }
}

int32_t
retry_auth_reason(const struct reply *reply)
{
    enum meaning meaning = meaning_of(reply);
    return meaning == ABOUT_HOST     ? HUBKEY_REASON_HOST
           : meaning == ABOUT_DEVICE ? HUBKEY_REASON_DEVICE
                                     : HUBKEY_REASON_KEY;
}

/* Wait at least floor, plus a random part of base * 2^n, which stops growing at cap. */
static const struct {
    int64_t floor_ms, base_ms, cap_ms;
} families[RETRY_FAMILIES] = {
    [RETRY_NETWORK] = { 50, 1000, 5 * 60 * 1000 },
    [RETRY_SERVER] = { 50, 1000, 5 * 60 * 1000 },
    [RETRY_THROTTLE] = { 10000, 10000, 5 * 60 * 1000 }, /* 429003's text asks for ten seconds */
    [RETRY_QUOTA] = { 0, 60000, 5 * 60 * 1000 },
    [RETRY_HUBKEYD] = { 100, 500, 30000 }, /* on this machine: nobody to stampede */
    [RETRY_PROBE] = { 30000, 30000, 30 * 60 * 1000 },
    [RETRY_START] = { 0, 10000, 10000 },
};

static int64_t
part(const struct retry_backoff *backoff, int64_t of)
{
    return (int64_t)((double)backoff->random() / 4294967296.0 * (double)of);
}

int64_t
retry_delay_ms(struct retry_backoff *backoff, enum retry_family family, int64_t retry_after_s)
{
    unsigned n = MIN(backoff->failures[family], 20);
    backoff->failures[family]++;
    int64_t ceiling = MIN(families[family].base_ms << n, families[family].cap_ms);
    int64_t delay = part(backoff, ceiling);
    if (family == RETRY_PROBE)
        delay = MAX(delay, families[family].floor_ms); /* the first probe comes after 30 s exactly */
    else
        delay += families[family].floor_ms;
    return MAX(delay, retry_after_s * 1000);
}

int64_t
retry_quota_delay_ms(const struct retry_backoff *backoff, int64_t now_ms)
{
    return DAY_MS - ((now_ms % DAY_MS) + DAY_MS) % DAY_MS + part(backoff, QUOTA_SPREAD_MS);
}

void
retry_success(struct retry_backoff *backoff)
{
    memset(backoff->failures, 0, sizeof backoff->failures);
}
