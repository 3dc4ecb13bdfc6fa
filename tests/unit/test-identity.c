/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/identity.c: who a key may speak for, and connection strings as people paste them.
 */
#include <config.h>

#include "common/error.h"
#include "common/identity.h"

#include <string.h>

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define HOST "myhub.azure-devices.net"

/* ---- parts ---- */

static struct identity *
make(const char *host, const char *device, const char *module, const char *gateway)
{
    struct identity *identity = identity_new();
    identity->host = g_strdup(host);
    identity->device = g_strdup(device);
    identity->module = g_strdup(module);
    identity->gateway = g_strdup(gateway);
    return identity;
}

/* Checks and frees; part is what the error must speak of, NULL where the identity is good. */
static void
expect(struct identity *identity, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(identity_check(identity, &error), ==, part == NULL);
    if (part) {
        g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
        g_assert_nonnull(strstr(error->message, part));
    }
    identity_free(identity);
}

static void
test_bad_ids(void)
{
    static const char *const bad[] = { "",    ".",    "..",   "a b", "a/b", "a\\b", "a;b",     "a&b", "a\"b",
                                       "a<b", "a>b",  "a[b",  "a]b", "a{b", "a}b",  "a|b",     "a~b", "a`b",
                                       "a^b", "a\nb", "a\tb", " a",  "a ",  "\x7f", "\xc3\xa9" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        expect(make(HOST, bad[i], NULL, NULL), "DeviceId");
        expect(make(HOST, "d", bad[i], NULL), "ModuleId");
    }
    g_autofree char *longest = g_strnfill(IDENTITY_ID_MAX, 'x'), *too_long = g_strnfill(IDENTITY_ID_MAX + 1, 'x');
    expect(make(HOST, longest, longest, NULL), NULL);
    expect(make(HOST, too_long, NULL, NULL), "DeviceId has 129 characters; 1 to 128");
    expect(make(HOST, "d", too_long, NULL), "ModuleId has 129 characters; 1 to 128");
}

/* Every byte there is: exactly the characters of IoT Hub's identity registry are taken. */
static void
test_every_id_byte(void)
{
    for (int byte = 1; byte < 256; byte++) {
        const char id[3] = { 'x', (char)byte, '\0' };
        bool legal = g_ascii_isalnum(byte) || strchr("-:.+%_#*?!(),=@$'", byte);
        expect(make(HOST, id, NULL, NULL), legal ? NULL : "DeviceId: character 2");
    }
    expect(make(HOST, "...", NULL, NULL), NULL);
    expect(make(HOST, ".a", NULL, NULL), NULL);
}

static void
test_hosts(void)
{
    g_autofree char *label = g_strnfill(63, 'a'), *long_label = g_strnfill(64, 'a');
    g_autofree char *labels = g_strjoin(".", label, label, label, NULL);
    g_autofree char *longest = g_strconcat(labels, ".", label + 2, NULL); /* 191 + 1 + 61 = 253 */
    g_autofree char *too_long = g_strconcat(labels, ".", label + 1, NULL);
    const char *const good[] = { HOST, "a", "1.2.3.4", "a-b.c", "xn--e1afmkfd.net", label, longest, "edge-gw.local" };
    const char *const bad[] = { "",      ".",           "a.",  ".a",       "a..b",  "-a",    "a-",
                                "a.-b",  "a-.b",        "a_b", "a b",      "a/b",   "a:443", "a%2e",
                                "[::1]", "h\xc3\xb6st", "a\n", long_label, too_long };
    g_assert_cmpuint(strlen(longest), ==, IDENTITY_HOST_MAX);
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        expect(make(good[i], "d", NULL, NULL), NULL);
        expect(make(HOST, "d", NULL, good[i]), NULL);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        expect(make(bad[i], "d", NULL, NULL), "HostName is not a host name");
        expect(make(HOST, "d", NULL, bad[i]), "GatewayHostName is not a host name");
    }
}

static void
test_case(void)
{
    g_autoptr(identity_auto) identity = make("MyHub.Azure-Devices.NET", "Device", "Module", "Edge.Local");
    g_assert_true(identity_check(identity, NULL));
    g_assert_cmpstr(identity->host, ==, HOST);
    g_assert_cmpstr(identity->device, ==, "Device"); /* device IDs are case-sensitive */
    g_assert_cmpstr(identity->module, ==, "Module");
    g_assert_cmpstr(identity->gateway, ==, "edge.local");
}

static struct identity *
make_audience(const char *audience, const char *key_name)
{
    struct identity *identity = identity_new();
    identity->audience = g_strdup(audience);
    identity->key_name = g_strdup(key_name);
    return identity;
}

static void
test_audiences(void)
{
    g_autofree char *longest = g_strnfill(IDENTITY_AUDIENCE_MAX, 'x'),
                    *too_long = g_strnfill(IDENTITY_AUDIENCE_MAX + 1, 'x');
    g_autofree char *longest_name = g_strnfill(IDENTITY_KEY_NAME_MAX, 'x'),
                    *long_name = g_strnfill(IDENTITY_KEY_NAME_MAX + 1, 'x');
    expect(make_audience("https://myns.servicebus.windows.net/myhub", "send"), NULL);
    expect(make_audience(longest, longest_name), NULL);
    expect(make_audience(too_long, "send"), "Audience must be 1 to 512");
    expect(make_audience("a", long_name), "KeyName must be 1 to 256");
    expect(make_audience("", "send"), "Audience must");
    expect(make_audience("a", ""), "KeyName must");
    expect(make_audience("a b", "send"), "Audience must");
    expect(make_audience("a", "s\nend"), "KeyName must");
    expect(make_audience("\xc3\xa9", "send"), "Audience must");
    expect(make_audience(NULL, "send"), "Audience is missing");
    expect(make_audience("a", NULL), "KeyName is missing");
    struct identity *both = make_audience("a", "send");
    both->host = g_strdup(HOST);
    expect(both, "go with no HostName");
}

/* Of what was pasted into the wrong field nothing is repeated, and nothing is taken. */
static void
test_pasted_strings(void)
{
    static const char *const strings[] = {
        "Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0",
        "sb://n.servicebus.windows.net/hub;c2VjcmV0",
        "Endpoint=sb://n.servicebus.windows.net/SharedAccessKeyName=send",
        "sharedaccesskey=c2VjcmV0",
        "SharedAccessSignature",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++) {
        expect(make_audience(strings[i], "send"), "Audience looks like a connection string");
        expect(make_audience("sb://n.servicebus.windows.net/hub", strings[i]),
               "KeyName looks like a connection string");
        g_autoptr(identity_auto) identity = make_audience(strings[i], "send");
        g_autoptr(GError) error = NULL;
        g_assert_false(identity_check(identity, &error));
        g_assert_null(strstr(error->message, "c2VjcmV0"));
        expect(make(HOST, strings[i], NULL, NULL), "DeviceId");
    }
    /* All of it legal in an ID. */
    expect(make(HOST, "DeviceId=d,SharedAccessKey=c2VjcmV0", NULL, NULL), "DeviceId looks like a connection string");
    expect(make(HOST, "d", "sharedaccesskey=c2VjcmV0", NULL), "ModuleId looks like a connection string");
    expect(make(HOST, "SharedAccessKey", "Key=1", NULL), NULL);
    expect(make_audience("sb://n.servicebus.windows.net/hub", "RootManageSharedAccessKey"), NULL);
    expect(make_audience("sb://n.servicebus.windows.net/SharedAccess?a=b", "a=b"), NULL);
    g_assert_false(identity_has_secret("SharedAccessKey=", 15)); /* looks no further than len */
}

static void
test_missing(void)
{
    expect(make(NULL, "d", NULL, NULL), "HostName is missing");
    expect(make(HOST, NULL, NULL, NULL), "DeviceId is missing");
    expect(make(NULL, NULL, NULL, NULL), "HostName is missing");
    expect(make(HOST, NULL, "m", NULL), "DeviceId is missing");
    identity_free(NULL);
}

static void
test_resource(void)
{
    g_autoptr(identity_auto) device = make(HOST, "dev#1", NULL, "edge"), module = make(HOST, "d", "m", NULL);
    g_autoptr(identity_auto) audience = make_audience("https://ns/x", "send");
    g_autofree char *a = identity_resource(device), *b = identity_resource(module), *c = identity_resource(audience);
    g_assert_cmpstr(a, ==, HOST "/devices/dev#1"); /* the gateway is on the way only */
    g_assert_cmpstr(b, ==, HOST "/devices/d/modules/m");
    g_assert_cmpstr(c, ==, "https://ns/x");
}

static void
test_equal(void)
{
    g_autoptr(identity_auto) one = make(HOST, "d", "m", "g"), copy = identity_copy(one);
    g_assert_true(identity_equal(one, copy));
    char **const parts[] = {
        &copy->host, &copy->device, &copy->module, &copy->gateway, &copy->audience, &copy->key_name
    };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        char *saved = *parts[i];
        *parts[i] = (char *)"other";
        g_assert_false(identity_equal(one, copy));
        *parts[i] = NULL;
        g_assert_cmpint(identity_equal(one, copy), ==, saved == NULL);
        *parts[i] = saved;
    }
    g_assert_true(identity_equal(one, copy));
}

/* ---- connection strings ---- */

static void
expect_parsed(const char *text, size_t len, const char *module, const char *gateway, const char *wanted_secret)
{
    g_autoptr(GError) error = NULL;
    const char *secret = NULL;
    size_t secret_len = 0;
    g_autoptr(identity_auto) identity = identity_parse_connection_string(text, len, &secret, &secret_len, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(identity->host, ==, HOST);
    g_assert_cmpstr(identity->device, ==, "Device=1");
    g_assert_cmpstr(identity->module, ==, module);
    g_assert_cmpstr(identity->gateway, ==, gateway);
    g_assert_null(identity->audience);
    g_assert_cmpmem(secret, secret_len, wanted_secret, strlen(wanted_secret));
    g_assert_true(secret >= text && secret + secret_len <= text + len); /* nothing was copied */
}

static void
test_connection_strings(void)
{
    static const struct {
        const char *text, *module, *gateway, *secret;
    } good[] = {
        { "HostName=" HOST ";DeviceId=Device=1;SharedAccessKey=" KEY, NULL, NULL, KEY },
        { "HostName=" HOST ";DeviceId=Device=1;SharedAccessKey=" KEY "\n", NULL, NULL, KEY },
        { "HostName=" HOST ";DeviceId=Device=1;SharedAccessKey=" KEY "\r\n", NULL, NULL, KEY },
        { " \t\r\n HostName=" HOST ";DeviceId=Device=1;SharedAccessKey=" KEY " \n\n ", NULL, NULL, KEY },
        { "HostName=MYHUB.Azure-Devices.Net;DeviceId=Device=1;SharedAccessKey=" KEY, NULL, NULL, KEY },
        { "SharedAccessKey=" KEY ";DeviceId=Device=1;HostName=" HOST, NULL, NULL, KEY }, /* any order */
        { "hostname=" HOST ";DEVICEID=Device=1;sharedaccesskey=" KEY, NULL, NULL, KEY },
        { "HostName=" HOST ";DeviceId=Device=1;SharedAccessKey=" KEY ";", NULL, NULL, KEY },
        { "HostName=" HOST ";DeviceId=Device=1;ModuleId=m;SharedAccessKey=" KEY, "m", NULL, KEY },
        { "HostName=" HOST ";DeviceId=Device=1;ModuleId=m;GatewayHostName=Edge;SharedAccessKey=" KEY, "m", "edge",
          KEY },
        { "HostName=" HOST
          ";DeviceId=Device=1;GatewayHostName=edge;SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1",
          NULL, "edge", "SharedAccessSignature sr=a&sig=b&se=1" },
        { "HostName=" HOST ";DeviceId=Device=1;SharedAccessKey=x", NULL, NULL,
          "x" }, /* the key's own form is not ours */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        expect_parsed(good[i].text, strlen(good[i].text), good[i].module, good[i].gateway, good[i].secret);
    /* The length counts, not a NUL. */
    const char *text = good[0].text;
    g_autofree char *longer = g_strconcat(text, "garbage", NULL);
    expect_parsed(longer, strlen(text), NULL, NULL, KEY);
}

static void
expect_refused(const char *text, size_t len, const char *part)
{
    g_autoptr(GError) error = NULL;
    const char *secret = "untouched";
    size_t secret_len = 42;
    g_assert_null(identity_parse_connection_string(text, len, &secret, &secret_len, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_null(strstr(error->message, "AAEC")); /* the key */
    g_assert_cmpstr(secret, ==, "untouched");
    g_assert_cmpuint(secret_len, ==, 42);
}

static void
test_bad_connection_strings(void)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        { "", "no SharedAccessKey" },
        { " \n", "no SharedAccessKey" },
        { ";;;", "no SharedAccessKey" },
        { KEY, "not a device connection string" }, /* the key alone, pasted into the wrong field */
        { "HostName=" HOST ";DeviceId=d", "no SharedAccessKey" },
        { "HostName=" HOST ";DeviceId=d;SharedAccessKey=", "no SharedAccessKey" },
        { "HostName=" HOST ";SharedAccessKey=" KEY, "DeviceId is missing" },
        { "DeviceId=d;SharedAccessKey=" KEY, "HostName is missing" },
        { "HostName=" HOST ";DeviceId=d;DeviceId=d;SharedAccessKey=" KEY, "DeviceId twice" },
        { "HostName=" HOST ";HostName=" HOST ";DeviceId=d;SharedAccessKey=" KEY, "HostName twice" },
        { "HostName=" HOST ";hostname=x;DeviceId=d;SharedAccessKey=" KEY, "HostName twice" },
        { "HostName=" HOST ";DeviceId=d;ModuleId=m;ModuleId=m;SharedAccessKey=" KEY, "ModuleId twice" },
        { "HostName=" HOST ";DeviceId=d;SharedAccessKey=" KEY ";SharedAccessKey=" KEY,
          "SharedAccessKey or SharedAccessSignature twice" },
        { "HostName=" HOST ";DeviceId=d;SharedAccessKey=" KEY ";SharedAccessSignature=x",
          "SharedAccessKey or SharedAccessSignature twice" },
        { "HostName=" HOST ";DeviceId=d;SharedAccessSignature=x;SharedAccessKey=" KEY,
          "SharedAccessKey or SharedAccessSignature twice" },
        { "HostName=" HOST ";SharedAccessKeyName=iothubowner;SharedAccessKey=" KEY, "of the device, not of the hub" },
        { "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=" KEY,
          "not a device connection string" },
        { "HostName=" HOST ";DeviceId=d;x509=true", "not a device connection string" },
        { "HostName=" HOST ";DeviceId=d;Sharedaccesske=" KEY, "not a device connection string" },
        { "HostName=" HOST "; DeviceId=d;SharedAccessKey=" KEY, "not a device connection string" },
        { "HostName =" HOST ";DeviceId=d;SharedAccessKey=" KEY, "not a device connection string" },
        { "\"HostName=" HOST ";DeviceId=d;SharedAccessKey=" KEY "\"", "not a device connection string" },
        { "HostName=" HOST "\nDeviceId=d\nSharedAccessKey=" KEY, "no SharedAccessKey" },
        { "HostName=;DeviceId=d;SharedAccessKey=" KEY, "HostName is not a host name" },
        { "HostName=https://" HOST ";DeviceId=d;SharedAccessKey=" KEY, "HostName is not a host name" },
        { "HostName=" HOST ";DeviceId=;SharedAccessKey=" KEY, "DeviceId has 0 characters" },
        { "HostName=" HOST ";DeviceId=" KEY "/;SharedAccessKey=" KEY, "DeviceId: character 45" },
        { "HostName=" HOST ";DeviceId=d;ModuleId=;SharedAccessKey=" KEY, "ModuleId has 0 characters" },
        { "=" HOST ";DeviceId=d;SharedAccessKey=" KEY, "not a device connection string" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        expect_refused(bad[i].text, strlen(bad[i].text), bad[i].part);
    static const char nul[] = "HostName=" HOST ";DeviceId=d\0;SharedAccessKey=" KEY;
    expect_refused(nul, sizeof nul - 1, "NUL byte");
}

/* Any prefix of a good one: an identity that was meant, or an error; never a crash, never the key in the error. */
static void
test_cut_connection_strings(void)
{
    static const char whole[] = "HostName=" HOST ";DeviceId=d1;ModuleId=m;GatewayHostName=edge;SharedAccessKey=" KEY;
    for (size_t len = 0; len < sizeof whole; len++) {
        g_autofree char *exact = g_memdup2(whole, len + 1); /* no byte more, for the sanitizer */
        g_autoptr(GError) error = NULL;
        const char *secret = NULL;
        size_t secret_len = 0;
        exact = g_realloc(exact, len ? len : 1);
        g_autoptr(identity_auto) identity = identity_parse_connection_string(exact, len, &secret, &secret_len, &error);
        g_assert_true((identity == NULL) == (error != NULL));
        g_assert_cmpint(identity != NULL, ==, len > sizeof whole - 1 - strlen(KEY));
        if (error)
            g_assert_null(strstr(error->message, "AAEC"));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity/bad-ids", test_bad_ids);
    g_test_add_func("/identity/every-id-byte", test_every_id_byte);
    g_test_add_func("/identity/hosts", test_hosts);
    g_test_add_func("/identity/case", test_case);
    g_test_add_func("/identity/audiences", test_audiences);
    g_test_add_func("/identity/pasted-strings", test_pasted_strings);
    g_test_add_func("/identity/missing", test_missing);
    g_test_add_func("/identity/resource", test_resource);
    g_test_add_func("/identity/equal", test_equal);
    g_test_add_func("/identity/connection-string/good", test_connection_strings);
    g_test_add_func("/identity/connection-string/bad", test_bad_connection_strings);
    g_test_add_func("/identity/connection-string/cut", test_cut_connection_strings);
    return g_test_run();
}
