/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The parts of hubkeyctl that need no hubkeyd.
 */
#include <config.h>

#include "common/error.h"
#include "tools/keyfile.h"
#include "tools/lines.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/suggest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

/* ---- keys ---- */

/* A file with these bytes; g_free and unlink. */
static char *
file_of(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("hk-key-XXXXXX", &path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(write(fd, text, len), ==, (ssize_t)len);
    close(fd);
    return path;
}

static void
expect_refused(const char *text, size_t len, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = file_of(text, len);
    g_assert_null(keyfile_read(path, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_nonnull(strstr(error->message, path)); /* which file */
    if (len >= 8)
        g_assert_null(strstr(error->message, text)); /* never what is in it */
    g_unlink(path);
}

static void
test_bad_keys(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *long_text = g_strnfill(1368 + 4, 'A');
    g_autofree char *huge = g_strnfill(5000, 'A');
    expect_refused("", 0, "empty");
    expect_refused("\n", 1, "1 to 1024");
    expect_refused("not base64 at all", 17, "not base64");
    expect_refused("QUJDREVGR0g", 11, "not base64");
    expect_refused("QUJDREVGR0g=\n\n", 14, "not base64");
    expect_refused(" QUJDREVGR0g=", 13, "not base64");
    expect_refused("\"QUJDREVGR0g=\"\n", 15, "stands in quotes (\"); take them away");
    expect_refused("'QUJDREVGR0g=", 13, "quotes");
    expect_refused("QUJDREVGR0g=\u201d \n", 17, "quotes");
    expect_refused("'", 1, "quotes");
    expect_refused("QUJD\0QUJDQUJ", 12, "not base64");
    expect_refused("SharedAccessSignature sr=a&sig=b&se=1", 37, "SAS token");
    expect_refused(long_text, strlen(long_text), "1 to 1024");
    expect_refused(huge, strlen(huge), "longer than 4096");
    g_assert_null(keyfile_read("/nonexistent/key", &error));
    g_assert_nonnull(strstr(error->message, "/nonexistent/key"));
    g_clear_error(&error);
    g_assert_null(keyfile_read("/", &error));
    g_assert_nonnull(error);
}

static void
test_good_keys(void)
{
    static const char *const forms[] = { "QUJDREVGR0g=", "QUJDREVGR0g=\n", "QUJDREVGR0g=\r\n" };
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = file_of(forms[i], strlen(forms[i]));
        g_autoptr(secret_auto) key = keyfile_read(path, &error);
        g_assert_no_error(error);
        g_assert_cmpmem(key->data, key->len, "ABCDEFGH", 8);
        g_unlink(path);
    }
    /* The longest: 1024 bytes. */
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *bytes = g_malloc0(1024);
    g_autofree char *text = g_base64_encode(bytes, 1024);
    g_autofree char *path = file_of(text, strlen(text));
    g_autoptr(secret_auto) key = keyfile_read(path, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(key->len, ==, 1024);
    g_unlink(path);
}

static void
test_connection_strings(void)
{
    static const char good[] = "HostName=My.azure-devices.net;DeviceId=d;SharedAccessKey=QUJDREVGR0g=\r\n";
    static const char *const bad[] = {
        "HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=xyz!",
        "HostName=h.azure-devices.net;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=x&sig=y&se=1",
        "HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=QUJD",
        "HostName=h.azure-devices.net;DeviceId=d",
        "QUJDREVGR0g=",
        "\"HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=QUJDREVGR0g=\"\n",
        " \u201cHostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=QUJDREVGR0g=\u201d",
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_auto) key = NULL;
    g_autofree char *path = file_of(good, strlen(good));
    g_autoptr(identity_auto) identity = keyfile_read_connection_string(path, &key, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(identity->host, ==, "my.azure-devices.net");
    g_assert_cmpstr(identity->device, ==, "d");
    g_assert_cmpmem(key->data, key->len, "ABCDEFGH", 8);
    g_unlink(path);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(secret_auto) none = NULL;
        g_autofree char *bad_path = file_of(bad[i], strlen(bad[i]));
        g_assert_null(keyfile_read_connection_string(bad_path, &none, &error));
        g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
        g_assert_null(strstr(error->message, "QUJD"));
        g_assert_cmpint(strstr(error->message, "quotes") != NULL, ==, i >= 5);
        g_clear_error(&error);
        g_unlink(bad_path);
    }
}

static void
test_pipe(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_auto) key = secret_new(KEYFILE_KEY_MAX);
    memset(key->data, 7, KEYFILE_KEY_MAX);
    key->len = KEYFILE_KEY_MAX;
    int fd = keyfile_to_pipe(key, &error);
    g_assert_no_error(error);
    g_autoptr(secret_auto) back = secret_read_fd(fd, KEYFILE_KEY_MAX, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(key->data, key->len, back->data, back->len);
    close(fd);
}

/* ---- lines ---- */

/* All lines of text, cut into reads of the kernel's choice, as "1:ab,2:,3:!" where ! is a line that is too long. */
static char *
split(const char *text, size_t len, size_t max, bool whole)
{
    int ends[2];
    GString *out = g_string_new(NULL);
    struct line line;
    ssize_t n = 0;
    g_assert_cmpint(pipe(ends), ==, 0);
    struct lines *lines = lines_new(ends[0], max);
    for (size_t i = 0; i <= len; i += whole ? len + 1 : 1) {
        size_t part = i == len ? 0 : whole ? len : 1;
        g_assert_cmpint(write(ends[1], text + i, part), ==, (ssize_t)part);
        if (i == len || whole)
            close(ends[1]);
        do {
            n = part > 0 || i == len ? lines_fill(lines) : 0;
            g_assert_cmpint(n, >=, 0);
            while (lines_next(lines, n == 0, &line))
                g_string_append_printf(out, "%s%d:%.*s", out->len ? "," : "", (int)line.number,
                                       line.text ? (int)line.len : 1, line.text ? line.text : "!");
        } while (whole && n > 0);
    }
    g_assert_cmpuint(lines_buffered(lines), ==, 0);
    lines_free(lines);
    close(ends[0]);
    return g_string_free(out, FALSE);
}

static void
test_lines(void)
{
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {
        { "", "" },
        { "\n", "1:" },
        { "a", "1:a" },
        { "a\n", "1:a" },
        { "a\nbc", "1:a,2:bc" },
        { "a\n\nb\n", "1:a,2:,3:b" },
        { "12345\n", "1:12345" },
        { "123456\nx\n", "1:!,2:x" },
        { "x\n123456789", "1:x,2:!" },
        { "1234567890123\n\n12345", "1:!,2:,3:12345" },
        { "123456", "1:!" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        for (int whole = 0; whole < 2; whole++) {
            g_autofree char *got = split(rows[i].text, strlen(rows[i].text), 5, whole);
            g_assert_cmpstr(got, ==, rows[i].expected);
        }
}

/* A line without end costs no more memory than the limit and a read. */
static void
test_endless_line(void)
{
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct line line;
    struct lines *lines = lines_new(fd, 1000);
    for (int i = 0; i < 100; i++) {
        g_assert_cmpint(lines_fill(lines), >, 0);
        g_assert_false(lines_next(lines, false, &line));
        g_assert_cmpuint(lines_buffered(lines), ==, 0);
    }
    g_assert_true(lines_next(lines, true, &line));
    g_assert_null(line.text);
    g_assert_false(lines_next(lines, true, &line));
    lines_free(lines);
    close(fd);
}

/* ---- progress ---- */

static void
test_progress_text(void)
{
    static const struct {
        uint64_t accepted, sent;
        double rate;
        bool draining;
        const char *expected;
    } rows[] = {
        { 0, 0, 0, false, "0 accepted, 0 sent, 0/s" },
        { 12, 10, 5.04, false, "12 accepted, 10 sent, 5.0/s" },
        { 12, 10, 0, true, "12 accepted, 10 sent, 0/s, ETA --:--" },
        { 12, 12, 0, true, "12 accepted, 12 sent, 0/s, ETA --:--" },
        { 300, 100, 100, true, "300 accepted, 100 sent, 100/s, ETA 00:02" },
        { 1000, 399, 10, true, "1000 accepted, 399 sent, 10/s, ETA 01:01" },
        { 36610, 0, 10, true, "36610 accepted, 0 sent, 10/s, ETA 1:01:01" },
        { UINT64_MAX, 0, 1, true, "18446744073709551615 accepted, 0 sent, 1.0/s, ETA --:--" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = progress_text(rows[i].accepted, rows[i].sent, rows[i].rate, rows[i].draining);
        g_assert_cmpstr(text, ==, rows[i].expected);
    }
}

/* It follows a change within seconds, however often it is asked, and does not jump with each batch. */
static void
test_progress_rate(void)
{
    static const int64_t steps_us[] = { 1000, 200000, 2000000 };
    for (size_t i = 0; i < G_N_ELEMENTS(steps_us); i++) {
        double rate = 0;
        for (int64_t at = 0; at < 30000000; at += steps_us[i])
            rate = progress_rate(rate, (uint64_t)steps_us[i] / 1000, steps_us[i]);
        g_assert_cmpfloat_with_epsilon(rate, 1000, 10);
        g_assert_cmpfloat(progress_rate(rate, 0, 200000), >, 900);
        for (int64_t at = 0; at < 30000000; at += steps_us[i])
            rate = progress_rate(rate, 0, steps_us[i]);
        g_assert_cmpfloat(rate, <, 10);
    }
    g_assert_cmpfloat(progress_rate(5, 10, 0), >, 5); /* no time at all is no division by it */
}

/* ---- words, ids, names ---- */

static void
test_suggest(void)
{
    static const char *const words[] = {
        "status", "list", "show", "provision", "clear", "token", "send", "queue flush"
    };
    static const struct {
        const char *text;
        const char *meant;
    } rows[] = {
        { "stauts", "status" },
        { "tokne", "token" },
        { "prov", "provision" },
        { "sned", "send" },
        { "Show", "show" },
        { "rm", "clear" },
        { "ls", "list" },
        { "flush", "queue flush" },
        { "queue flsuh", "queue flush" },
        { "xyzzy", NULL },
        { "q", NULL },
        { "", NULL },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        g_assert_cmpstr(suggest_word(rows[i].text, words, G_N_ELEMENTS(words)), ==, rows[i].meant);
    g_assert_cmpuint(suggest_distance("", "abc"), ==, 3);
    g_assert_cmpuint(suggest_distance("abc", "acb"), ==, 1);
    g_assert_cmpuint(suggest_distance("kitten", "sitting"), ==, 3);
}

static void
test_snake_case(void)
{
    static const char *const rows[][2] = {
        { "TpmState", "tpm_state" }, { "HostName", "host_name" }, { "LatencyP50Us", "latency_p50_us" },
        { "CanUndo", "can_undo" },   { "Slot", "slot" },          { "", "" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *name = output_snake_case(rows[i][0]);
        g_assert_cmpstr(name, ==, rows[i][1]);
    }
}

/* In a process of its own, whose stdout is no terminal: aligned, without colour, nothing a terminal would obey. */
static void
test_table(void)
{
    static const char *const titles[] = { "A", "STATE" };
    if (g_test_subprocess()) {
        struct table *table = table_new(2, titles);
        table_add(table, (const char *const[]){ "long one", "ready" });
        table_add(table, (const char *const[]){ "\033[2Jx", "y\nz" });
        g_assert_cmpuint(table_rows(table), ==, 2);
        table_print(table);
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("*A         STATE\nlong one  ready\n?[2Jx     y?z\n*");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tools/key/bad", test_bad_keys);
    g_test_add_func("/tools/key/good", test_good_keys);
    g_test_add_func("/tools/key/connection-strings", test_connection_strings);
    g_test_add_func("/tools/key/pipe", test_pipe);
    g_test_add_func("/tools/lines/split", test_lines);
    g_test_add_func("/tools/lines/endless", test_endless_line);
    g_test_add_func("/tools/progress/text", test_progress_text);
    g_test_add_func("/tools/progress/rate", test_progress_rate);
    g_test_add_func("/tools/suggest", test_suggest);
    g_test_add_func("/tools/snake-case", test_snake_case);
    g_test_add_func("/tools/table", test_table);
    return g_test_run();
}
