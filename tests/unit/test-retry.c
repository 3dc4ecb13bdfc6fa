/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 * client/retry.c, reply.c and token.c: what an answer means, how long to wait, how long a token lives.
 */
#include <config.h>

#include "client/hubkey.h"
#include "client/reply.h"
#include "client/retry.h"
#include "client/token.h"
#include "common/clock.h"
#include "tests/lib/scratch.h"

#include <string.h>

/* ---- Replies */

static void
header(struct reply *reply, const char *line)
{
    reply_header(reply, line, strlen(line));
}

static void
test_reply_headers(void)
{
    struct reply reply;
    reply_init(&reply);
    header(&reply, "HTTP/1.1 100 Continue\r\n");
    header(&reply, "iothub-errorcode: Forgotten\r\n");
    header(&reply, "HTTP/1.1 429 Too Many Requests\r\n");
    g_assert_false(reply.from_hub);
    header(&reply, "IoTHub-ErrorCode:   ThrottlingException  \r\n");
    header(&reply, "RETRY-AFTER: 7\r\n");
    header(&reply, "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n");
    header(&reply, "x-ms-request-id: 1234-\x01\x02\r\n");
    header(&reply, "no colon at all\r\n");
    header(&reply, "\r\n");
    g_assert_cmpint(reply.status, ==, 429);
    g_assert_cmpstr(reply.code, ==, "ThrottlingException");
    g_assert_true(reply.from_hub);
    g_assert_cmpint(reply_retry_after(&reply, 0), ==, 7);
    g_assert_cmpint(reply.date_s, ==, 1700000000);
    g_assert_cmpstr(reply.tracking, ==, "1234-  ");
}

/* A server that repeats what it was asked gets our token into no text of ours. */
static void
test_reply_echo(void)
{
    static const char *const tokens[] = {
        "SharedAccessSignature sr=h%2Fdevices%2Fd&sig=c2VjcmV0&se=1", "sharedaccesssignature sr=h&sig=c2VjcmV0",
        "sr=h&SIG=c2VjcmV0&se=1", "sr%3Dh%26sig%3Dc2VjcmV0",  "HostName=h;SharedAccessKey=c2VjcmV0",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tokens); i++) {
        struct reply reply;
        reply_init(&reply);
        g_autofree char *code = g_strconcat("iothub-errorcode: No ", tokens[i], NULL);
        g_autofree char *id = g_strconcat("x-ms-request-id: 12 ", tokens[i], NULL);
        g_autofree char *older = g_strdup_printf("{\"Message\":\"ErrorCode:No;refused %s\",\"ExceptionMessage\":"
                                                 "\"Tracking ID:7 %s-TimeStamp:x\"}", tokens[i], tokens[i]);
        header(&reply, code);
        header(&reply, id);
        reply_body(&reply, older, strlen(older));
        g_assert_true(g_str_has_prefix(reply.text, "refused "));
        g_assert_null(strstr(reply.text, "c2Vj"));
        g_assert_true(g_str_has_prefix(reply.code, "No "));
        g_assert_null(strstr(reply.code, "c2Vj"));
        g_assert_null(strstr(reply.tracking, "c2Vj"));
    }
}

static void
test_reply_retry_after(void)
{
    struct reply reply;
    static const char *const nonsense[] = { "soon", "", "1.5", "7 seconds", "Tue, 99 Nov 2023 22:13:20 GMT" };
    for (size_t i = 0; i < G_N_ELEMENTS(nonsense); i++) {
        g_autofree char *line = g_strconcat("Retry-After: ", nonsense[i], NULL);
        reply_init(&reply);
        header(&reply, line);
        g_assert_cmpint(reply_retry_after(&reply, 0), ==, 0);
    }
    reply_init(&reply);
    header(&reply, "Retry-After: 99999999999");
    g_assert_cmpint(reply_retry_after(&reply, 0), ==, 3600);
    reply_init(&reply);
    header(&reply, "Retry-After: -5");
    g_assert_cmpint(reply_retry_after(&reply, 0), ==, 0);
    reply_init(&reply);
    header(&reply, "Retry-After: Tue, 14 Nov 2023 22:14:20 GMT");
    g_assert_cmpint(reply_retry_after(&reply, 1700000000), ==, 60);
    header(&reply, "Date: Tue, 14 Nov 2023 22:14:00 GMT"); /* the hub's own clock counts */
    g_assert_cmpint(reply_retry_after(&reply, 0), ==, 20);
}

static void
test_reply_dates(void)
{
    static const char *const wrong[] = { "",
                                         "Tue, 14 Nov 2023 22:13:20",
                                         "Tue, 14 Xyz 2023 22:13:20 GMT",
                                         "Tue, 14 Nov 1969 22:13:20 GMT",
                                         "Tue, 14 Nov 2023 25:13:20 GMT",
                                         "Tue, 14 Nov 2023 22:13:20 GMT and more",
                                         "Tuesday, 14-Nov-23 22:13:20 GMT",
                                         "Tue, 14 ovD 2023 22:13:20 GMT" };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_assert_cmpint(reply_parse_date(wrong[i]), ==, -1);
    g_assert_cmpint(reply_parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), ==, 784111777);
}

static void
body(struct reply *reply, const char *text)
{
    reply_init(reply);
    reply_body(reply, text, strlen(text));
}

static void
test_reply_bodies(void)
{
    static const char *const nothing[] = { "",
                                           "<html><body>502</body></html>",
                                           "{",
                                           "[]",
                                           "{\"Message\":7}",
                                           "{\"Message\":\"hello\"}",
                                           "{\"Message\":\"{\\\"errorCode\\\":\\\"x\\\"}\"}" };
    struct reply reply;
    for (size_t i = 0; i < G_N_ELEMENTS(nothing); i++) {
        body(&reply, nothing[i]);
        g_assert_false(reply.from_hub);
    }
    body(&reply, "{\"Message\":\"ErrorCode:IotHubUnauthorizedAccess;Unauthorized\",\"ExceptionMessage\":"
                 "\"Tracking ID:0123abcd-G:11-TimeStamp:09/29/2017 15:53:06\"}");
    g_assert_cmpstr(reply.code, ==, "IotHubUnauthorizedAccess");
    g_assert_cmpstr(reply.text, ==, "Unauthorized");
    g_assert_cmpstr(reply.tracking, ==, "0123abcd-G:11");
    body(&reply, "{\"Message\":\"{\\\"errorCode\\\":404001,\\\"trackingId\\\":\\\"t1\\\",\\\"message\\\":\\\"no such "
                 "device\\\"}\","
                 "\"ExceptionMessage\":\"\"}");
    g_assert_cmpint(reply.number, ==, 404001);
    g_assert_cmpstr(reply.tracking, ==, "t1");
    g_assert_true(reply.from_hub);
}

/* ---- Waiting */

static uint32_t random_value;

static uint32_t
get_random(void)
{
    return random_value;
}

static void
test_delays(void)
{
    struct retry_backoff backoff = { .random = get_random };
    random_value = UINT32_MAX;
    int64_t before = 0;
    for (int i = 0; i < 30; i++) {
        int64_t delay = retry_delay_ms(&backoff, RETRY_NETWORK, 0);
        g_assert_cmpint(delay, >=, before);
        g_assert_cmpint(delay, <=, 5 * 60 * 1000 + 50);
        before = delay;
    }
    g_assert_cmpint(before, >=, 5 * 60 * 1000 - 1);
    random_value = 0; /* full jitter: the other end of the range */
    g_assert_cmpint(retry_delay_ms(&backoff, RETRY_NETWORK, 0), ==, 50);
    g_assert_cmpint(retry_delay_ms(&backoff, RETRY_THROTTLE, 0), ==, 10000);
    g_assert_cmpint(retry_delay_ms(&backoff, RETRY_THROTTLE, 77), ==, 77000);
    g_assert_cmpint(retry_delay_ms(&backoff, RETRY_PROBE, 0), ==, 30000);
    random_value = UINT32_MAX;
    g_assert_cmpint(retry_delay_ms(&backoff, RETRY_SERVER, 0), <, 1100); /* families do not share */
    retry_success(&backoff);
    g_assert_cmpint(retry_delay_ms(&backoff, RETRY_NETWORK, 0), <, 1100);
    for (int i = 0; i < 10; i++)
        before = retry_delay_ms(&backoff, RETRY_PROBE, 0);
    g_assert_cmpint(before, <=, 30 * 60 * 1000);
    g_assert_cmpint(before, >=, 30 * 60 * 1000 - 1);
}

static void
test_quota(void)
{
    struct retry_backoff backoff = { .random = get_random };
    random_value = 0;
    g_assert_cmpint(retry_quota_delay_ms(&backoff, 1700000000000), ==, (1700006400 - 1700000000) * INT64_C(1000));
    g_assert_cmpint(retry_quota_delay_ms(&backoff, 1700006400000), ==, 86400 * 1000);
    random_value = UINT32_MAX;
    g_assert_cmpint(retry_quota_delay_ms(&backoff, 1700006400000), <=, 86400 * 1000 + 300 * 1000);
}

static void
test_judge_failures(void)
{
    static const struct {
        enum reply_failure failure;
        int32_t reason;
        bool maybe;
    } rows[] = {
        { REPLY_CONNECT, HUBKEY_REASON_NETWORK, false },
        { REPLY_TLS, HUBKEY_REASON_TLS, false },
        { REPLY_TIMEOUT, HUBKEY_REASON_NETWORK, true },
        { REPLY_BROKEN, HUBKEY_REASON_NETWORK, true },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct reply reply;
        struct retry_verdict verdict;
        reply_init(&reply);
        reply.failure = rows[i].failure;
        reply.sent = true;
        retry_judge(&reply, &verdict);
        g_assert_cmpint(verdict.action, ==, RETRY_LATER);
        g_assert_cmpint(verdict.state, ==, HUBKEY_STATE_OFFLINE);
        g_assert_cmpint(verdict.reason, ==, rows[i].reason);
        g_assert_cmpint(verdict.maybe_delivered, ==, rows[i].maybe);
    }
}

/* A captive portal says 200 to everything, with a page for people; the hub's own 2xx has none. */
static void
test_judge_pages(void)
{
    struct reply reply;
    struct retry_verdict verdict;
    reply_init(&reply);
    header(&reply, "HTTP/1.1 200 OK\r\n");
    retry_judge(&reply, &verdict);
    g_assert_cmpint(verdict.action, ==, RETRY_DELIVERED);
    header(&reply, "Content-Type: text/html; charset=utf-8\r\n");
    retry_judge(&reply, &verdict);
    g_assert_cmpint(verdict.action, ==, RETRY_LATER);
    g_assert_cmpint(verdict.reason, ==, HUBKEY_REASON_PROXY);
}

/* A code is known by its number as well, where only the body has it. */
static void
test_judge_numbers(void)
{
    struct reply reply;
    struct retry_verdict verdict;
    reply_init(&reply);
    reply.status = 403;
    reply.number = 403002;
    reply.from_hub = true;
    retry_judge(&reply, &verdict);
    g_assert_cmpint(verdict.state, ==, HUBKEY_STATE_QUOTA);
    reply.status = 400;
    reply.number = 400004;
    retry_judge(&reply, &verdict);
    g_assert_cmpint(verdict.action, ==, RETRY_SPLIT);
    reply.status = 401;
    reply.number = 401001;
    retry_judge(&reply, &verdict);
    g_assert_cmpint(verdict.action, ==, RETRY_AUTH);
    g_assert_cmpint(retry_auth_reason(&reply), ==, HUBKEY_REASON_HOST);
}

/* ---- Tokens */

static void
test_token_life(void)
{
    struct token token = { 0 };
    scratch_clock_start();
    g_assert_false(token_usable(&token));
    token_set(&token, "t", clock_wall_s() + 1000, 0, 1, 1000, 0);
    g_assert_false(token_due(&token));
    scratch_clock_move(750);
    g_assert_true(token_due(&token)); /* 75 % with the smallest jitter */
    g_assert_true(token_usable(&token));
    scratch_clock_move(249);
    g_assert_false(token_usable(&token)); /* not in its last second */
    token_set(&token, "t", clock_wall_s() + 1000, 0, 1, 1000, UINT32_MAX);
    scratch_clock_move(800);
    g_assert_false(token_due(&token));
    scratch_clock_move(51);
    g_assert_true(token_due(&token)); /* 85 % with the largest */
    token_set(&token, "t", clock_wall_s() + 5, 0, 1, 5, UINT32_MAX);
    scratch_clock_move(4);
    /* A short one to nine tenths: what it is renewed by comes first, with its jitter. */
    g_assert_true(token_usable(&token));
    g_assert_false(token_due(&token));
    scratch_clock_move(1);
    g_assert_false(token_usable(&token));
    token_drop(&token);
    token_drop(&token);
    g_assert_false(token_usable(&token));
    clock_set_source(NULL);
}

/* Either clock ends it. */
static void
test_token_clocks(void)
{
    struct token token = { 0 };
    scratch_clock_start();
    int64_t start = clock_wall_s();
    token_set(&token, "t", start + 1000, 0, 1, 1000, 0);
    scratch_clock_set_wall(start + 1000);
    g_assert_false(token_usable(&token));
    scratch_clock_set_wall(start - 86400);
    g_assert_true(token_usable(&token));
    scratch_clock_move(1000);
    g_assert_false(token_usable(&token));
    token_set(&token, "t", clock_wall_s() - 5, 0, 1, 1000, 0); /* dead on arrival */
    g_assert_false(token_usable(&token));
    token_set(&token, "t", INT64_MAX, 0, 1, 1000, 0); /* forty years, or rubbish: no overflow, an end */
    g_assert_true(token_usable(&token));
    scratch_clock_move(366 * 86400);
    g_assert_false(token_usable(&token));
    token_drop(&token);
    clock_set_source(NULL);
}

static void
test_token_other(void)
{
    g_assert_cmpuint(token_other_ttl(3600, 86400, 0), ==, 3602);
    g_assert_cmpuint(token_other_ttl(3600, 86400, 1), ==, 3661);
    g_assert_cmpuint(token_other_ttl(86400, 86400, 0), ==, 86398);
    g_assert_cmpuint(token_other_ttl(86399, 86400, 0), ==, 86397);
    g_assert_cmpuint(token_other_ttl(1, 1, 0), ==, 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reply/headers", test_reply_headers);
    g_test_add_func("/reply/echo", test_reply_echo);
    g_test_add_func("/reply/retry-after", test_reply_retry_after);
    g_test_add_func("/reply/dates", test_reply_dates);
    g_test_add_func("/reply/bodies", test_reply_bodies);
    g_test_add_func("/retry/delays", test_delays);
    g_test_add_func("/retry/quota", test_quota);
    g_test_add_func("/retry/failures", test_judge_failures);
    g_test_add_func("/retry/pages", test_judge_pages);
    g_test_add_func("/retry/numbers", test_judge_numbers);
    g_test_add_func("/token/life", test_token_life);
    g_test_add_func("/token/clocks", test_token_clocks);
    g_test_add_func("/token/other", test_token_other);
    return g_test_run();
}
