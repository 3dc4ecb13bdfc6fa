/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a TPM tells about itself: counts, lockout, and whether its owner's password is known.
 */
#include <config.h>

#include "daemon/tpm-info.h"
#include "common/error.h"
#include "tests/tpm/bench.h"

#include <string.h>

#define KEY "0123456789abcdef"

static struct tpm_info
read_info(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    struct tpm_info info;
    tpm_info_read(bench->tpm, &info, &error);
    g_assert_no_error(error);
    return info;
}

static void
test_counts(void)
{
    struct bench *bench = bench_start();
    g_autoptr(GError) error = NULL;
    struct tpm_info before = read_info(bench);
    g_assert_cmpstr(before.manufacturer, ==, "IBM"); /* as the software TPM calls itself */
    g_assert_cmpuint(strlen(before.firmware), >, strlen("0.0.0.0"));
    g_assert_false(before.lockout || before.owner_auth_set);
    g_assert_cmpuint(before.persistent_used, ==, 0);
    g_assert_cmpuint(before.persistent_free, >, 2);
    g_assert_cmpuint(before.nv_used, ==, 0);
    g_assert_cmpuint(before.nv_free, >, 0);
    bench_provision(bench, 0, KEY, strlen(KEY), &error); /* an SRK, a key, an index */
    g_assert_no_error(error);
    stranger_fill_nv(bench->stranger);
    struct tpm_info after = read_info(bench);
    g_assert_cmpuint(after.persistent_used, ==, 2);
    g_assert_cmpuint(after.nv_used, >, 1);
    g_assert_cmpuint(after.nv_free, <, before.nv_free);
    bench_stop(bench);
}

static void
test_lockout(void)
{
    struct bench *bench = bench_start();
    g_autoptr(GError) error = NULL;
    bench_provision(bench, 0, KEY, strlen(KEY), &error);
    g_assert_no_error(error);
    stranger_set_lockout(bench->stranger, true);
    g_assert_true(read_info(bench).lockout);
    bench_expect_signs(bench, 0, KEY, strlen(KEY)); /* keys of ours are exempt */
    stranger_set_lockout(bench->stranger, false);
    g_assert_false(read_info(bench).lockout);
    bench_stop(bench);
}

static void
expect_owner(struct bench *bench, enum tpm_owner owner)
{
    struct tpm_info info = read_info(bench);
    g_assert_true(info.owner_auth_set);
    g_assert_cmpint(info.owner, ==, owner);
}

static void
test_owner(void)
{
    struct bench *bench = bench_start();
    g_autoptr(GError) error = NULL;
    bench_provision(bench, 0, KEY, strlen(KEY), &error);
    g_assert_no_error(error);
    stranger_set_owner(bench->stranger, "", "owner");
    expect_owner(bench, TPM_OWNER_NOT_GIVEN);
    bench_give_owner(bench, NULL);
    expect_owner(bench, TPM_OWNER_UNREADABLE);
    bench_give_owner(bench, "\n");
    expect_owner(bench, TPM_OWNER_UNREADABLE);
    /* Whether it is the right one, the first use tells. */
    bench_give_owner(bench, "another");
    expect_owner(bench, TPM_OWNER_KNOWN);
    g_assert_false(bench_provision(bench, 1, KEY, strlen(KEY), &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "OwnerAuthFile=");
    expect_owner(bench, TPM_OWNER_REFUSED);
    bench_expect_signs(bench, 0, KEY, strlen(KEY));
    /* So does the next one. */
    g_assert_true(g_file_set_contents(bench->owner_file, "owner\n", -1, NULL));
    bench_provision(bench, 1, KEY, strlen(KEY), &error);
    g_assert_no_error(error);
    expect_owner(bench, TPM_OWNER_KNOWN);
    bench_stop(bench);
}

/* A firmware update comes with a restart of the TPM: what stays the same is asked anew then. */
static void
test_power_cut(void)
{
    struct bench *bench = bench_start();
    g_autoptr(GError) error = NULL;
    struct tpm_info info;
    read_info(bench);
    swtpm_cut_power(bench->swtpm);
    g_assert_false(tpm_info_read(bench->tpm, &info, &error));
    bench_expect_error(&error, ERROR_TPM_ABSENT, "");
    swtpm_give_power(bench->swtpm);
    g_assert_cmpstr(read_info(bench).manufacturer, ==, "IBM");
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/tpm-info/counts", test_counts);
    g_test_add_func("/tpm-info/lockout", test_lockout);
    g_test_add_func("/tpm-info/owner", test_owner);
    g_test_add_func("/tpm-info/power-cut", test_power_cut);
    return g_test_run();
}
