/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A file with a key or a connection string, as an administrator saved it. A key that is taken is what the text says,
 * and comes out of its pipe unchanged; one that is not is not shown.
 */
#include <config.h>

#include "common/error.h"
#include "tests/fuzz/fuzz.h"
#include "tools/keyfile.h"

#include <string.h>
#include <unistd.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

static void
check_pipe(const struct secret *key)
{
    uint8_t bytes[KEYFILE_KEY_MAX + 1];
    size_t len = 0;
    g_autoptr(GError) error = NULL;
    int fd = keyfile_to_pipe(key, &error);
    g_assert_no_error(error);
    for (ssize_t n; (n = read(fd, bytes + len, sizeof bytes - len)) > 0;)
        len += (size_t)n;
    close(fd);
    g_assert_cmpmem(bytes, len, key->data, key->len);
}

/* GLib's decoder passes over what it does not know; ours has refused it before. */
static void
check_key(const struct secret *key, const char *text)
{
    gsize len;
    g_autofree guchar *expected = g_base64_decode(text, &len);
    g_assert_cmpuint(key->len, >=, 1);
    g_assert_cmpuint(key->len, <=, KEYFILE_KEY_MAX);
    g_assert_cmpmem(key->data, key->len, expected, len);
    check_pipe(key);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    g_autofree char *text = fuzz_text(data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_auto) key = keyfile_read(path, &error);
    if (key && text)
        check_key(key, text);
    if (!key) {
        if (text && strlen(text) > 12)
            g_assert_null(strstr(error->message, text));
        fuzz_expect_error(&error);
    }
    g_autoptr(secret_auto) of_string = NULL;
    g_autoptr(identity_auto) identity = keyfile_read_connection_string(path, &of_string, &error);
    g_assert_true((identity != NULL) == (of_string != NULL));
    if (identity)
        check_pipe(of_string);
    else
        fuzz_expect_error(&error);
    return 0;
}
