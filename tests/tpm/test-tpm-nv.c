/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The identity record in NV, with a real TPM's commands.
 */
#include <config.h>

#include "daemon/tpm-nv.h"
#include "common/error.h"
#include "tests/tpm/bench.h"

#include <string.h>

#define INDEX BENCH_NV(3)
#define TEXT "hub.azure-devices.net/weather" /* 29 bytes */
#define NV_LOCKED 0x148
#define DA_GUARDED 0x00040004 /* AUTHREAD | AUTHWRITE, without NO_DA */
#define READ_LOCKABLE 0x82040004 /* READ_STCLEAR | NO_DA | AUTHREAD | AUTHWRITE */

static struct bench *
start_open(void)
{
    struct bench *bench = bench_start();
    g_autoptr(GError) error = NULL;
    tpm_open(bench->tpm, &error);
    g_assert_no_error(error);
    return bench;
}

static struct tpm_nv
look(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    struct tpm_nv nv;
    tpm_nv_look(bench->tpm, INDEX, &nv, &error);
    g_assert_no_error(error);
    return nv;
}

static void
write_text(struct bench *bench, const char *text)
{
    g_autoptr(GError) error = NULL;
    tpm_nv_write(bench->tpm, INDEX, text, &error);
    g_assert_no_error(error);
}

static void
test_layout(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    /* TPM2B_NV_PUBLIC: index, SHA-256, attributes, no policy, exactly as many bytes as the text has; then the Name and
     * the text without NUL. 22042802 is OWNERWRITE, AUTHREAD, WRITEDEFINE and NO_DA, written and write-locked. */
    static const uint8_t public[] = { 0x00, 0x0e, 0x01, 0x40, 0x01, 0x03, 0x00, 0x0b,
                                      0x22, 0x04, 0x28, 0x02, 0x00, 0x00, 0x00, 0x1d };
    size_t size;
    write_text(bench, TEXT);
    g_autoptr(GBytes) found = stranger_look(bench->stranger, INDEX);
    const uint8_t *bytes = g_bytes_get_data(found, &size);
    g_assert_cmpuint(size, ==, sizeof public + TPM_NAME_BYTES + strlen(TEXT));
    g_assert_cmpmem(bytes, sizeof public, public, sizeof public);
    g_assert_cmpmem(bytes + sizeof public + TPM_NAME_BYTES, strlen(TEXT), TEXT, strlen(TEXT));
    struct tpm_nv nv = look(bench);
    g_assert_true(nv.present && nv.ours && nv.written && nv.locked && nv.readable);
    g_assert_cmpuint(nv.size, ==, strlen(TEXT));
    g_assert_cmpstr(nv.text, ==, TEXT);
    tpm_nv_clear(&nv);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

static void
test_locked(void)
{
    struct bench *bench = start_open();
    write_text(bench, TEXT);
    g_autoptr(GBytes) found = stranger_look(bench->stranger, INDEX);
    g_assert_cmphex(stranger_overwrite(bench->stranger, INDEX, "evil.azure-devices.net/weathe"), ==, NV_LOCKED);
    swtpm_cut_power(bench->swtpm);
    swtpm_give_power(bench->swtpm);
    g_assert_cmphex(stranger_overwrite(bench->stranger, INDEX, "evil.azure-devices.net/weathe"), ==, NV_LOCKED);
    g_autoptr(GBytes) still = stranger_look(bench->stranger, INDEX);
    g_assert_true(g_bytes_equal(found, still));
    bench_stop(bench);
}

static void
test_sizes(void)
{
    static const size_t lengths[] = { 1, 2, 31, 127, 255, 256, TPM_NV_TEXT_MAX - 1, TPM_NV_TEXT_MAX };
    struct bench *bench = start_open();
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autofree char *text = g_strnfill(lengths[i], 'x');
        g_autoptr(GError) error = NULL;
        write_text(bench, text);
        struct tpm_nv nv = look(bench);
        g_assert_cmpstr(nv.text, ==, text);
        tpm_nv_clear(&nv);
        tpm_nv_undefine(bench->tpm, INDEX, &error);
        g_assert_no_error(error);
        nv = look(bench);
        g_assert_false(nv.present);
    }
    bench_stop(bench);
}

static void
test_taken(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    stranger_put_text(bench->stranger, INDEX, "other/device");
    g_autoptr(GBytes) found = stranger_look(bench->stranger, INDEX);
    g_assert_false(tpm_nv_write(bench->tpm, INDEX, TEXT, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "NV_DefineSpace");
    g_autoptr(GBytes) still = stranger_look(bench->stranger, INDEX);
    g_assert_true(g_bytes_equal(found, still));
    g_assert_true(tpm_nv_undefine(bench->tpm, BENCH_NV(4), &error));
    g_assert_no_error(error);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* What strangers put there is told apart from ours, and only text that can be one is read. */
static void
test_strange(void)
{
    static const struct {
        const char *data;
        size_t size;
        uint32_t attributes;
        const char *text;
    } rows[] = {
        { TEXT, 29, STRANGER_NV_WINDOWS, TEXT },
        { TEXT, 29, STRANGER_NV_MCU, TEXT },
        { "h/d\0", 4, STRANGER_NV_WINDOWS, NULL },
        { "\0\0\0\0", 4, STRANGER_NV_WINDOWS, NULL },
        { NULL, 29, STRANGER_NV_WINDOWS, NULL },
    };
    struct bench *bench = start_open();
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        stranger_put_nv(bench->stranger, INDEX, rows[i].attributes, NULL, rows[i].data, rows[i].size);
        struct tpm_nv nv = look(bench);
        g_assert_true(nv.present);
        g_assert_false(nv.ours || nv.locked);
        g_assert_cmpint(nv.written, ==, rows[i].data != NULL);
        g_assert_cmpuint(nv.size, ==, rows[i].size);
        g_assert_cmpstr(nv.text, ==, rows[i].text);
        tpm_nv_clear(&nv);
        stranger_undefine(bench->stranger, INDEX);
    }
    bench_stop(bench);
}

static void
test_huge(void)
{
    static const size_t sizes[] = { TPM_NV_TEXT_MAX + 1, 1024, 2048 };
    struct bench *bench = start_open();
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *text = g_strnfill(sizes[i], 'x');
        stranger_put_nv(bench->stranger, INDEX, STRANGER_NV_WINDOWS, NULL, text, sizes[i]);
        struct tpm_nv nv = look(bench);
        g_assert_true(nv.present && nv.written);
        g_assert_null(nv.text);
        tpm_nv_clear(&nv);
        stranger_undefine(bench->stranger, INDEX);
    }
    bench_stop(bench);
}

/* A password that is not ours: no error, and not one step towards the TPM's lockout. */
static void
test_passwords(void)
{
    static const uint32_t attributes[] = { DA_GUARDED, STRANGER_NV_WINDOWS, READ_LOCKABLE };
    struct bench *bench = start_open();
    for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
        stranger_put_nv(bench->stranger, INDEX, attributes[i], "secret", "hub/device", 10);
        struct tpm_nv nv = look(bench);
        g_assert_true(nv.present);
        g_assert_null(nv.text);
        tpm_nv_clear(&nv);
        g_assert_cmpuint(stranger_lockout_counter(bench->stranger), ==, 0);
        stranger_undefine(bench->stranger, INDEX);
    }
    bench_stop(bench);
}

static void
test_full(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    g_autoptr(GError) error = NULL;
    stranger_fill_nv(bench->stranger);
    g_assert_false(tpm_nv_write(bench->tpm, INDEX, TEXT, &error));
    bench_expect_error(&error, ERROR_NO_SPACE, "tpm2_nvundefine");
    struct tpm_nv nv = look(bench);
    g_assert_false(nv.present);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/tpm-nv/layout", test_layout);
    g_test_add_func("/tpm-nv/locked", test_locked);
    g_test_add_func("/tpm-nv/sizes", test_sizes);
    g_test_add_func("/tpm-nv/taken", test_taken);
    g_test_add_func("/tpm-nv/strange", test_strange);
    g_test_add_func("/tpm-nv/huge", test_huge);
    g_test_add_func("/tpm-nv/passwords", test_passwords);
    g_test_add_func("/tpm-nv/full", test_full);
    return g_test_run();
}
