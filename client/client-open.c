/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/client-internal.h"
#include "client/failure.h"
#include "client/place.h"
#include "client/sized.h"
#include "common/random.h"
#include "dbus/names.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MIN offsetof(struct hubkey_options, max_age_s) /* the first published form */
#define MAX_BYTES (UINT64_C(1) << 30)
#define MIN_FREE_BYTES (UINT64_C(64) << 20)
#define REQUESTS_PER_MINUTE 600
#define CONNECT_TIMEOUT_MS 15000
#define REQUEST_TIMEOUT_MS 60000
#define TIMEOUT_MAX_MS (60 * 60 * 1000)

/* ---- Options */

/* NULL and, where allowed by the environment, an empty variable mean: not given. */
static const char *
given_or_environment(const char *given, const char *variable)
{
    const char *value = given ? given : secure_getenv(variable);
    return value && value[0] ? value : NULL;
}

static bool
check_connect_to(const char *text, GError **error)
{
    int colons = 0;
    for (const char *c = text; c && *c; c++)
        colons += *c == ':';
    if (!text || colons >= 3)
        return true;
    failure_set(error, HUBKEY_E_INVALID,
                "connect_to must be HOST:PORT:TO-HOST:TO-PORT, as in ::gateway.example:8443; it has %d colons", colons);
    return false;
}

static bool
check_options(const struct hubkey_options *options, GError **error)
{
    const char *fault = NULL;
    if (options->slot > NAMES_SLOT_MAX)
        fault = "slot must be 0 to 65535";
    else if (options->policy > HUBKEY_POLICY_DROP_OLDEST)
        fault = "policy must be one of HUBKEY_POLICY_*";
    else if (options->max_age_s > HUBKEY_TTL_MAX_S)
        fault = "max_age_s must be a hundred years at most";
    else if (options->flags & ~(HUBKEY_FLAG_QUEUE_ONLY | HUBKEY_FLAG_MUST_SEND))
        fault = "flags has bits that this libhubkey does not know";
    else if (options->flags == (HUBKEY_FLAG_QUEUE_ONLY | HUBKEY_FLAG_MUST_SEND))
        fault = "flags must not be both HUBKEY_FLAG_QUEUE_ONLY and HUBKEY_FLAG_MUST_SEND";
    else if (options->connect_timeout_ms > TIMEOUT_MAX_MS || options->request_timeout_ms > TIMEOUT_MAX_MS)
        fault = "connect_timeout_ms and request_timeout_ms must be an hour at most";
    if (fault) {
        failure_set(error, HUBKEY_E_INVALID, "%s", fault);
        return false;
    }
    if (!check_connect_to(options->connect_to, error))
        return false;
    if (options->ca_file && access(options->ca_file, R_OK) != 0) {
        failure_set(error, HUBKEY_E_INVALID, "ca_file %s cannot be read: %s", options->ca_file, g_strerror(errno));
        return false;
    }
    return true;
}

/* Reads the caller's options, fills in the environment and the defaults. */
static bool
read_options(const struct hubkey_options *given, struct hubkey_options *options, GError **error)
{
    *options = (struct hubkey_options){ 0 };
    if (!sized_read("options", given, options, sizeof *options, OPTIONS_MIN, error))
        return false;
    options->connect_to = given_or_environment(options->connect_to, "HUBKEY_CONNECT_TO");
    options->ca_file = given_or_environment(options->ca_file, "HUBKEY_CA_FILE");
    if (!check_options(options, error))
        return false;
    options->max_messages = options->max_messages ? options->max_messages : UINT64_MAX;
    options->max_bytes = options->max_bytes ? options->max_bytes : MAX_BYTES;
    options->min_free_bytes = options->min_free_bytes == HUBKEY_UNLIMITED ? 0
                              : options->min_free_bytes                   ? options->min_free_bytes
                                                                          : MIN_FREE_BYTES;
    options->max_requests_per_minute = options->max_requests_per_minute ? options->max_requests_per_minute
                                                                        : REQUESTS_PER_MINUTE;
    options->connect_timeout_ms = options->connect_timeout_ms ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    options->request_timeout_ms = options->request_timeout_ms ? options->request_timeout_ms : REQUEST_TIMEOUT_MS;
    return true;
}

/* ---- The pump's world, real */

static void
op_send(const struct http_request *request, void *context)
{
    struct hubkey_client *client = context;
    http_start(client->http, request);
    http_work(client->http); /* on its way before the next batch is made */
}

static bool
op_take_reply(struct reply *reply, void *context)
{
    return http_take(((struct hubkey_client *)context)->http, reply);
}

static void
op_ask(uint32_t ttl_s, void *context)
{
    bus_ask(((struct hubkey_client *)context)->bus, ttl_s);
}

static bool
op_take_answer(struct bus_answer *answer, GError **error, void *context)
{
    return bus_take(((struct hubkey_client *)context)->bus, answer, error);
}

static void
op_report_rejected(uint64_t generation, const char *tracking_id, void *context)
{
    bus_report_rejected(((struct hubkey_client *)context)->bus, generation, tracking_id);
}

static unsigned
op_news(void *context)
{
    return bus_news(((struct hubkey_client *)context)->bus);
}

/* To spread requests in time: GLib's are good enough where the kernel has none. */
static uint32_t
op_random(void)
{
    uint32_t number;
    return random_fill(&number, sizeof number) ? number : g_random_int();
}

/* ---- Who is told */

static void
on_progress(void *user)
{
    struct hubkey_client *client = user;
    g_mutex_lock(&client->mutex);
    client->turn++;
    g_cond_broadcast(&client->progress);
    g_mutex_unlock(&client->mutex);
    commit_room(client->commit);
}

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    events_state(((struct hubkey_client *)user)->events, state, reason, text);
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    events_gone(((struct hubkey_client *)user)->events, first, last, how, text);
}

static void
on_log(int32_t level, const char *text, void *user)
{
    events_log(((struct hubkey_client *)user)->events, level, "%s", text);
}

static void
on_identity(const struct identity *identity, void *user)
{
    commit_set_identity(((struct hubkey_client *)user)->commit, identity);
}

static void
on_posted(void *user)
{
    struct hubkey_client *client = user;
    if (client->has_thread && g_atomic_int_get(&client->hungry))
        http_wake(client->http);
}

static void
on_dropped(uint64_t first, uint64_t last, int how, void *user)
{
    struct hubkey_client *client = user;
    events_gone(client->events, first, last, how,
                how == HUBKEY_GONE_EXPIRED ? "their time was over" : "the queue was full");
    on_progress(client);
}

/* Who sends tells the rest. */
static void
on_damaged(const char *text, void *user)
{
    client_tell_damage(user, text);
}

/* ---- Putting together */

static bool
open_queue(struct hubkey_client *client, const struct hubkey_options *options, GError **error)
{
    g_autofree char *chosen = options->queue_path ? g_strdup(options->queue_path) : place_default(options->slot, error);
    client->path = chosen ? place_prepare(chosen, true, error) : NULL;
    client->lock = client->path ? lock_open(client->path, true, error) : NULL;
    if (!client->lock || ((options->flags & HUBKEY_FLAG_MUST_SEND) && !lock_take(client->lock, error)))
        return false;
    client->writer = queue_open(client->path, client->lock, &client->gate, error);
    client->sender = client->writer ? queue_open(client->path, client->lock, &client->gate, error) : NULL;
    client->reader = client->sender ? queue_open(client->path, client->lock, &client->gate, error) : NULL;
    if (client->sender)
        queue_tidy_later(client->sender);
    client->found = client->writer ? queue_take_found(client->writer) : NULL;
    return client->reader && (options->policy != HUBKEY_POLICY_DROP_OLDEST || queue_allow_drops(client->writer, error));
}

/* The last word of who sent before was not that he ended. */
static bool
ended_badly(const char *path)
{
    struct pump_status status;
    int32_t pid;
    return state_file_read(path, &status, &pid) && status.state != HUBKEY_STATE_STOPPED;
}

static bool
make_sender(struct hubkey_client *client, const struct hubkey_options *options, GError **error)
{
    const struct http_options http = { .connect_to = options->connect_to,
                                       .ca_file = options->ca_file,
                                       .connect_timeout_ms = options->connect_timeout_ms,
                                       .request_timeout_ms = options->request_timeout_ms };
    const struct pump_options pump = { .token_ttl_s = options->token_ttl_s,
                                       .max_requests_per_minute = options->max_requests_per_minute,
                                       .unclean = ended_badly(client->path) };
    const struct pump_ops ops = { op_send, op_take_reply, op_ask, op_take_answer, op_report_rejected,
                                  op_news, op_random,     client };
    const struct pump_hooks hooks = { on_state, on_gone, on_log, on_identity, on_progress, client };
    client->http = http_new(&http, error);
    if (!client->http)
        return false;
    client->bus = bus_new(options->slot, options->socket_path);
    client->state_file = state_file_new(client->path);
    client->pump = pump_new(client->sender, client->lock, &pump, &ops, &hooks);
    return true;
}

/* With every signal blocked: they are the host program's, and its own threads' to handle. */
static bool
start_thread(struct hubkey_client *client, GError **error)
{
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int result = pthread_create(&client->thread, NULL, client_thread, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        failure_set(error, HUBKEY_E_SYSTEM, "no thread to send from: %s", g_strerror(result));
        return false;
    }
    (void)pthread_setname_np(client->thread, "hubkey");
    client->has_thread = true;
    return true;
}

static bool
put_together(struct hubkey_client *client, const struct hubkey_options *options, GError **error)
{
    const struct commit_limits limits = { options->max_messages, options->max_bytes, options->min_free_bytes,
                                          options->policy };
    const struct commit_hooks hooks = { on_posted, on_dropped, on_damaged, client };
    client->events = events_new(error);
    if (!client->events || !open_queue(client, options, error))
        return false;
    client->commit = commit_new(client->writer, client->path, client->lock, &limits, &hooks);
    if (options->flags & HUBKEY_FLAG_QUEUE_ONLY)
        return true;
    return make_sender(client, options, error) && start_thread(client, error);
}

int
hubkey_client_open(const struct hubkey_options *given, hubkey_client **out, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct hubkey_options options;
    if (!out)
        return failure_now(error, HUBKEY_E_INVALID, "client is NULL");
    *out = NULL;
    if (!read_options(given, &options, &problem))
        return failure_export(problem, 0, error);

    struct hubkey_client *client = g_new0(struct hubkey_client, 1);
    client->pid = getpid();
    client->max_age_s = options.max_age_s;
    guard_init(&client->gate);
    guard_init(&client->reading);
    guard_init(&client->sending);
    g_mutex_init(&client->dispatch_mutex);
    g_mutex_init(&client->mutex);
    g_cond_init(&client->progress);
    if (put_together(client, &options, &problem))
        *out = client;
    else
        client_free(client);
    return failure_export(problem, 0, error);
}

/* ---- Taking apart */

void
client_stop(struct hubkey_client *client)
{
    if (client->commit)
        commit_shut(client->commit);
    if (!client->has_thread)
        return;
    g_atomic_int_set(&client->stopping, 1);
    http_wake(client->http);
    pthread_join(client->thread, NULL);
    client->has_thread = false;
}

void
client_free(struct hubkey_client *client)
{
    client_stop(client);
    pump_free(client->pump);
    state_file_free(client->state_file);
    bus_free(client->bus);
    http_free(client->http);
    commit_free(client->commit);
    queue_close(client->reader);
    queue_close(client->sender);
    queue_close(client->writer);
    lock_close(client->lock);
    events_free(client->events);
    g_cond_clear(&client->progress);
    g_mutex_clear(&client->mutex);
    g_mutex_clear(&client->dispatch_mutex);
    guard_clear(&client->sending);
    guard_clear(&client->reading);
    guard_clear(&client->gate);
    g_free(client->found);
    g_free(client->path);
    g_free(client);
}
