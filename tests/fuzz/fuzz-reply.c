/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Answers of a server, header and body: all that is kept of them is printable, within its bounds and without a token,
 * and nothing but a 2xx takes a message out of the queue.
 */
#include <config.h>

#include "client/retry.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define NOW_S 1700000000

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

static void
check_text(const char *text, size_t size)
{
    g_assert_cmpuint(strnlen(text, size), <, size);
    for (const char *at = text; *at; at++)
        g_assert_true(g_ascii_isprint(*at));
    g_autofree char *lower = g_ascii_strdown(text, -1);
    g_assert_null(strstr(lower, "sig="));
    g_assert_null(strstr(lower, "sharedaccess"));
}

static void
check_reply(const struct reply *reply)
{
    check_text(reply->code, sizeof reply->code);
    check_text(reply->tracking, sizeof reply->tracking);
    check_text(reply->text, sizeof reply->text);
    g_assert_true(reply->from_hub || (reply->code[0] == '\0' && reply->number == 0));
    g_assert_true(reply->status == 0 || (reply->status >= 100 && reply->status <= 999));
    g_assert_cmpint(reply->number, >=, 0);
    g_assert_cmpint(reply->number, <=, 999999);
    g_assert_cmpint(reply->date_s, >=, -1);
    int64_t after_s = reply_retry_after(reply, NOW_S);
    g_assert_cmpint(after_s, >=, 0);
    g_assert_cmpint(after_s, <=, 3600);
}

static void
check_verdict(const struct reply *reply)
{
    struct retry_verdict verdict;
    retry_judge(reply, &verdict);
    check_text(verdict.text, sizeof verdict.text);
    g_assert_true((verdict.action == RETRY_DELIVERED) == (reply->status >= 200 && reply->status < 300 && !reply->html));
    g_assert_true((verdict.action == RETRY_AUTH) ==
                  (reply->status == 401 && reply->from_hub && !verdict.maybe_delivered));
    (void)retry_auth_reason(reply);
}

/* Lines of a header up to an empty one, as libcurl hands them over; the body is what is left. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    struct reply reply;
    reply_init(&reply);
    reply.sent = true;
    while (at < end && *at != '\n') {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end ? line_end + 1 : end;
        reply_header(&reply, at, (size_t)(line_end - at));
        at = line_end;
    }
    check_reply(&reply);
    if (at < end)
        reply_body(&reply, at + 1, (size_t)(end - at - 1));
    check_reply(&reply);
    check_verdict(&reply);
    return 0;
}
