/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What libhubkey adds to the way to a hub that is 20 ms away (bench-link), with messages of 256 bytes, beside libcurl
 * alone on the same way:
 *
 *     raw-post    one message a POST over a kept-alive connection
 *     post-rtt    hubkey_client_post until the message is known to be delivered
 *     raw-drain   100 000 messages in batches made before, one request in flight: messages a second
 *     drain       as many out of a queue, until it is empty
 *     post-busy   not over the link: hubkey_client_post alone, while the sender never rests
 *
 * Runs in ./run sandbox; prints one row.
 */
#include <config.h>

#include "client/batch.h"
#include "tests/bench/disk.h"
#include "tests/bench/queues.h"
#include "tests/bench/timing.h"
#include "tests/lib/folder.h"

#include <err.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>
#include <glib.h>

#define BYTES 256
#define WARM_UP 5
#define POSTS 100
#define BUSY_POSTS 4000
#define DRAINED 100000
#define LIMIT_MS (120 * 1000)

static const char body[BYTES + 1] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "0123456789abcdef0123456789abcdef";
static char *far_hub; /* where to connect to reach the hub by the link */

static const char *
need(const char *name)
{
    const char *value = g_getenv(name);
    if (!value)
        errx(2, "%s is not set: run it in ./run sandbox", name);
    return value;
}

/* The link ends when its standard input does, which is when this process has gone. */
static void
start_link(void)
{
    const char *port = strrchr(need("HUBKEY_CONNECT_TO"), ':') + 1;
    const char *arguments[] = { "bench-link", port, NULL };
    g_autoptr(GError) error = NULL;
    int in, out;
    char line[16];
    if (!g_spawn_async_with_pipes(NULL, (char **)arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, &in, &out,
                                  NULL, &error))
        errx(1, "%s", error->message);
    ssize_t n = read(out, line, sizeof line - 1);
    if (n < 2)
        errx(1, "bench-link told no port");
    far_hub = g_strdup_printf("::127.0.0.1:%.*s", (int)n - 1, line);
}

/* ---- libcurl alone ---- */

struct bare {
    CURL *curl;
    struct curl_slist *headers, *connect_to;
};

static size_t
ignore(char *bytes, size_t size, size_t n, void *user)
{
    return size * n;
}

static void
bare_open(struct bare *bare)
{
    const char *host = need("HUBKEY_HUB_HOST");
    g_autofree char *device = g_uri_escape_string(need("HUBKEY_DEVICE_ID"), NULL, FALSE);
    g_autofree char *url =
        g_strdup_printf("https://%s/devices/%s/messages/events?api-version=2021-04-12", host, device);
    struct hubkey_error error;
    char *token;
    if (hubkey_token(0, NULL, 0, NULL, &token, NULL, &error) != 0)
        errx(1, "%s", error.text);
    g_autofree char *authorization = g_strconcat("Authorization: ", token, NULL);
    hubkey_free(token);
    bare->curl = curl_easy_init();
    bare->headers = curl_slist_append(curl_slist_append(NULL, authorization), "Expect:");
    bare->connect_to = curl_slist_append(NULL, far_hub);
    curl_easy_setopt(bare->curl, CURLOPT_URL, url);
    curl_easy_setopt(bare->curl, CURLOPT_CONNECT_TO, bare->connect_to);
    curl_easy_setopt(bare->curl, CURLOPT_CAINFO, need("HUBKEY_CA_FILE"));
    curl_easy_setopt(bare->curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(bare->curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(bare->curl, CURLOPT_TIMEOUT, 30L);
}

static void
bare_close(struct bare *bare)
{
    curl_easy_cleanup(bare->curl);
    curl_slist_free_all(bare->headers);
    curl_slist_free_all(bare->connect_to);
}

static void
bare_post(struct bare *bare, const void *bytes, size_t len)
{
    long status = 0;
    curl_easy_setopt(bare->curl, CURLOPT_HTTPHEADER, bare->headers);
    curl_easy_setopt(bare->curl, CURLOPT_POSTFIELDS, bytes);
    curl_easy_setopt(bare->curl, CURLOPT_POSTFIELDSIZE, (long)len);
    CURLcode code = curl_easy_perform(bare->curl);
    curl_easy_getinfo(bare->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != 204)
        errx(1, "not accepted: %s, status %ld", curl_easy_strerror(code), status);
}

static void
raw_post(const char *row)
{
    static int64_t samples[POSTS];
    struct bare bare;
    bare_open(&bare);
    for (size_t i = 0; i < WARM_UP; i++)
        bare_post(&bare, body, BYTES);
    for (size_t i = 0; i < POSTS; i++) {
        int64_t begun = timing_now_ns();
        bare_post(&bare, body, BYTES);
        samples[i] = timing_now_ns() - begun;
    }
    bare_close(&bare);
    timing_print(row, samples, POSTS);
}

/* As libhubkey makes them: the same sizes, the same number in each. */
static GPtrArray *
make_batches(void)
{
    GPtrArray *batches = g_ptr_array_new();
    struct batch *batch = batch_new();
    for (uint64_t i = 0; i < DRAINED; i++) {
        g_autofree char *properties = g_strdup_printf(
            "{\"iothub-messageid\":\"0192d5c0-0000-7000-8000-%012" G_GINT64_MODIFIER "x\",\"iothub-creation-time-utc\":"
            "\"2026-01-01T00:00:00.000Z\",\"iothub-app-created\":\"1767225600000\"}", i);
        struct batch_item item = { .seq = i + 1, .counted = BYTES + 100, .properties = properties,
                                   .properties_len = strlen(properties), .body = body, .len = BYTES };
        if (batch_add(batch, &item))
            continue;
        g_ptr_array_add(batches, batch);
        batch = batch_new();
        batch_add(batch, &item);
    }
    g_ptr_array_add(batches, batch);
    return batches;
}

static void
print_rate(const char *row, int64_t took_ns)
{
    printf("%s %.0f - msg/s\n", row, DRAINED * 1e9 / (double)took_ns);
}

static void
raw_drain(const char *row)
{
    g_autoptr(GPtrArray) batches = make_batches();
    struct bare bare;
    bare_open(&bare);
    bare.headers = curl_slist_append(bare.headers, "Content-Type: application/vnd.microsoft.iothub.json");
    int64_t begun = timing_now_ns();
    for (guint i = 0; i < batches->len; i++) {
        size_t len;
        const void *json = batch_body(batches->pdata[i], &len);
        bare_post(&bare, json, len);
    }
    print_rate(row, timing_now_ns() - begun);
    bare_close(&bare);
    g_ptr_array_set_free_func(batches, (GDestroyNotify)batch_free);
}

/* ---- libhubkey ---- */

static char *queue;

static hubkey_client *
open_client(const char *connect_to, uint32_t flags)
{
    struct hubkey_options options = { .size = sizeof options, .queue_path = queue, .connect_to = connect_to,
                                      .max_requests_per_minute = UINT32_MAX, .flags = flags };
    return queues_open(&options);
}

static void
close_client(hubkey_client *client)
{
    if (hubkey_client_close(client, LIMIT_MS) != 0)
        errx(1, "messages are left in the queue");
}

static uint64_t
post(hubkey_client *client)
{
    struct hubkey_message message = { .size = sizeof message, .body = body, .len = BYTES };
    struct hubkey_error error;
    uint64_t seq;
    if (hubkey_client_post(client, &message, 0, &seq, &error) != 0)
        errx(1, "%s", error.text);
    return seq;
}

static void
post_and_wait(hubkey_client *client)
{
    if (hubkey_client_wait_seq(client, post(client), LIMIT_MS) != 0)
        errx(1, "not delivered");
}

static void
post_rtt(const char *row)
{
    static int64_t samples[POSTS];
    hubkey_client *client = open_client(far_hub, 0);
    for (size_t i = 0; i < WARM_UP; i++)
        post_and_wait(client);
    for (size_t i = 0; i < POSTS; i++) {
        int64_t begun = timing_now_ns();
        post_and_wait(client);
        samples[i] = timing_now_ns() - begun;
    }
    close_client(client);
    timing_print(row, samples, POSTS);
}

static void
fill(void)
{
    hubkey_client *client = open_client(NULL, HUBKEY_FLAG_QUEUE_ONLY);
    queues_fill(client, body, BYTES, DRAINED);
    hubkey_client_close(client, 0);
}

static void
drain(const char *row)
{
    fill();
    int64_t begun = timing_now_ns();
    hubkey_client *client = open_client(far_hub, 0);
    struct hubkey_error error;
    if (hubkey_client_flush(client, LIMIT_MS, &error) != 0)
        errx(1, "%s", error.text);
    print_rate(row, timing_now_ns() - begun);
    close_client(client);
}

static void
post_busy(const char *row)
{
    static int64_t samples[BUSY_POSTS];
    hubkey_client *client = open_client(NULL, 0);
    post_and_wait(client);
    for (size_t i = 0; i < BUSY_POSTS; i++) {
        int64_t begun = timing_now_ns();
        post(client);
        samples[i] = timing_now_ns() - begun;
    }
    close_client(client);
    timing_print(row, samples, BUSY_POSTS);
}

static const struct {
    const char *name;
    void (*measure)(const char *row);
} rows[] = {
    { "raw-post", raw_post }, { "post-rtt", post_rtt }, { "raw-drain", raw_drain },
    { "drain", drain },       { "post-busy", post_busy },
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < G_N_ELEMENTS(rows); i++) {
        if (strcmp(argv[1], rows[i].name) != 0)
            continue;
        curl_global_init(CURL_GLOBAL_DEFAULT);
        start_link();
        char *folder = disk_folder();
        queue = g_build_filename(folder, "q", NULL);
        rows[i].measure(argv[1]);
        folder_remove(folder);
        return 0;
    }
    errx(2, "usage: bench-send raw-post|post-rtt|raw-drain|drain|post-busy");
}
