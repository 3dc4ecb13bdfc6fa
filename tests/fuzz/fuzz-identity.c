/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Connection strings: what is accepted passes the checks, and printed and read again is the same; what is refused is
 * refused without telling the secret.
 */
#include <config.h>

#include "common/error.h"
#include "common/identity.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

static char *
print(const struct identity *identity, const char *secret, size_t len)
{
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "HostName=%s;DeviceId=%s", identity->host, identity->device);
    if (identity->module)
        g_string_append_printf(text, ";ModuleId=%s", identity->module);
    if (identity->gateway)
        g_string_append_printf(text, ";GatewayHostName=%s", identity->gateway);
    g_string_append(text, ";SharedAccessKey=");
    g_string_append_len(text, secret, (gssize)len);
    g_string_append_c(text, ';'); /* white space at the end of the whole would not count */
    return g_string_free(text, FALSE);
}

static void
check_again(const struct identity *identity, const char *secret, size_t len)
{
    const char *secret_again;
    size_t len_again;
    g_autofree char *text = print(identity, secret, len);
    g_autoptr(GError) error = NULL;
    g_autoptr(identity_auto)
        again = identity_parse_connection_string(text, strlen(text), &secret_again, &len_again, &error);
    g_assert_no_error(error);
    g_assert_true(identity_equal(identity, again));
    g_assert_cmpmem(secret, len, secret_again, len_again);
}

static void
check_accepted(const struct identity *identity)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(identity_auto) copy = identity_copy(identity);
    g_assert_true(identity_check(copy, &error));
    g_assert_no_error(error);
    g_assert_true(identity_equal(identity, copy)); /* already in the form that the check leaves */
    g_autofree char *resource = identity_resource(identity);
    g_assert_true(g_str_has_prefix(resource, identity->host));
    g_assert_null(strpbrk(identity->device, "/;\n \\"));
    g_assert_null(strpbrk(identity->host, "/;\n \\%@:?#"));
}

/* The value behind the first "SharedAccessKey=", however the rest looks. */
static void
check_silence(const char *text, const char *message)
{
    const char *key = strstr(text, "SharedAccessKey=");
    if (!key)
        return;
    key += strlen("SharedAccessKey=");
    g_autofree char *value = g_strndup(key, strcspn(key, ";"));
    if (strlen(value) >= 8 && !strstr("SharedAccessKey SharedAccessSignature HostName DeviceId GatewayHostName", value))
        g_assert_null(strstr(message, value));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *secret = NULL, *text = (const char *)data;
    size_t len = 0;
    g_autoptr(GError) error = NULL;
    g_autoptr(identity_auto) identity = identity_parse_connection_string(text, size, &secret, &len, &error);
    if (!identity) {
        g_autofree char *whole = fuzz_text(data, size);
        if (whole)
            check_silence(whole, error->message);
        fuzz_expect_error(&error);
        return 0;
    }
    g_assert_no_error(error);
    g_assert_true(secret >= text && len > 0 && secret + len <= text + size);
    check_accepted(identity);
    check_again(identity, secret, len);
    return 0;
}
