/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/pump*.c with a real queue, and hub, hubkeyd and clocks played by the test: failure paths first.
 */
#include <config.h>

#include "client/failure.h"
#include "client/pump.h"
#include "client/retry.h"
#include "common/clock.h"
#include "common/error.h"
#include "tests/lib/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <jansson.h>

#define LOG_MAX 64

/* One request as the hub saw it. */
struct seen {
    char *body, *token, *url;
    size_t len, items; /* of a batch; 1 for a single one */
    char *types;       /* all headers, a line each */
};

struct world {
    struct scratch scratch;
    struct pump *pump;
    GArray *seen;             /* struct seen */
    const struct reply *plan; /* answers to the next requests; 204 after its end */
    size_t planned;
    bool replied;
    bool holding;      /* the hub takes its time */
    guint hold_at;     /* ... with the request of this number; 0: none */
    int64_t ahead_s;   /* the hub's clock is; it refuses tokens that have expired by it. 0: it looks at none */
    int64_t expires_s; /* the last token */
    int64_t dead_s;    /* tokens have expired so long ago when they come; 0: they have not */
    size_t refused;    /* tokens that had */
    size_t bad_len;    /* messages whose body is so long are refused with 413, alone or in a batch; 0: none */
    size_t carries;    /* bytes of a batch that the link carries in time; 0: any */
    uint32_t asked[LOG_MAX];
    size_t asks;
    uint32_t max_ttl_s;    /* the slot's */
    const GError *refusal; /* hubkeyd's answer, NULL: a token */
    bool same_token;
    const char *device;
    bool answered;
    uint64_t generation;
    unsigned news, reports;
    int32_t state, reason;
    unsigned troubles; /* with the queue, that were told */
    bool unclean;      /* the next pump is told that the last one was killed */
    uint64_t gone[7]; /* messages, by HUBKEY_GONE_* */
};

static void
op_send(const struct http_request *request, void *context)
{
    struct world *world = context;
    struct seen seen = { .body = g_memdup2(request->body, request->len),
                         .len = request->len,
                         .items = 1,
                         .token = g_strdup(request->token),
                         .url = g_strdup(request->url) };
    GString *headers = g_string_new(NULL);
    for (guint i = 0; i < request->headers->len; i++)
        g_string_append_printf(headers, "%s\n", (char *)request->headers->pdata[i]);
    seen.types = g_string_free(headers, FALSE);
    if (strstr(seen.types, "vnd.microsoft.iothub.json")) {
        json_t *array = json_loadb(seen.body, seen.len, 0, NULL);
        g_assert_true(json_is_array(array));
        seen.items = json_array_size(array);
        json_decref(array);
    }
    g_array_append_val(world->seen, seen);
    world->replied = true;
}

/* Whether the last request has a message of bad_len bytes. */
static bool
has_bad(struct world *world)
{
    struct seen *seen = &g_array_index(world->seen, struct seen, world->seen->len - 1);
    if (!world->bad_len)
        return false;
    if (seen->items == 1)
        return seen->len == world->bad_len;
    json_t *array = json_loadb(seen->body, seen->len, 0, NULL), *item;
    bool bad = false;
    size_t i;
    json_array_foreach(array, i, item)
    {
        gsize len;
        g_autofree guchar *body = g_base64_decode(json_string_value(json_object_get(item, "body")), &len);
        bad = bad || len == world->bad_len;
    }
    json_decref(array);
    return bad;
}

static bool
too_much(const struct world *world)
{
    const struct seen *seen = &g_array_index(world->seen, struct seen, world->seen->len - 1);
    return world->carries && seen->items > 1 && seen->len > world->carries;
}

static bool
op_take_reply(struct reply *reply, void *context)
{
    struct world *world = context;
    if (!world->replied || world->holding || world->seen->len == world->hold_at)
        return false;
    world->replied = false;
    reply_init(reply);
    reply->sent = true;
    reply->sends = 1;
    reply->status = 204;
    if (world->planned > 0) {
        *reply = *world->plan++;
        world->planned--;
    } else if (world->ahead_s && world->expires_s <= clock_wall_s() + world->ahead_s) {
        reply->status = 401;
        reply->from_hub = true;
        g_strlcpy(reply->code, "IotHubUnauthorizedAccess", sizeof reply->code);
        world->refused++;
    } else if (too_much(world)) {
        reply->status = 0;
        reply->failure = REPLY_TIMEOUT;
    } else if (has_bad(world)) {
        reply->status = 413;
        reply->from_hub = true;
        g_strlcpy(reply->code, "MessageTooLarge", sizeof reply->code);
    }
    if (world->ahead_s)
        reply->date_s = clock_wall_s() + world->ahead_s;
    return true;
}

static void
op_ask(uint32_t ttl_s, void *context)
{
    struct world *world = context;
    g_assert_cmpuint(world->asks, <, LOG_MAX);
    world->asked[world->asks++] = ttl_s;
    world->answered = true;
}

static bool
op_take_answer(struct bus_answer *answer, GError **error, void *context)
{
    struct world *world = context;
    if (!world->answered)
        return false;
    world->answered = false;
    if (world->refusal) {
        g_propagate_error(error, g_error_copy(world->refusal));
        return true;
    }
    uint32_t ttl_s = world->asked[world->asks - 1] ? world->asked[world->asks - 1] : 3600;
    if (ttl_s > world->max_ttl_s) {
        error_set(error, ERROR_INVALID_ARGUMENT, "ttl is above the slot's MaxTtl");
        return true;
    }
    *answer = (struct bus_answer){
        .generation = world->generation, .default_ttl_s = 3600, .max_ttl_s = world->max_ttl_s
    };
    answer->identity = identity_new();
    answer->identity->host = g_strdup("hub.azure-devices.net");
    answer->identity->device = g_strdup(world->device);
    answer->expires_s = world->expires_s = clock_wall_s() + (world->dead_s ? -world->dead_s : ttl_s);
    answer->token = world->same_token ? g_strdup_printf("token-%u", ttl_s)
                                      : g_strdup_printf("token-number-%zu", world->asks);
    return true;
}

static void
op_report(uint64_t generation, const char *tracking_id, void *context)
{
    struct world *world = context;
    g_assert_cmpuint(generation, ==, world->generation);
    world->reports++;
}

static unsigned
op_news(void *context)
{
    struct world *world = context;
    unsigned news = world->news;
    world->news = 0;
    return news;
}

static uint32_t
op_random(void)
{
    return UINT32_MAX; /* the longest of all delays */
}

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    struct world *world = user;
    world->troubles += reason == HUBKEY_REASON_QUEUE;
    world->state = state;
    world->reason = reason;
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    ((struct world *)user)->gone[how] += last - first + 1;
}

static void
on_log(int32_t level, const char *text, void *user)
{
    g_assert_null(strstr(text, "token-")); /* no secret in a log */
}

static void
on_identity(const struct identity *identity, void *user)
{
    g_assert_nonnull(identity->host);
}

static void
on_progress(void *user)
{
}

static void
start_pump(struct world *world, uint32_t per_minute)
{
    const struct pump_options options = { .max_requests_per_minute = per_minute, .unclean = world->unclean };
    const struct pump_ops ops = {
        op_send, op_take_reply, op_ask, op_take_answer, op_report, op_news, op_random, world
    };
    const struct pump_hooks hooks = { on_state, on_gone, on_log, on_identity, on_progress, world };
    world->pump = pump_new(world->scratch.queue, world->scratch.lock, &options, &ops, &hooks);
}

static void
clear_seen(gpointer data)
{
    struct seen *seen = data;
    g_free(seen->body);
    g_free(seen->token);
    g_free(seen->url);
    g_free(seen->types);
}

static struct world *
world_new(void)
{
    struct world *world = g_new0(struct world, 1);
    scratch_clock_start();
    scratch_open(&world->scratch);
    world->seen = g_array_new(FALSE, FALSE, sizeof(struct seen));
    g_array_set_clear_func(world->seen, clear_seen);
    world->device = "dev1";
    world->generation = 1;
    world->max_ttl_s = 86400;
    start_pump(world, UINT32_MAX);
    return world;
}

static void
world_free(struct world *world)
{
    pump_free(world->pump);
    scratch_counts(&world->scratch);
    scratch_close(&world->scratch);
    g_array_unref(world->seen);
    clock_set_source(NULL);
    g_free(world);
}

static void
post(struct world *world, size_t n)
{
    static const char *const texts[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    g_assert_cmpuint(n, <=, G_N_ELEMENTS(texts));
    scratch_post(&world->scratch, texts, n);
}

/* Steps until nothing happens any more; returns when it wants to go on. */
static int64_t
settle(struct world *world)
{
    int64_t until = 0;
    for (int i = 0; i < 1000; i++) {
        until = pump_step(world->pump);
        if (!world->replied && !world->answered)
            return until;
    }
    g_assert_not_reached();
}

/* Until a request is under way whose answer is held. */
static void
settle_until_held(struct world *world)
{
    g_assert_true(world->holding);
    g_assert_cmpint(pump_step(world->pump), ==, INT64_MAX);
    g_assert_true(world->replied);
}

static struct seen *
request(struct world *world, guint i)
{
    g_assert_cmpuint(i, <, world->seen->len);
    return &g_array_index(world->seen, struct seen, i);
}

static void
expect(struct world *world, guint requests, uint64_t delivered, uint64_t waiting, uint64_t dead)
{
    struct hubkey_counts counts = scratch_counts(&world->scratch);
    g_assert_cmpuint(world->seen->len, ==, requests);
    g_assert_cmpuint(counts.delivered, ==, delivered);
    g_assert_cmpuint(counts.waiting, ==, waiting);
    g_assert_cmpuint(counts.dead, ==, dead);
}

static struct reply
answer(int status, const char *code)
{
    struct reply reply;
    reply_init(&reply);
    reply.sent = true;
    reply.sends = 1;
    reply.status = status;
    reply.from_hub = code[0] != '\0';
    g_strlcpy(reply.code, code, sizeof reply.code);
    return reply;
}

static void
plan(struct world *world, const struct reply *replies, size_t n)
{
    world->plan = replies;
    world->planned = n;
}

/* ---- Plain sailing */

static void
test_single(void)
{
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    expect(world, 1, 1, 0, 0);
    struct seen *seen = request(world, 0);
    g_assert_cmpstr(seen->url, ==, "https://hub.azure-devices.net/devices/dev1/messages/events?api-version=2021-04-12");
    g_assert_cmpmem(seen->body, seen->len, "0", 1);
    g_assert_nonnull(strstr(seen->types, "Content-Type: application/octet-stream\n"));
    g_assert_nonnull(strstr(seen->types, "iothub-messageid: "));
    g_assert_nonnull(strstr(seen->types, "iothub-app-created: 1767268800000\n"));
    g_assert_nonnull(strstr(seen->types, "iothub-creation-time-utc: 2026-01-01T12:00:00.000Z\n"));
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    world_free(world);
}

static void
test_odd_device(void)
{
    struct world *world = world_new();
    world->device = "a%b#c?d+(e)";
    post(world, 1);
    settle(world);
    g_assert_nonnull(strstr(request(world, 0)->url, "/devices/a%25b%23c%3Fd%2B%28e%29/messages/"));
    world_free(world);
}

static void
test_backlog(void)
{
    struct world *world = world_new();
    post(world, 10);
    settle(world);
    expect(world, 1, 10, 0, 0);
    g_assert_cmpuint(request(world, 0)->items, ==, 10);
    g_assert_cmpuint(world->asks, ==, 1);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_DELIVERED], ==, 10);
    post(world, 1);
    settle(world);
    expect(world, 2, 11, 0, 0);
    g_assert_cmpuint(world->asks, ==, 1); /* the token is kept */
    world_free(world);
}

static void
test_pace(void)
{
    struct world *world = world_new();
    pump_free(world->pump);
    start_pump(world, 60); /* one a second */
    post(world, 10);
    settle(world);
    post(world, 10);
    int64_t until = settle(world);
    expect(world, 1, 10, 10, 0);
    g_assert_cmpint(until - scratch_clock_us(), >, 900000);
    scratch_clock_move(2);
    settle(world);
    expect(world, 2, 20, 0, 0);
    world_free(world);
}

static void
restart_pump(struct world *world)
{
    pump_free(world->pump);
    start_pump(world, UINT32_MAX);
}

/* A fleet that comes back from a power cut does not come back together; who waits for the messages need not wait. */
static void
test_reboot(void)
{
    struct world *world = world_new();
    scratch_clock_reboot("second");
    restart_pump(world);
    post(world, 1); /* nothing waited before */
    settle(world);
    expect(world, 1, 1, 0, 0);

    post(world, 3);
    restart_pump(world);
    int64_t until = settle(world);
    expect(world, 1, 1, 3, 0);
    g_assert_cmpuint(world->asks, ==, 1); /* hubkeyd is not asked either */
    g_assert_cmpint(until - scratch_clock_us(), >, 9900000); /* op_random gives the longest */
    g_assert_cmpint(until - scratch_clock_us(), <=, 10000000);
    scratch_clock_move(10);
    settle(world);
    expect(world, 2, 4, 0, 0);

    post(world, 3);
    restart_pump(world);
    settle(world);
    pump_hurry(world->pump);
    settle(world);
    expect(world, 3, 7, 0, 0);

    post(world, 3);
    scratch_clock_move(600);
    restart_pump(world); /* the program alone was started again */
    settle(world);
    expect(world, 4, 10, 0, 0);
    world_free(world);
}

/* ---- 401 */

static void
test_unauthorized_once(void)
{
    struct world *world = world_new();
    const struct reply replies[] = { answer(401, "IotHubUnauthorizedAccess") };
    post(world, 3);
    plan(world, replies, 1);
    settle(world);
    expect(world, 2, 3, 0, 0);
    g_assert_cmpuint(world->asks, ==, 2);
    g_assert_cmpmem(request(world, 0)->body, request(world, 0)->len, request(world, 1)->body, request(world, 1)->len);
    g_assert_cmpstr(request(world, 0)->token, !=, request(world, 1)->token);
    g_assert_cmpuint(world->reports, ==, 0);
    world_free(world);
}

/* Within the same second hubkeyd gives the same token again: another life makes another token. */
static void
test_unauthorized_same_token(void)
{
    struct world *world = world_new();
    const struct reply replies[] = { answer(401, "IotHubUnauthorizedAccess") };
    world->same_token = true;
    post(world, 1);
    plan(world, replies, 1);
    settle(world);
    expect(world, 2, 1, 0, 0);
    g_assert_cmpuint(world->asks, ==, 3);
    g_assert_cmpuint(world->asked[2], ==, 3602);
    g_assert_cmpstr(request(world, 1)->token, ==, "token-3602");
    world_free(world);
}

static void
test_unauthorized_for_good(void)
{
    struct world *world = world_new();
    const struct reply no = answer(401, "IotHubUnauthorizedAccess");
    const struct reply replies[] = { no, no, no, no };
    post(world, 5);
    plan(world, replies, 4);
    int64_t until = settle(world);
    expect(world, 2, 0, 5, 0); /* one refresh, one retry, no bisecting */
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_REJECTED);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_KEY);
    g_assert_cmpuint(world->reports, ==, 1);
    g_assert_cmpint(until - scratch_clock_us(), >=, 29999999);

    scratch_clock_move(31); /* the probe: the head alone, a fresh token, once */
    settle(world);
    expect(world, 3, 0, 5, 0);
    g_assert_cmpuint(request(world, 2)->items, ==, 1);
    g_assert_cmpuint(world->reports, ==, 1);

    scratch_clock_move(2); /* somebody mends the key: at once */
    world->news = BUS_INVALIDATED;
    world->generation = 2;
    world->planned = 0;
    settle(world);
    expect(world, 5, 5, 0, 0);
    g_assert_cmpuint(request(world, 3)->items, ==, 1);
    g_assert_cmpuint(request(world, 4)->items, ==, 4);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    world_free(world);
}

static void
test_unauthorized_slow_clock(void)
{
    struct world *world = world_new();
    struct reply no = answer(401, "IotHubUnauthorizedAccess");
    no.date_s = clock_wall_s() + 7200;
    const struct reply replies[] = { no, no };
    post(world, 1);
    plan(world, replies, 2);
    settle(world);
    expect(world, 3, 1, 0, 0);
    g_assert_cmpuint(world->asked[2], ==, 3600 + 7200);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    g_assert_cmpuint(world->reports, ==, 0);
    world_free(world);
}

static void
test_unauthorized_hopeless_clock(void)
{
    struct world *world = world_new();
    struct reply no = answer(401, "IotHubUnauthorizedAccess");
    no.date_s = clock_wall_s() + 365 * 86400;
    const struct reply replies[] = { no, no };
    post(world, 1);
    plan(world, replies, 2);
    settle(world);
    expect(world, 2, 0, 1, 0);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_REJECTED);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_CLOCK);
    world_free(world);
}

/* Once the clock is known to be slow no token is used longer than the hub takes it. */
static void
test_unauthorized_slow_clock_for_long(void)
{
    struct world *world = world_new();
    world->ahead_s = 7200;
    post(world, 1);
    settle(world);
    g_assert_cmpuint(world->refused, ==, 2);
    for (int minute = 0; minute < 3 * 60; minute++) {
        scratch_clock_move(60);
        post(world, 1);
        settle(world);
    }
    g_assert_cmpuint(world->refused, ==, 2);
    g_assert_cmpuint(world->asks, <, 3 + 5);
    g_assert_cmpuint(scratch_counts(&world->scratch).delivered, ==, 181);
    world_free(world);
}

/* Tokens that bridge a slow clock live longer than the slot allows from now on: shorter ones may do, too. */
static void
test_unauthorized_slow_clock_max_ttl(void)
{
    static const struct {
        uint32_t max_ttl_s;
        int32_t state, reason;
    } rows[] = {
        { 9000, HUBKEY_STATE_ONLINE, HUBKEY_REASON_NONE },
        { 5000, HUBKEY_STATE_REJECTED, HUBKEY_REASON_CLOCK },
        { 3000, HUBKEY_STATE_REJECTED, HUBKEY_REASON_SLOT }, /* not even the default, which hubkeyd would not allow */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct world *world = world_new();
        world->ahead_s = 7200;
        post(world, 1);
        settle(world);
        g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
        world->max_ttl_s = rows[i].max_ttl_s;
        scratch_clock_move(3600);
        post(world, 1);
        settle(world);
        g_assert_cmpint(world->state, ==, rows[i].state);
        g_assert_cmpint(world->reason, ==, rows[i].reason);
        g_assert_cmpuint(world->asks, <, 10);
        g_assert_cmpuint(world->seen->len, <, 8);
        world->max_ttl_s = 86400;
        scratch_clock_move(3600);
        settle(world);
        g_assert_cmpuint(scratch_counts(&world->scratch).delivered, ==, 2);
        world_free(world);
    }
}

/* ---- Trouble that passes */

static void
test_throttled(void)
{
    struct world *world = world_new();
    struct reply slow = answer(429, "ThrottlingException");
    slow.retry_after_s = 120;
    post(world, 2);
    plan(world, &slow, 1);
    int64_t until = settle(world);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_THROTTLED);
    g_assert_cmpint(until - scratch_clock_us(), ==, 120000000);
    pump_hurry(world->pump); /* the hub said when */
    settle(world);
    scratch_clock_move(119);
    settle(world);
    expect(world, 1, 0, 2, 0);
    scratch_clock_move(1);
    settle(world);
    expect(world, 2, 2, 0, 0);
    world_free(world);
}

static void
test_server_error(void)
{
    struct world *world = world_new();
    const struct reply replies[] = { answer(503, "ServerBusy"), answer(500, ""), answer(502, "") };
    struct pump_status status;
    post(world, 2);
    plan(world, replies, 3);
    int64_t until = settle(world);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_BACKING_OFF);
    g_assert_cmpint(until - scratch_clock_us(), <=, 1050000);
    pump_hurry(world->pump);
    settle(world);
    expect(world, 2, 0, 2, 0);
    pump_hurry(world->pump); /* not twice in five seconds */
    until = settle(world);
    expect(world, 2, 0, 2, 0);
    g_assert_cmpint(until - scratch_clock_us(), >, 1900000);
    scratch_clock_move(3);
    settle(world);
    scratch_clock_move(5);
    settle(world);
    expect(world, 4, 2, 0, 0);
    pump_get_status(world->pump, &status);
    g_assert_cmpuint(status.duplicates_possible, ==, 6);
    g_assert_cmpuint(status.requests_failed, ==, 3);
    world_free(world);
}

static void
test_broken(void)
{
    struct world *world = world_new();
    struct reply broken = answer(0, "");
    struct pump_status status;
    broken.failure = REPLY_BROKEN;
    post(world, 1);
    plan(world, &broken, 1);
    settle(world);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_OFFLINE);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_NETWORK);
    scratch_clock_move(2);
    settle(world);
    expect(world, 2, 1, 0, 0);
    pump_get_status(world->pump, &status);
    g_assert_cmpuint(status.duplicates_possible, ==, 1);
    /* The same id both times. */
    g_autofree char *id = g_strndup(strstr(request(world, 0)->types, "iothub-messageid"), 54);
    g_assert_nonnull(strstr(request(world, 1)->types, id));
    world_free(world);
}

static size_t
timeouts(struct world *world)
{
    struct pump_status status;
    pump_get_status(world->pump, &status);
    return status.requests_failed;
}

/* Too slow for a full batch in the time that a request has: smaller ones pass. Once it is faster, larger ones do. */
static void
test_slow_link(void)
{
    static const size_t carried[] = { 20000, 3000, SIZE_MAX };
    char text[1001] = { 0 };
    const char *texts[400];
    struct world *world = world_new();
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        texts[i] = text;
    for (size_t i = 0; i < G_N_ELEMENTS(carried); i++) {
        world->carries = carried[i];
        scratch_post(&world->scratch, texts, G_N_ELEMENTS(texts));
        for (int tries = 0; tries < 1000 && scratch_counts(&world->scratch).waiting > 0; tries++) {
            settle(world);
            scratch_clock_move(60);
        }
        g_assert_cmpuint(scratch_counts(&world->scratch).waiting, ==, 0);
    }
    g_assert_cmpuint(request(world, world->seen->len - 1)->len, >, 20000);
    world_free(world);
}

/* A message that goes alone and does not pass says nothing of batches. */
static void
test_slow_link_alone(void)
{
    static const struct reply late = { .failure = REPLY_TIMEOUT };
    char text[1001] = { 0 };
    const char *texts[100];
    struct world *world = world_new();
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        texts[i] = text;
    plan(world, &late, 1);
    post(world, 1);
    settle(world);
    g_assert_cmpuint(world->seen->len, ==, 1);
    scratch_post(&world->scratch, texts, G_N_ELEMENTS(texts));
    for (int tries = 0; tries < 1000 && scratch_counts(&world->scratch).waiting > 0; tries++) {
        scratch_clock_move(60);
        settle(world);
    }
    g_assert_cmpuint(scratch_counts(&world->scratch).waiting, ==, 0);
    g_assert_cmpuint(world->seen->len, <=, 3); /* not one more for each few of them */
    world_free(world);
}

/* Of a link that carries no more than it does, most of the time goes into what it carries. */
static void
test_slow_link_steady(void)
{
    char text[1001] = { 0 };
    const char *texts[1000];
    struct world *world = world_new();
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        texts[i] = text;
    world->carries = 50000;
    scratch_post(&world->scratch, texts, G_N_ELEMENTS(texts));
    while (scratch_counts(&world->scratch).waiting > 0) {
        settle(world);
        scratch_clock_move(60);
    }
    g_assert_cmpuint(timeouts(world), <=, 3 + world->seen->len / 6);
    world_free(world);
}

static void
test_quota(void)
{
    struct world *world = world_new();
    const struct reply quota = answer(403, "IotHubQuotaExceeded");
    post(world, 1);
    plan(world, &quota, 1);
    int64_t until = settle(world);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_QUOTA);
    g_assert_cmpint((until - scratch_clock_us()) / 1000000, >=, 12 * 3600); /* it is noon */
    g_assert_cmpint((until - scratch_clock_us()) / 1000000, <=, 12 * 3600 + 300);
    world_free(world);
}

/* The day of the hub counts, wherever this machine's clock stands. */
static void
test_quota_by_the_hub(void)
{
    static const int64_t hours[] = { -6, 6 };
    for (size_t i = 0; i < G_N_ELEMENTS(hours); i++) {
        struct world *world = world_new();
        struct reply quota = answer(403, "IotHubQuotaExceeded");
        quota.date_s = clock_wall_s() + hours[i] * 3600;
        post(world, 1);
        plan(world, &quota, 1);
        int64_t wait_s = (settle(world) - scratch_clock_us()) / 1000000;
        g_assert_cmpint(wait_s, >=, (12 - hours[i]) * 3600);
        g_assert_cmpint(wait_s, <=, (12 - hours[i]) * 3600 + 300);
        world_free(world);
    }
}

static void
test_suspend(void)
{
    struct world *world = world_new();
    const struct reply quota = answer(403, "IotHubQuotaExceeded");
    post(world, 1);
    plan(world, &quota, 1);
    settle(world);
    scratch_clock_suspend(12 * 3600 + 300);
    settle(world);
    expect(world, 2, 1, 0, 0);
    world_free(world);
}

/* ... that does not let us through to the hub. */
static void
test_proxy_refuses(void)
{
    struct world *world = world_new();
    struct reply proxy = answer(0, "");
    struct pump_status status;
    proxy.failure = REPLY_PROXY;
    proxy.sent = false;
    reply_set_text(&proxy, "it answered 407", strlen("it answered 407"));
    post(world, 1);
    plan(world, &proxy, 1);
    settle(world);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_OFFLINE);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_PROXY);
    pump_get_status(world->pump, &status);
    g_assert_nonnull(strstr(status.text, "407"));
    g_assert_cmpuint(status.duplicates_possible, ==, 0);
    world_free(world);
}

static void
test_proxy(void)
{
    static const int statuses[] = { 302, 400, 401, 403, 404, 407 };
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        struct world *world = world_new();
        const struct reply proxy = answer(statuses[i], "");
        post(world, 2);
        plan(world, &proxy, 1);
        settle(world);
        expect(world, 1, 0, 2, 0);
        g_assert_cmpint(world->state, ==, HUBKEY_STATE_OFFLINE);
        g_assert_cmpint(world->reason, ==, HUBKEY_REASON_PROXY);
        g_assert_cmpuint(world->asks, ==, 1);
        world_free(world);
    }
}

static void
test_rejections(void)
{
    static const struct {
        int status;
        const char *code;
        int32_t reason;
    } rows[] = {
        { 400, "InvalidProtocolVersion", HUBKEY_REASON_PROTOCOL },
        { 400, "NeverHeardOf", HUBKEY_REASON_PROTOCOL },
        { 403, "DeviceDisabled", HUBKEY_REASON_DEVICE },
        { 404, "DeviceNotFound", HUBKEY_REASON_DEVICE },
        { 403, "IotHubSuspended", HUBKEY_REASON_HOST },
        { 403, "DeviceMaximumQueueDepthExceeded", HUBKEY_REASON_PROTOCOL },
        { 403, "DeviceMaximumActiveFileUploadLimitExceeded", HUBKEY_REASON_PROTOCOL },
        { 403, "NeverHeardOf", HUBKEY_REASON_DEVICE },
        { 405, "", HUBKEY_REASON_PROTOCOL },
        { 415, "", HUBKEY_REASON_PROTOCOL },
        { 409, "Whatever", HUBKEY_REASON_PROTOCOL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct world *world = world_new();
        const struct reply no = answer(rows[i].status, rows[i].code);
        post(world, 3);
        plan(world, &no, 1);
        settle(world);
        expect(world, 1, 0, 3, 0);
        g_assert_cmpint(world->state, ==, HUBKEY_STATE_REJECTED);
        g_assert_cmpint(world->reason, ==, rows[i].reason);
        scratch_clock_move(31);
        settle(world);
        expect(world, 3, 3, 0, 0); /* the head as a probe, then the rest */
        g_assert_cmpuint(request(world, 1)->items, ==, 1);
        world_free(world);
    }
}

/* ---- Messages at fault */

static const char bad[] = "this one is bad";

static void
test_bisect(void)
{
    static const char *const texts[] = { "0", "1", "2", "3", "4", bad, "6", "7" };
    static const size_t sizes[] = { 1, 8, 4, 2, 1, 1, 2 };
    struct world *world = world_new();
    post(world, 1); /* proves that the circumstances are right */
    settle(world);
    world->bad_len = strlen(bad);
    scratch_post(&world->scratch, texts, G_N_ELEMENTS(texts));
    settle(world);
    /* 8 refused, 4 (left) accepted, 2 of the other 4 refused, 1 accepted, the bad one alone, the last 2. */
    expect(world, G_N_ELEMENTS(sizes), 8, 0, 1);
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++)
        g_assert_cmpuint(request(world, i)->items, ==, sizes[i]);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_DEAD], ==, 1);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_DELIVERED], ==, 8);
    g_assert_cmpint(queue_fate(world->scratch.queue, 7, NULL), ==, HUBKEY_GONE_DEAD);
    g_assert_cmpint(queue_fate(world->scratch.queue, 8, NULL), ==, HUBKEY_GONE_DELIVERED);
    world_free(world);
}

/* Others drop messages (drop-oldest) while the bad one is searched: the rest goes on. */
static void
test_bisect_dropped(void)
{
    static const char *const texts[] = { "0", "1", "2", "3", "4", bad, "6", "7" };
    struct world *world = world_new();
    g_autoptr(GError) error = NULL;
    post(world, 1);
    settle(world);
    world->bad_len = strlen(bad);
    scratch_post(&world->scratch, texts, G_N_ELEMENTS(texts));
    post(world, 2);
    world->hold_at = 3; /* all ten were refused, the left five are under way */
    pump_step(world->pump);
    g_assert_cmpuint(request(world, 2)->items, ==, 5);
    g_autoptr(GArray) dropped = scratch_drop(&world->scratch, 6, 5);
    g_assert_cmpuint(g_array_index(dropped, struct queue_run, 0).last, ==, 11);
    world->hold_at = 0;
    post(world, 3);
    settle(world);
    struct hubkey_counts counts = scratch_counts(&world->scratch);
    g_assert_cmpuint(counts.delivered, ==, 1 + 5 + 3);
    g_assert_cmpuint(counts.dropped, ==, 5);
    g_assert_cmpuint(counts.waiting, ==, 0);
    world_free(world);
}

/* While the hub is away, what comes to its time goes, and is told; the others are sent when it is back. */
static void
test_expired(void)
{
    struct world *world = world_new();
    struct reply away = { .failure = REPLY_CONNECT };
    world->plan = &away;
    world->planned = 1;
    post(world, 1);
    scratch_post_for(&world->scratch, "for a while", 3);
    scratch_post_for(&world->scratch, "for long", 3600);
    pump_step(world->pump);
    g_assert_cmpuint(scratch_counts(&world->scratch).waiting, ==, 3);
    scratch_clock_move(3);
    settle(world);
    struct hubkey_counts counts = scratch_counts(&world->scratch);
    g_assert_cmpuint(counts.delivered, ==, 2);
    g_assert_cmpuint(counts.dropped, ==, 1);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_EXPIRED], ==, 1);
    world_free(world);
}

/* Alone, and nothing accepted so far: kept until another message shows that it is the message. */
static void
test_suspect(void)
{
    static const char *const one[] = { bad };
    struct world *world = world_new();
    world->bad_len = strlen(bad);
    scratch_post(&world->scratch, one, 1);
    settle(world);
    expect(world, 1, 0, 1, 0);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_REJECTED);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_MESSAGES);
    post(world, 1);
    settle(world);
    expect(world, 2, 1, 0, 1);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    world_free(world);
}

/* The one that was kept aside is dropped before its fate is clear: it is no dead letter. */
static void
test_suspect_dropped(void)
{
    static const char *const one[] = { bad };
    struct world *world = world_new();
    world->bad_len = strlen(bad);
    scratch_post(&world->scratch, one, 1);
    settle(world);
    g_autoptr(GArray) dropped = scratch_drop(&world->scratch, 0, 1);
    post(world, 1);
    settle(world);
    expect(world, 2, 1, 0, 0);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_DEAD], ==, 0);
    world_free(world);
}

/* Whatever is sent is refused: nothing becomes a dead letter, however long it goes on. */
static void
test_all_refused(void)
{
    struct world *world = world_new();
    const struct reply no = answer(400, "ArgumentInvalid");
    struct reply replies[200];
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        replies[i] = no;
    post(world, 10);
    plan(world, replies, G_N_ELEMENTS(replies));
    for (int i = 0; i < 20; i++) {
        settle(world);
        g_assert_cmpint(world->state, ==, HUBKEY_STATE_REJECTED);
        g_assert_cmpint(world->reason, ==, HUBKEY_REASON_MESSAGES);
        scratch_clock_move(2000);
    }
    g_assert_cmpuint(world->seen->len, <, 100);
    g_assert_cmpuint(scratch_counts(&world->scratch).waiting, ==, 10);
    world->planned = 0;
    settle(world);
    g_assert_cmpuint(scratch_counts(&world->scratch).delivered, ==, 10);
    world_free(world);
}

/* Three in a row stop it even when others went well before; the fourth, good one shows that they were bad. */
static void
test_three_in_a_row(void)
{
    static const char *const texts[] = { bad, bad, bad };
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    world->bad_len = strlen(bad);
    scratch_post(&world->scratch, texts, 3);
    settle(world);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_MESSAGES);
    g_assert_cmpuint(scratch_counts(&world->scratch).dead, ==, 2);
    post(world, 2);
    scratch_clock_move(31);
    settle(world);
    struct hubkey_counts counts = scratch_counts(&world->scratch);
    g_assert_cmpuint(counts.dead, ==, 3);
    g_assert_cmpuint(counts.delivered, ==, 3);
    world_free(world);
}

/* ---- hubkeyd */

static void
test_refusals(void)
{
    static const struct {
        int code;
        int32_t state, reason;
    } rows[] = {
        { ERROR_NOT_AUTHORIZED, HUBKEY_STATE_REJECTED, HUBKEY_REASON_ACCESS },
        { ERROR_CLOCK_UNSET, HUBKEY_STATE_REJECTED, HUBKEY_REASON_CLOCK },
        { ERROR_NOT_PROVISIONED, HUBKEY_STATE_REJECTED, HUBKEY_REASON_SLOT },
        { ERROR_TAMPERED, HUBKEY_STATE_REJECTED, HUBKEY_REASON_SLOT },
        { ERROR_FOREIGN, HUBKEY_STATE_REJECTED, HUBKEY_REASON_SLOT },
        { ERROR_DAMAGED, HUBKEY_STATE_REJECTED, HUBKEY_REASON_SLOT },
        { ERROR_INVALID_ARGUMENT, HUBKEY_STATE_REJECTED, HUBKEY_REASON_SLOT },
        { ERROR_TPM_ABSENT, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_TPM },
        { ERROR_TPM_FAILED, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_TPM },
        { ERROR_BUSY, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_HUBKEYD },
        { ERROR_UNREACHABLE, HUBKEY_STATE_OFFLINE, HUBKEY_REASON_HUBKEYD },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct world *world = world_new();
        g_autoptr(GError) refusal = g_error_new(ERROR_DOMAIN, rows[i].code, "no");
        world->refusal = refusal;
        post(world, 1);
        settle(world);
        expect(world, 0, 0, 1, 0);
        g_assert_cmpint(world->state, ==, rows[i].state);
        g_assert_cmpint(world->reason, ==, rows[i].reason);
        world->refusal = NULL;
        scratch_clock_move(2);
        world->news = BUS_CHANGED;
        settle(world);
        expect(world, 1, 1, 0, 0);
        world_free(world);
    }
}

static void
test_early_renewal_fails(void)
{
    struct world *world = world_new();
    g_autoptr(GError) refusal = g_error_new(ERROR_DOMAIN, ERROR_TPM_ABSENT, "no");
    post(world, 1);
    settle(world);
    world->refusal = refusal;
    scratch_clock_move(3600 * 9 / 10); /* due, and still good */
    post(world, 1);
    settle(world);
    expect(world, 2, 2, 0, 0);
    g_assert_cmpuint(world->asks, ==, 2);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    scratch_clock_move(3600);
    post(world, 1);
    settle(world);
    expect(world, 2, 2, 1, 0);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_OFFLINE);
    world_free(world);
}

/* hubkeyd is asked again after a while, and then less and less often. */
static void
test_dead_on_arrival(void)
{
    struct world *world = world_new();
    world->dead_s = 10;
    post(world, 1);
    int64_t until = settle(world);
    expect(world, 0, 0, 1, 0);
    g_assert_cmpuint(world->asks, ==, 1);
    g_assert_cmpint(until, >, scratch_clock_us());
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_OFFLINE);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_HUBKEYD);
    for (int second = 0; second < 60; second++) {
        scratch_clock_move(1);
        settle(world);
    }
    g_assert_cmpuint(world->asks, <, 10);
    world->dead_s = 0;
    scratch_clock_move(31);
    settle(world);
    expect(world, 1, 1, 0, 0);
    world_free(world);
}

/* The wall clock is set back: boot time alone ends the token. */
static void
test_clock_set_back(void)
{
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    scratch_clock_move(3601);
    scratch_clock_set_wall(clock_wall_s() - 86400);
    post(world, 1);
    settle(world);
    expect(world, 2, 2, 0, 0);
    g_assert_cmpuint(world->asks, ==, 2);
    world_free(world);
}

/* A pause is as long as it is, and the order is that of the posts, whatever is done to the wall clock meanwhile. */
static void
test_clock_jumps(void)
{
    static const int64_t jumps[] = { 30 * 365 * 86400, -30 * 365 * 86400 };
    for (size_t i = 0; i < G_N_ELEMENTS(jumps); i++) {
        struct world *world = world_new();
        const struct reply busy = answer(503, "ServerBusy");
        int64_t wall_s = clock_wall_s();
        post(world, 2);
        plan(world, &busy, 1);
        int64_t until_us = settle(world);
        scratch_clock_set_wall(wall_s + jumps[i]);
        post(world, 2);
        g_assert_cmpint(settle(world), ==, until_us);
        expect(world, 1, 0, 4, 0);
        scratch_clock_set_wall(wall_s);
        post(world, 2);
        scratch_clock_move((until_us - scratch_clock_us()) / 1000000 + 1);
        settle(world);
        expect(world, 2, 6, 0, 0);
        g_assert_cmpuint(request(world, 1)->items, ==, 6);
        world_free(world);
    }
}

static void
test_invalidated(void)
{
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    world->news = BUS_INVALIDATED;
    post(world, 1);
    settle(world);
    expect(world, 2, 2, 0, 0);
    g_assert_cmpuint(world->asks, ==, 2);
    world_free(world);
}

static void
test_other_identity(void)
{
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    world->device = "dev2";
    world->generation = 2;
    world->news = BUS_INVALIDATED;
    post(world, 2);
    settle(world);
    expect(world, 1, 1, 2, 0);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_REJECTED);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_SLOT);
    for (int i = 0; i < 5; i++) {
        scratch_clock_move(2000);
        settle(world);
        expect(world, 1, 1, 2, 0);
    }
    struct pump_status status;
    pump_get_status(world->pump, &status);
    g_assert_nonnull(strstr(status.text, "hubkeyctl queue rebind"));
    world_free(world);
}

/* ---- The queue's own trouble */

static void
test_held(void)
{
    struct world *world = world_new();
    g_autoptr(GError) error = NULL;
    struct lock *other = lock_open(world->scratch.path, true, &error);
    g_assert_true(lock_try(other));
    post(world, 1);
    settle(world);
    expect(world, 0, 0, 1, 0);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_STOPPED);
    g_assert_cmpint(world->reason, ==, HUBKEY_REASON_HELD);
    lock_close(other);
    scratch_clock_move(2);
    settle(world);
    expect(world, 1, 1, 0, 0);
    world_free(world);
}

/* The disk takes nothing more, or again what it took before. */
static void
refuse_writes(bool refuse)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = refuse ? 1 : limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

/* The disk takes nothing more: what the hub has accepted is not sent again, and leaves the queue once the disk can. */
static void
test_disk_refuses(void)
{
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    post(world, 3);
    refuse_writes(true);
    settle(world);
    scratch_clock_move(100);
    settle(world);
    refuse_writes(false);
    expect(world, 2, 1, 3, 0);
    int64_t until = settle(world);
    g_assert_cmpint(until - scratch_clock_us(), <=, 1000000);
    scratch_clock_move(1);
    settle(world);
    expect(world, 2, 4, 0, 0); /* without another message */
    post(world, 1);
    settle(world);
    expect(world, 3, 5, 0, 0);
    g_assert_cmpuint(request(world, 2)->items, ==, 1);
    world_free(world);
}

/* What was delivered and is still there does not expire, and makes no room for others. */
static void
test_disk_refuses_expired(void)
{
    struct world *world = world_new();
    struct queue_state state;
    g_assert_true(queue_allow_drops(world->scratch.queue, NULL));
    scratch_post_for(&world->scratch, "for two seconds", 2);
    world->holding = true;
    settle_until_held(world);
    scratch_clock_move(2);
    world->holding = false;
    refuse_writes(true);
    settle(world);
    refuse_writes(false);
    settle(world);
    g_assert_true(queue_get_state(world->scratch.queue, &state, NULL));
    g_assert_cmpuint(state.claimed, ==, 1);
    scratch_clock_move(1);
    settle(world);
    expect(world, 1, 1, 0, 0);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_DELIVERED], ==, 1);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_EXPIRED], ==, 0);
    world_free(world);
}

/* A message that comes to its time and cannot be dropped holds up no other, and is not sent any more. */
static void
test_disk_refuses_to_drop(void)
{
    struct world *world = world_new();
    post(world, 1);
    settle(world);
    post(world, 2);
    scratch_post_for(&world->scratch, "for a second", 1);
    post(world, 2);
    scratch_clock_move(1);
    refuse_writes(true);
    settle(world);
    scratch_clock_move(100);
    int64_t until = settle(world);
    refuse_writes(false);
    g_assert_cmpint(until - scratch_clock_us(), <=, 1000000);
    expect(world, 3, 1, 5, 0);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_DELIVERED], ==, 5);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_EXPIRED], ==, 0);
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    scratch_clock_move(1);
    settle(world);
    expect(world, 3, 5, 0, 0);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_EXPIRED], ==, 1);
    world_free(world);
}

/* A message that is not what was stored: it is lost, the others go in their order, and so do those posted meanwhile. */
static void
test_damaged(void)
{
    struct world *world = world_new();
    struct queue_state state;
    post(world, 10);
    scratch_sql(&world->scratch, "UPDATE waiting SET body = CAST('x' AS BLOB) WHERE seq = 5");
    settle(world);
    expect(world, 1, 9, 0, 0);
    g_assert_cmpuint(request(world, 0)->items, ==, 9);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_LOST], ==, 1);
    g_assert_cmpuint(world->troubles, ==, 1); /* told, and over */
    g_assert_cmpint(world->state, ==, HUBKEY_STATE_ONLINE);
    g_assert_true(queue_get_state(world->scratch.queue, &state, NULL));
    g_assert_cmpuint(state.lost, ==, 1);
    g_assert_cmpuint(state.salvage, ==, 0);
    post(world, 2);
    settle(world);
    expect(world, 2, 11, 0, 0);
    world_free(world);
}

/* Damage where nothing has been read yet is found after a sender was killed, before it can spread. */
static void
test_damaged_unclean(void)
{
    struct queue_state state;
    for (int unclean = 0; unclean <= 1; unclean++) {
        struct world *world = world_new();
        post(world, 2); /* they lie on one page: none is asked for, and none given back */
        pump_free(world->pump);
        queue_close(g_steal_pointer(&world->scratch.queue));
        int fd = open(world->scratch.path, O_WRONLY | O_CLOEXEC);
        g_assert_cmpint(pwrite(fd, "\7", 1, 39), ==, 1); /* seven pages are said to be free, and there are none */
        close(fd);
        scratch_reopen(&world->scratch);
        world->unclean = unclean;
        start_pump(world, UINT32_MAX);
        settle(world);
        expect(world, 1, 2, 0, 0);
        g_assert_true(queue_get_state(world->scratch.queue, &state, NULL));
        g_assert_cmpuint(world->troubles, ==, unclean);
        g_assert_cmpuint(state.lost, ==, 0);
        world_free(world);
    }
}

/* What is under way when the file is replaced, and what was delivered before, is not sent once more. */
static void
test_damaged_in_flight(void)
{
    struct world *world = world_new();
    g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "it was found out elsewhere");
    post(world, 3);
    settle(world);
    post(world, 10);
    world->holding = true;
    settle_until_held(world);
    g_assert_true(queue_replace(world->scratch.queue, damage, NULL));
    post(world, 2);
    world->holding = false;
    settle(world);
    expect(world, 3, 15, 0, 0);
    g_assert_cmpuint(request(world, 2)->items, ==, 2);
    g_assert_cmpuint(world->gone[HUBKEY_GONE_LOST], ==, 0);
    world_free(world);
}

/* Numbers that the sender knows from before name other messages in the file that took the queue's place. What is posted
 * to that must be sent, whatever the damaged one's counters said of numbers. */
static void
check_posted_after_damage(const char *sql)
{
    struct world *world = world_new();
    g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "found");
    scratch_sql(&world->scratch, "UPDATE state SET last_seq = 5000000");
    post(world, 10);
    settle(world);
    expect(world, 1, 10, 0, 0);
    scratch_sql(&world->scratch, sql);
    g_assert_true(queue_replace(world->scratch.queue, damage, NULL));
    post(world, 3);
    settle(world);
    g_assert_cmpuint(world->seen->len, ==, 2);
    g_assert_cmpuint(request(world, 1)->items, ==, 3);
    g_assert_cmpuint(scratch_counts(&world->scratch).waiting, ==, 0);
    world_free(world);
}

static void
test_damaged_counters(void)
{
    check_posted_after_damage("UPDATE state SET removed = 77"); /* they do not add up: numbers begin below */
}

static void
test_damaged_counters_stale(void)
{
    check_posted_after_damage("UPDATE state SET last_seq = 5000007, accepted = 7, delivered = 7");
}

/* One message is delivered, and a second is at the hub, which will refuse it. */
static void
hold_refused(struct world *world)
{
    static struct reply large; /* the plan only points to it */
    large = answer(413, "MessageTooLarge");
    post(world, 1);
    settle(world);
    plan(world, &large, 1);
    post(world, 1);
    world->holding = true;
    settle_until_held(world);
}

static void
test_damaged_refused(void)
{
    struct world *world = world_new();
    g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "found");
    hold_refused(world);
    g_assert_true(queue_replace(world->scratch.queue, damage, NULL));
    world->holding = false;
    settle(world);
    expect(world, 3, 2, 0, 0); /* the hub took it the second time */
    world_free(world);
}

static void
test_removed(void)
{
    struct world *world = world_new();
    g_autofree char *wal = g_strconcat(world->scratch.path, "-wal", NULL);
    g_autofree char *shm = g_strconcat(world->scratch.path, "-shm", NULL);
    post(world, 10);
    settle(world);
    g_unlink(world->scratch.path);
    g_unlink(wal);
    g_unlink(shm);
    post(world, 3);
    settle(world);
    expect(world, 2, 3, 0, 0);
    g_assert_cmpuint(request(world, 1)->items, ==, 3);
    world_free(world);
}

/* The number of a message that is refused just then is another message's in the new file. */
static void
test_removed_refused(void)
{
    struct world *world = world_new();
    g_autofree char *wal = g_strconcat(world->scratch.path, "-wal", NULL);
    g_autofree char *shm = g_strconcat(world->scratch.path, "-shm", NULL);
    hold_refused(world);
    g_unlink(world->scratch.path);
    g_unlink(wal);
    g_unlink(shm);
    post(world, 3);
    world->holding = false;
    settle(world);
    expect(world, 3, 3, 0, 0);
    world_free(world);
}

/* Messages that may be in a request are not dropped; during a pause nothing is in one. */
static void
test_claim(void)
{
    struct world *world = world_new();
    g_autoptr(GError) error = NULL;
    const struct reply busy = answer(503, "ServerBusy");
    struct queue_state state;
    g_assert_true(queue_allow_drops(world->scratch.queue, &error));
    post(world, 3);
    plan(world, &busy, 1);
    world->holding = true;
    settle_until_held(world);
    g_assert_true(queue_get_state(world->scratch.queue, &state, &error));
    g_assert_cmpuint(state.claimed, ==, 3);
    world->holding = false;
    settle(world);
    g_assert_true(queue_get_state(world->scratch.queue, &state, &error));
    g_assert_cmpuint(state.claimed, ==, 0);
    world_free(world);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pump/single", test_single);
    g_test_add_func("/pump/odd-device", test_odd_device);
    g_test_add_func("/pump/backlog", test_backlog);
    g_test_add_func("/pump/pace", test_pace);
    g_test_add_func("/pump/reboot", test_reboot);
    g_test_add_func("/pump/unauthorized/once", test_unauthorized_once);
    g_test_add_func("/pump/unauthorized/same-token", test_unauthorized_same_token);
    g_test_add_func("/pump/unauthorized/for-good", test_unauthorized_for_good);
    g_test_add_func("/pump/unauthorized/slow-clock", test_unauthorized_slow_clock);
    g_test_add_func("/pump/unauthorized/hopeless-clock", test_unauthorized_hopeless_clock);
    g_test_add_func("/pump/unauthorized/slow-clock-for-long", test_unauthorized_slow_clock_for_long);
    g_test_add_func("/pump/unauthorized/slow-clock-max-ttl", test_unauthorized_slow_clock_max_ttl);
    g_test_add_func("/pump/throttled", test_throttled);
    g_test_add_func("/pump/server-error", test_server_error);
    g_test_add_func("/pump/broken", test_broken);
    g_test_add_func("/pump/slow-link", test_slow_link);
    g_test_add_func("/pump/slow-link/alone", test_slow_link_alone);
    g_test_add_func("/pump/slow-link/steady", test_slow_link_steady);
    g_test_add_func("/pump/quota", test_quota);
    g_test_add_func("/pump/quota-by-the-hub", test_quota_by_the_hub);
    g_test_add_func("/pump/suspend", test_suspend);
    g_test_add_func("/pump/proxy-refuses", test_proxy_refuses);
    g_test_add_func("/pump/proxy", test_proxy);
    g_test_add_func("/pump/rejections", test_rejections);
    g_test_add_func("/pump/bisect", test_bisect);
    g_test_add_func("/pump/bisect-dropped", test_bisect_dropped);
    g_test_add_func("/pump/expired", test_expired);
    g_test_add_func("/pump/suspect", test_suspect);
    g_test_add_func("/pump/suspect-dropped", test_suspect_dropped);
    g_test_add_func("/pump/all-refused", test_all_refused);
    g_test_add_func("/pump/three-in-a-row", test_three_in_a_row);
    g_test_add_func("/pump/refusals", test_refusals);
    g_test_add_func("/pump/early-renewal-fails", test_early_renewal_fails);
    g_test_add_func("/pump/dead-on-arrival", test_dead_on_arrival);
    g_test_add_func("/pump/clock-set-back", test_clock_set_back);
    g_test_add_func("/pump/clock-jumps", test_clock_jumps);
    g_test_add_func("/pump/invalidated", test_invalidated);
    g_test_add_func("/pump/other-identity", test_other_identity);
    g_test_add_func("/pump/held", test_held);
    g_test_add_func("/pump/disk-refuses", test_disk_refuses);
    g_test_add_func("/pump/disk-refuses/expired", test_disk_refuses_expired);
    g_test_add_func("/pump/disk-refuses/to-drop", test_disk_refuses_to_drop);
    g_test_add_func("/pump/claim", test_claim);
    g_test_add_func("/pump/damaged", test_damaged);
    g_test_add_func("/pump/damaged/unclean", test_damaged_unclean);
    g_test_add_func("/pump/damaged/in-flight", test_damaged_in_flight);
    g_test_add_func("/pump/damaged/counters", test_damaged_counters);
    g_test_add_func("/pump/damaged/counters-stale", test_damaged_counters_stale);
    g_test_add_func("/pump/damaged/refused", test_damaged_refused);
    g_test_add_func("/pump/removed", test_removed);
    g_test_add_func("/pump/removed/refused", test_removed_refused);
    return g_test_run();
}
