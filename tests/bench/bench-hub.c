/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * How many batched messages a second the test hub takes: one client, keep-alive, one batch in flight, 256-byte messages
 * with the properties that libhubkey gives them. Where and as whom comes from the sandbox's environment.
 */
#include <config.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>
#include <glib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#define BATCH_BYTES (255 * 1024 - 1)
#define MESSAGE_BYTES 256
#define ID_DIGITS 16
#define SECONDS_DEFAULT 3
#define SECONDS_MAX 600
#define WARM_UP_BATCHES 20

/* A batch whose message ids are numbers at known places, so that making the next one costs next to nothing. */
struct batch {
    GString *json;
    GArray *places; /* of gsize: where an id's digits begin */
    uint64_t next;
};

static void
add_message(struct batch *batch)
{
    uint8_t bytes[MESSAGE_BYTES];
    g_autofree char *body = NULL;
    gsize place;

    RAND_bytes(bytes, sizeof bytes);
    body = g_base64_encode(bytes, sizeof bytes);
    g_string_append_printf(batch->json, "%s{\"body\":\"%s\",\"properties\":{\"iothub-messageid\":\"bench-",
                           batch->places->len ? "," : "", body);
    place = batch->json->len;
    g_array_append_val(batch->places, place);
    g_string_append(batch->json, "0000000000000000\",\"iothub-creation-time-utc\":\"2026-01-01T00:00:00.000Z\","
                                 "\"iothub-app-created\":\"1767225600000\"}}");
}

static void
batch_init(struct batch *batch)
{
    gsize last;

    batch->json = g_string_new("[");
    batch->places = g_array_new(FALSE, FALSE, sizeof(gsize));
    RAND_bytes((unsigned char *)&batch->next, sizeof batch->next);
    do {
        last = batch->json->len;
        add_message(batch);
    } while (batch->json->len < BATCH_BYTES);
    g_string_truncate(batch->json, last);
    g_array_set_size(batch->places, batch->places->len - 1);
    g_string_append_c(batch->json, ']');
}

static void
batch_clear(struct batch *batch)
{
    g_string_free(batch->json, TRUE);
    g_array_unref(batch->places);
}

static void
batch_renumber(struct batch *batch)
{
    static const char digits[] = "0123456789abcdef";

    for (guint i = 0; i < batch->places->len; i++) {
        char *at = batch->json->str + g_array_index(batch->places, gsize, i);
        uint64_t number = batch->next++;
        for (int d = ID_DIGITS; d-- > 0; number >>= 4)
            at[d] = digits[number & 15];
    }
}

static const char *
need(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value) {
        fprintf(stderr, "bench-hub: %s is not set: run it in ./run sandbox\n", name);
        exit(2);
    }
    return value;
}

/* SharedAccessSignature for the device, one hour. */
static char *
make_token(const char *host, const char *device)
{
    g_autofree char *resource = g_strdup_printf("%s/devices/%s", host, device);
    g_autofree char *sr = g_uri_escape_string(resource, NULL, FALSE);
    g_autofree char *text = g_strdup_printf("%s\n%" PRId64, sr, (int64_t)time(NULL) + 3600);
    g_autofree char *signature = NULL, *sig = NULL;
    g_autofree guchar *key = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    gsize key_len;

    key = g_base64_decode(need("HUBKEY_DEVICE_KEY"), &key_len);
    HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), digest, &len);
    signature = g_base64_encode(digest, len);
    sig = g_uri_escape_string(signature, NULL, FALSE);
    return g_strdup_printf("SharedAccessSignature sr=%s&sig=%s&se=%s", sr, sig, strchr(text, '\n') + 1);
}

struct client {
    CURL *curl;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
};

static void
client_open(struct client *client)
{
    const char *host = need("HUBKEY_HUB_HOST"), *device = need("HUBKEY_DEVICE_ID");
    g_autofree char *id = g_uri_escape_string(device, NULL, FALSE);
    g_autofree char *url = g_strdup_printf("https://%s/devices/%s/messages/events?api-version=2021-04-12", host, id);
    g_autofree char *token = make_token(host, device);
    g_autofree char *authorization = g_strconcat("Authorization: ", token, NULL);

    client->curl = curl_easy_init();
    client->headers = curl_slist_append(NULL, authorization);
    client->headers = curl_slist_append(client->headers, "Content-Type: application/vnd.microsoft.iothub.json");
    client->headers = curl_slist_append(client->headers, "Expect:");
    client->connect_to = curl_slist_append(NULL, need("HUBKEY_CONNECT_TO"));
    curl_easy_setopt(client->curl, CURLOPT_URL, url);
    curl_easy_setopt(client->curl, CURLOPT_CONNECT_TO, client->connect_to);
    curl_easy_setopt(client->curl, CURLOPT_CAINFO, need("HUBKEY_CA_FILE"));
    curl_easy_setopt(client->curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(client->curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, 30L);
}

static void
client_close(struct client *client)
{
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->headers);
    curl_slist_free_all(client->connect_to);
}

/* How long the batch took, in µs. */
static int64_t
send_batch(const struct client *client, struct batch *batch)
{
    const int64_t start = g_get_monotonic_time();
    CURLcode code;
    long status = 0;

    batch_renumber(batch);
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE, (long)batch->json->len);
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, batch->json->str);
    code = curl_easy_perform(client->curl);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != 204) {
        fprintf(stderr, "bench-hub: a batch was not accepted: %s, status %ld\n", curl_easy_strerror(code), status);
        exit(1);
    }
    return g_get_monotonic_time() - start;
}

static gint
compare(gconstpointer a, gconstpointer b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void
measure(const struct client *client, struct batch *batch, int seconds)
{
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(int64_t));
    const int64_t start = g_get_monotonic_time();
    int64_t now;

    do {
        const int64_t took = send_batch(client, batch);
        g_array_append_val(times, took);
        now = g_get_monotonic_time();
    } while (now - start < (int64_t)seconds * G_USEC_PER_SEC);
    g_array_sort(times, compare);
    printf("hub %.0f - msg/s\n", (double)times->len * batch->places->len * G_USEC_PER_SEC / (double)(now - start));
    fprintf(stderr, "bench-hub: %u batches of %u messages, %zu bytes; p50 %" PRId64 " us, p99 %" PRId64 " us\n",
            times->len, batch->places->len, batch->json->len, g_array_index(times, int64_t, times->len / 2),
            g_array_index(times, int64_t, times->len * 99 / 100));
}

int
main(int argc, char **argv)
{
    const int seconds = argc > 2 ? atoi(argv[2]) : SECONDS_DEFAULT;
    struct client client;
    struct batch batch;

    if (argc < 2 || argc > 3 || strcmp(argv[1], "hub") != 0 || seconds < 1 || seconds > SECONDS_MAX) {
        fprintf(stderr, "usage: bench-hub hub [SECONDS]    prints: hub MSGS_PER_SECOND - msg/s\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client_open(&client);
    batch_init(&batch);
    for (int i = 0; i < WARM_UP_BATCHES; i++)
        send_batch(&client, &batch);
    measure(&client, &batch, seconds);
    batch_clear(&batch);
    client_close(&client);
    curl_global_cleanup();
    return 0;
}
