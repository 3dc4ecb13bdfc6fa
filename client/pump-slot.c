/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/pump-internal.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

#define API_VERSION "2021-04-12"
#define OTHER_TRIES 3
#define RENEW_AGAIN_US 30000000 /* an early renewal failed, the token is still good: when to ask again */
#define NEWS_GAP_US 1000000     /* news from hubkeyd end a pause, but not more often than this */

/* ---- Asking */

static uint32_t
wanted_ttl(const struct pump *pump)
{
    uint32_t base = pump->options.token_ttl_s ? pump->options.token_ttl_s : pump->default_ttl_s;
    if (pump->refused && pump->other_tries > 0)
        return token_other_ttl(pump->token.ttl_s, pump->max_ttl_s, pump->other_tries - 1);
    if (pump->extra_ttl_s > 0 && base > 0)
        return (uint32_t)MIN(base + pump->extra_ttl_s, (int64_t)MAX(pump->max_ttl_s, base));
    return pump->options.token_ttl_s;
}

void
pump_ask(struct pump *pump)
{
    pump->stale = false;
    pump->phase = PUMP_ASKING;
    pump->last_try_us = clock_boot_us();
    pump->ops.ask(wanted_ttl(pump), pump->ops.context);
}

/* ---- Whom the queue belongs to */

static void
set_target(struct pump *pump, struct identity *identity)
{
    identity_free(pump->identity);
    g_free(pump->url);
    g_free(pump->gateway);
    pump->identity = identity;
    g_autofree char *device = text_percent(identity->device);
    g_autofree char *module = identity->module ? text_percent(identity->module) : NULL;
    pump->url = g_strconcat("https://", identity->host, "/devices/", device, module ? "/modules/" : "",
                            module ? module : "", "/messages/events?api-version=" API_VERSION, NULL);
    pump->gateway = identity->gateway ? g_strdup_printf("::%s:443", identity->gateway) : NULL;
}

static bool
same_owner(const struct identity *a, const struct identity *b)
{
    return g_strcmp0(a->host, b->host) == 0 && g_strcmp0(a->device, b->device) == 0 &&
           g_strcmp0(a->module, b->module) == 0;
}

bool
pump_check_owner(struct pump *pump)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(identity_auto) owner = queue_get_identity(pump->queue, &error);
    if (!error && !owner && queue_record_identity(pump->queue, pump->identity, false, &error))
        owner = queue_get_identity(pump->queue, &error);
    if (error) {
        pump_queue_trouble(pump, error);
        return false;
    }
    pump->owner_checked = owner && same_owner(owner, pump->identity);
    if (!owner || pump->owner_checked)
        return true;
    g_autofree char *theirs = identity_resource(owner), *ours = identity_resource(pump->identity);
    g_autofree char *text = g_strdup_printf(
        "the queue's messages belong to %s, but the slot is %s now: nothing is sent; give "
        "them to it with hubkeyctl queue rebind, or remove them with hubkeyctl queue drop",
        theirs, ours);
    g_clear_pointer(&pump->identity, identity_free);
    token_drop(&pump->token);
    pump_reject(pump, HUBKEY_REASON_SLOT, text);
    return false;
}

/* ---- Answers */

static void
on_refusal(struct pump *pump, const GError *error)
{
    int32_t reason = HUBKEY_REASON_HUBKEYD;
    bool rejected = true;
    switch (error->domain == ERROR_DOMAIN ? error->code : ERROR_INTERNAL) {
    case ERROR_NOT_AUTHORIZED:
        reason = HUBKEY_REASON_ACCESS;
        break;
    case ERROR_CLOCK_UNSET:
        reason = HUBKEY_REASON_CLOCK;
        break;
    case ERROR_TPM_ABSENT:
    case ERROR_TPM_FAILED:
        reason = HUBKEY_REASON_TPM;
        rejected = false;
        break;
    case ERROR_BUSY:
    case ERROR_UNREACHABLE:
    case ERROR_INTERNAL:
        rejected = false;
        break;
    default:
        reason = HUBKEY_REASON_SLOT;
    }
    if (rejected) {
        pump_reject(pump, reason, error->message);
    } else if (token_usable(&pump->token)) {
        pump->token.renew_boot_us = clock_boot_us() + RENEW_AGAIN_US;
    } else {
        pump_pause(pump, RETRY_HUBKEYD, retry_delay_ms(&pump->backoff, RETRY_HUBKEYD, 0));
        pump_show(pump, HUBKEY_STATE_OFFLINE, reason, error->message);
    }
}

static void
keep_token(struct pump *pump, const struct bus_answer *answer, uint32_t ttl_s)
{
    if (answer->generation != pump->token.generation)
        window_changed(&pump->window);
    token_set(&pump->token, answer->token, answer->expires_s, pump->extra_ttl_s, answer->generation,
              ttl_s ? ttl_s : answer->default_ttl_s, pump->ops.random());
    pump->default_ttl_s = answer->default_ttl_s;
    pump->max_ttl_s = answer->max_ttl_s;
    g_mutex_lock(&pump->mutex);
    pump->status.token_fetches++;
    g_mutex_unlock(&pump->mutex);
}

/* The slot's MaxTtl was lowered since it bridged our slow clock. What it allows now comes with the next token; what was
 * just worked out from that is not tried a second time. */
static bool
is_too_long(const struct pump *pump, const GError *error)
{
    return pump->extra_ttl_s > 0 && pump->auth != AUTH_LONGER &&
           g_error_matches(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
}

/* Asked for again at once, it might be so again. */
static void
on_dead_token(struct pump *pump)
{
    g_autofree char *text = g_strdup_printf("hubkeyd's token had expired when it came: by %" G_GINT64_FORMAT
                                            " s, where this machine's clock is %" G_GINT64_FORMAT
                                            " s behind the hub's; is the clock being set?",
                                            clock_wall_s() - pump->token.expires_s, pump->extra_ttl_s);
    token_drop(&pump->token);
    pump_pause(pump, RETRY_HUBKEYD, retry_delay_ms(&pump->backoff, RETRY_HUBKEYD, 0));
    pump_show(pump, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_HUBKEYD, text);
}

void
pump_on_answer(struct pump *pump, struct bus_answer *answer, const GError *error)
{
    pump->phase = PUMP_IDLE;
    if (error) {
        pump_forget_refused(pump);
        if (is_too_long(pump, error)) {
            pump->extra_ttl_s = 0;
            pump_ask(pump);
            return;
        }
        pump->auth = AUTH_UNTRIED;
        on_refusal(pump, error);
        return;
    }
    uint32_t asked = wanted_ttl(pump);
    keep_token(pump, answer, asked);
    if (!pump->identity || !identity_equal(pump->identity, answer->identity)) {
        set_target(pump, g_steal_pointer(&answer->identity));
        pump->owner_checked = false;
        pump->hooks.identity(pump->identity, pump->hooks.user);
    }
    /* Two tokens of the same second are one, and the hub has refused it. */
    bool same = pump->refused && strcmp(pump->refused, pump->token.text) == 0;
    if (pump->stale || (same && pump->other_tries < OTHER_TRIES)) {
        pump->other_tries += same;
        pump_ask(pump);
        return;
    }
    pump_forget_refused(pump);
    if (!token_usable(&pump->token)) {
        on_dead_token(pump);
        return;
    }
    pump->backoff.failures[RETRY_HUBKEYD] = 0;
    if (!pump->owner_checked)
        (void)pump_check_owner(pump);
}

/* ---- News */

void
pump_heed_news(struct pump *pump)
{
    unsigned news = pump->ops.news(pump->ops.context);
    if (news & (BUS_INVALIDATED | BUS_RESTARTED)) {
        if (pump->phase == PUMP_ASKING)
            pump->stale = pump->stale || (news & BUS_INVALIDATED) != 0;
        else
            token_drop(&pump->token);
        window_changed(&pump->window);
        pump->reported = 0;
    }
    if (news && (pump->pause == RETRY_PROBE || pump->pause == RETRY_HUBKEYD))
        pump->not_before_us = MIN(pump->not_before_us, MAX(pump->last_try_us + NEWS_GAP_US, clock_boot_us()));
}
