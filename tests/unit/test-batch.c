/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 * client/batch.c and window.c: two limits at once, and which messages come next.
 */
#include <config.h>

#include "client/batch.h"
#include "client/window.h"

#include <string.h>

#include <jansson.h>

static const char properties[] = "{\"iothub-messageid\":\"i\",\"iothub-app-q\":\"\\\"\"}";

static bool
add(struct batch *batch, uint64_t seq, const void *body, size_t len)
{
    const struct batch_item item = { .seq = seq,
                                     .created_ms = 1,
                                     .counted = (uint32_t)len + 3,
                                     .properties = properties,
                                     .properties_len = sizeof properties - 1,
                                     .body = body,
                                     .len = len };
    return batch_add(batch, &item);
}

static void
test_single(void)
{
    struct batch *batch = batch_new();
    size_t len;
    g_assert_true(add(batch, 7, "\0\1\2", 3));
    g_assert_cmpmem(batch_body(batch, &len), 3, "\0\1\2", 3);
    g_assert_cmpuint(len, ==, 3);
    g_autoptr(GPtrArray) headers = batch_headers(batch);
    g_assert_cmpuint(headers->len, ==, 3);
    g_assert_cmpstr(headers->pdata[1], ==, "iothub-messageid: i");
    g_assert_cmpstr(headers->pdata[2], ==, "iothub-app-q: \"");
    g_assert_false(add(batch, 8, "x", 1)); /* the body was made */
    batch_free(batch);
}

static void
test_empty_body(void)
{
    struct batch *batch = batch_new();
    size_t len = 1;
    g_assert_true(add(batch, 1, NULL, 0));
    g_assert_nonnull(batch_body(batch, &len));
    g_assert_cmpuint(len, ==, 0);
    batch_reset(batch);
    g_assert_true(add(batch, 1, NULL, 0));
    g_assert_true(add(batch, 2, NULL, 0));
    json_t *array = json_loads(batch_body(batch, &len), 0, NULL);
    g_assert_cmpuint(json_array_size(array), ==, 2);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(array, 0), "body")), ==, "");
    json_decref(array);
    batch_free(batch);
}

/* Every length around base64's groups comes out as it went in. */
static void
test_bodies(void)
{
    struct batch *batch = batch_new();
    uint8_t bytes[64];
    size_t len;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 200);
    for (uint64_t i = 1; i <= sizeof bytes; i++)
        g_assert_true(add(batch, i, bytes, i));
    const char *text = batch_body(batch, &len);
    json_t *array = json_loadb(text, len, 0, NULL), *item;
    size_t i;
    g_assert_cmpuint(json_array_size(array), ==, sizeof bytes);
    json_array_foreach(array, i, item)
    {
        gsize n;
        g_autofree guchar *body = g_base64_decode(json_string_value(json_object_get(item, "body")), &n);
        g_assert_cmpmem(body, n, bytes, i + 1);
        g_assert_cmpstr(json_string_value(json_object_get(json_object_get(item, "properties"), "iothub-app-q")), ==,
                        "\"");
    }
    json_decref(array);
    batch_free(batch);
}

/* The JSON's own size is at the limit to the byte: one byte more does not fit. */
static void
test_json_limit(void)
{
    g_autofree char *large = g_malloc0(BATCH_MAX);
    struct batch *batch = batch_new();
    size_t len, frame = sizeof "{\"body\":\"\",\"properties\":}" - 1 + sizeof properties - 1;
    size_t first = 90000 / 3 * 3, room = BATCH_MAX - 3 - 2 * frame - first / 3 * 4; /* brackets and comma */
    g_assert_true(add(batch, 1, large, first));
    g_assert_false(add(batch, 2, large, room / 4 * 3 + 1));
    batch_reset(batch);
    g_assert_true(add(batch, 1, large, first));
    g_assert_true(add(batch, 2, large, room / 4 * 3));
    batch_body(batch, &len);
    g_assert_cmpuint(len, <=, BATCH_MAX);
    g_assert_cmpuint(len, >, BATCH_MAX - 4);
    batch_free(batch);
}

/* Too large for any batch in base64, and still sent: alone. */
static void
test_large(void)
{
    g_autofree char *large = g_malloc0(BATCH_MAX);
    struct batch *batch = batch_new();
    size_t len;
    g_assert_true(add(batch, 1, large, BATCH_MAX - 3));
    g_assert_false(add(batch, 2, "x", 1));
    batch_body(batch, &len);
    g_assert_cmpuint(len, ==, BATCH_MAX - 3);
    g_assert_cmpuint(batch->n, ==, 1);
    batch_free(batch);
}

static void
test_runs(void)
{
    static const uint64_t numbers[] = { 3, 4, 5, 9, 11, 12 };
    static const uint64_t runs[][2] = { { 3, 5 }, { 9, 9 }, { 11, 12 } };
    struct batch *batch = batch_new();
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        g_assert_true(add(batch, numbers[i], "x", 1));
    g_assert_cmpuint(batch->runs->len, ==, G_N_ELEMENTS(runs));
    for (guint i = 0; i < G_N_ELEMENTS(runs); i++) {
        g_assert_cmpuint(g_array_index(batch->runs, struct batch_run, i).first, ==, runs[i][0]);
        g_assert_cmpuint(g_array_index(batch->runs, struct batch_run, i).last, ==, runs[i][1]);
    }
    g_assert_cmpuint(batch->first, ==, 3);
    g_assert_cmpuint(batch->last, ==, 12);
    batch_free(batch);
}

static void
test_damaged(void)
{
    static const char damaged[] = "{\"iothub-messageid\":";
    const struct batch_item item = {
        .seq = 1, .properties = damaged, .properties_len = sizeof damaged - 1, .body = "x", .len = 1
    };
    struct batch *batch = batch_new();
    g_assert_true(batch_add(batch, &item));
    g_assert_null(batch_headers(batch));
    batch_free(batch);
}

/* Plays the hub with one bad message among n, for every place of it: the others are accepted in order, in no more than
 * a handful of requests. */
static void
test_halves(void)
{
    for (uint64_t n = 2; n <= 40; n++)
        for (uint64_t bad = 1; bad <= n; bad++) {
            struct window window = { .proven = true };
            uint64_t last, buried = 0;
            int requests = 0;
            while (window.after < n) {
                uint64_t take = MIN(window_limit(&window, &last), n - window.after);
                uint64_t first = window.after + 1;
                last = MIN(last, first + take - 1);
                g_assert_cmpint(++requests, <, 20);
                if (bad < first || bad > last) {
                    window_accepted(&window, last, last - first + 1);
                } else if (first == last) {
                    g_assert_cmpint(window_refused(&window, first, 413, ""), ==, WINDOW_BURY);
                    buried = first;
                } else {
                    window_split(&window, last, last - first + 1);
                }
            }
            g_assert_cmpuint(buried, ==, bad);
        }
}

static void
test_suspects(void)
{
    struct window window = { 0 };
    uint64_t last;
    g_assert_cmpint(window_refused(&window, 1, 400, "no"), ==, WINDOW_SKIP);
    g_assert_cmpuint(window_limit(&window, &last), ==, 1);
    g_assert_cmpint(window_refused(&window, 2, 400, "no"), ==, WINDOW_SKIP);
    g_assert_cmpint(window_refused(&window, 3, 400, "no"), ==, WINDOW_STOP);
    window_probe(&window);
    g_assert_cmpuint(window.after, ==, 0);
    g_assert_cmpint(window_refused(&window, 1, 400, "no"), ==, WINDOW_SKIP);
    window_accepted(&window, 2, 1);
    g_assert_cmpuint(window.n_suspects, ==, 1); /* the caller buries them */
    g_assert_cmpuint(window.suspects[0].seq, ==, 1);
    window.n_suspects = 0;
    g_assert_cmpint(window_refused(&window, 3, 400, "no"), ==, WINDOW_BURY);
    window_changed(&window);
    g_assert_cmpint(window_refused(&window, 4, 400, "no"), ==, WINDOW_SKIP);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/batch/single", test_single);
    g_test_add_func("/batch/empty-body", test_empty_body);
    g_test_add_func("/batch/bodies", test_bodies);
    g_test_add_func("/batch/json-limit", test_json_limit);
    g_test_add_func("/batch/large", test_large);
    g_test_add_func("/batch/runs", test_runs);
    g_test_add_func("/batch/damaged", test_damaged);
    g_test_add_func("/window/halves", test_halves);
    g_test_add_func("/window/suspects", test_suspects);
    return g_test_run();
}
