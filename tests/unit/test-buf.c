/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/buf.c: never more than the ceiling.
 */
#include <config.h>

#include "common/buf.h"

#include <stdint.h>

static void
test_ceiling(void)
{
    struct buf buf;
    buf_init(&buf, 10);
    g_assert_true(buf_append(&buf, "12345", 5));
    g_assert_false(buf_append(&buf, "123456", 6));
    g_assert_true(buf.cut);
    g_assert_cmpstr(buf.bytes->str, ==, "12345"); /* all or nothing */
    g_assert_true(buf_append(&buf, "67890", 5));  /* exactly full */
    g_assert_false(buf_append(&buf, "x", 1));
    g_assert_false(buf_append(&buf, "x", SIZE_MAX)); /* a sum that would wrap around */
    g_assert_true(buf_append(&buf, "", 0));
    g_assert_true(buf_append(&buf, NULL, 0));
    g_assert_cmpmem(buf.bytes->str, buf.bytes->len, "1234567890", 10);
    buf_clear(&buf);
}

static void
test_none(void)
{
    struct buf buf;
    buf_init(&buf, 0);
    g_assert_true(buf_append(&buf, "", 0));
    g_assert_false(buf.cut);
    g_assert_false(buf_append(&buf, "x", 1));
    g_assert_cmpuint(buf.bytes->len, ==, 0);
    buf_clear(&buf);
    buf_clear(&buf);
}

static void
test_reset(void)
{
    struct buf buf;
    buf_init(&buf, 3);
    g_assert_false(buf_append(&buf, "1234", 4));
    g_assert_true(buf_append(&buf, "a\0b", 3));
    g_assert_cmpmem(buf.bytes->str, buf.bytes->len, "a\0b", 3);
    buf_reset(&buf);
    g_assert_false(buf.cut);
    g_assert_cmpuint(buf.bytes->len, ==, 0);
    g_assert_true(buf_append(&buf, "xyz", 3));
    g_assert_cmpstr(buf.bytes->str, ==, "xyz");
    buf_clear(&buf);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/buf/ceiling", test_ceiling);
    g_test_add_func("/buf/none", test_none);
    g_test_add_func("/buf/reset", test_reset);
    return g_test_run();
}
