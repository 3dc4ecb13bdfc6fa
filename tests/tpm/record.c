/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/tpm/record.h"

#include <string.h>
#include <unistd.h>

GPtrArray *
record_read(struct bench *bench)
{
    g_autofree char *file = bench_file(bench, "record"), *bytes = NULL;
    g_autoptr(GError) error = NULL;
    GPtrArray *messages = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    gsize size;
    g_file_get_contents(file, &bytes, &size, &error);
    g_assert_no_error(error);
    for (gsize at = 0; at < size;) {
        uint32_t len;
        g_assert_cmpuint(size - at, >=, 5);
        memcpy(&len, bytes + at + 1, 4);
        len = GUINT32_FROM_BE(len);
        g_assert_cmpuint(size - at - 5, >=, len);
        g_autofree char *message = g_memdup2(bytes + at + 4, len + 1);
        message[0] = bytes[at];
        g_ptr_array_add(messages, g_bytes_new(message, len + 1));
        at += 5 + len;
    }
    return messages;
}

uint32_t
record_number(GBytes *message, size_t at)
{
    size_t size;
    const uint8_t *bytes = g_bytes_get_data(message, &size);
    uint32_t value;
    g_assert_cmpuint(size, >=, 1 + at + 4);
    memcpy(&value, bytes + 1 + at, 4);
    return GUINT32_FROM_BE(value);
}

bool
record_is_command(GBytes *message)
{
    return *(const char *)g_bytes_get_data(message, NULL) == '>';
}

unsigned
record_count(GPtrArray *messages, uint32_t code)
{
    unsigned count = 0;
    for (guint i = 0; i < messages->len; i++)
        count += record_is_command(messages->pdata[i]) && (code == 0 || record_number(messages->pdata[i], 6) == code);
    return count;
}

bool
record_holds(GPtrArray *messages, const void *bytes, size_t len)
{
    for (guint i = 0; i < messages->len; i++) {
        size_t size;
        const char *data = g_bytes_get_data(messages->pdata[i], &size);
        if (memmem(data, size, bytes, len))
            return true;
    }
    return false;
}

void
record_expect_absent(GPtrArray *messages, const void *secret, size_t len)
{
    g_autofree char *base64 = g_base64_encode(secret, len);
    for (size_t at = 0; at + 8 <= len; at++)
        g_assert_false(record_holds(messages, (const uint8_t *)secret + at, 8));
    for (size_t at = 0; at + 12 <= strlen(base64); at++)
        g_assert_false(record_holds(messages, base64 + at, 12));
}

void
record_forget(struct bench *bench)
{
    g_autofree char *file = bench_file(bench, "record");
    g_assert_cmpint(truncate(file, 0), ==, 0); /* the spy appends */
}

/* The SRK's handle is the first in the command, the encrypted salt follows the nonce. */
void
record_expect_salted(GPtrArray *messages)
{
    for (guint i = 0; i < messages->len; i++)
        if (record_is_command(messages->pdata[i]) &&
            record_number(messages->pdata[i], 6) == RECORD_START_AUTH_SESSION) {
            const uint8_t *bytes = g_bytes_get_data(messages->pdata[i], NULL);
            size_t nonce = 1 + 18, salt = nonce + 2 + (size_t)(bytes[nonce] << 8 | bytes[nonce + 1]);
            g_assert_cmphex(record_number(messages->pdata[i], 10), ==, BENCH_SRK);
            g_assert_cmphex(bytes[salt] << 8 | bytes[salt + 1], ==, 256);
        }
}
