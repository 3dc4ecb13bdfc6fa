/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What crosses between us and the TPM: recorded by a spy, which can also answer in the TPM's place. Whoever listens on
 * the bus of a TPM chip sees this.
 */
#include <config.h>

#include "common/error.h"
#include "tests/tpm/bench.h"
#include "tests/tpm/record.h"

#include <stdio.h>
#include <string.h>

#include <glib/gstdio.h>

#define PASSWORD "owner-password-4711"
#define RC_OBJECT_MEMORY 0x902
#define RC_RETRY 0x922
#define RC_FAILURE 0x101
#define POINTS_MAX 200

static uint8_t key[32] = "\x9d\x3b\xe1Qz\x07\xf4\x88 random enough\x1b\xc2\xd7\xee\x91";

/* ---- listening ---- */

static struct bench *
start_recorded(void)
{
    struct bench *bench = bench_start_spied("record=%s/record,");
    bench_attach(bench);
    return bench;
}

static void
provision(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    bench_provision(bench, 0, key, sizeof key, &error);
    g_assert_no_error(error);
}

/* Others than the one with the key carry nothing. */
static unsigned
count_creates_in_session(GPtrArray *messages)
{
    unsigned count = 0;
    for (guint i = 0; i < messages->len; i++)
        count += record_is_command(messages->pdata[i]) && record_number(messages->pdata[i], 6) == RECORD_CREATE &&
                 record_number(messages->pdata[i], 18) != RECORD_PASSWORD;
    return count;
}

static void
test_no_password(void)
{
    struct bench *bench = start_recorded();
    provision(bench);
    g_autoptr(GPtrArray) messages = record_read(bench);
    /* What is no secret is seen, so the recording is one. */
    g_assert_true(record_holds(messages, BENCH_HOST "/" BENCH_DEVICE, strlen(BENCH_HOST "/" BENCH_DEVICE)));
    record_expect_absent(messages, key, sizeof key);
    g_assert_cmpuint(record_count(messages, RECORD_START_AUTH_SESSION), ==, 1);
    g_assert_cmpuint(count_creates_in_session(messages), ==, 1);
    record_expect_salted(messages);
    bench_stop(bench);
}

static void
test_password(void)
{
    struct bench *bench = start_recorded();
    g_autoptr(GError) error = NULL;
    stranger_set_owner(bench->stranger, "", PASSWORD);
    bench_give_owner(bench, PASSWORD "\n");
    /* The first time there is no SRK that the session which makes it could be salted to. */
    provision(bench);
    bench_clear(bench, 0, &error);
    g_assert_no_error(error);
    g_autoptr(GPtrArray) first = record_read(bench);
    record_expect_absent(first, key, sizeof key);
    record_expect_absent(first, PASSWORD, strlen(PASSWORD));
    record_forget(bench);
    provision(bench);
    bench_clear(bench, 0, &error);
    g_assert_no_error(error);
    g_autoptr(GPtrArray) second = record_read(bench);
    record_expect_absent(second, key, sizeof key);
    record_expect_absent(second, PASSWORD, strlen(PASSWORD));
    g_assert_cmpuint(record_count(second, RECORD_START_AUTH_SESSION), >, 1);
    record_expect_salted(second);
    bench_stop(bench);
}

/* One signature is one command, and no session, once the slot is held. */
static void
test_signing(void)
{
    struct bench *bench = start_recorded();
    uint8_t mac[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    provision(bench);
    bench_expect_signs(bench, 0, key, sizeof key);
    record_forget(bench);
    for (int i = 0; i < 20; i++)
        bench_expect_signs(bench, 0, key, sizeof key);
    g_autoptr(GPtrArray) messages = record_read(bench);
    g_assert_cmpuint(record_count(messages, RECORD_HMAC), ==, 20);
    g_assert_cmpuint(record_count(messages, 0), ==, 20);
    record_expect_absent(messages, key, sizeof key);
    /* Long texts: start, one update for each full part but the last, complete. */
    static uint8_t text[3000];
    record_forget(bench);
    bench_sign(bench, 0, text, sizeof text, mac, &error);
    g_assert_no_error(error);
    g_autoptr(GPtrArray) sequence = record_read(bench);
    g_assert_cmpuint(record_count(sequence, 0), ==, 4);
    bench_stop(bench);
}

/* ---- answering in the TPM's place ---- */

static struct bench *
start_ordered(void)
{
    struct bench *bench = bench_start_spied("orders=%s/orders,");
    bench_attach(bench);
    return bench;
}

static void
give_order(struct bench *bench, uint32_t code, unsigned n)
{
    g_autofree char *orders = bench_file(bench, "orders"), *fired = g_strconcat(orders, ".fired", NULL);
    g_autofree char *text = g_strdup_printf("inject %u 0x%x\n", n, code);
    g_unlink(fired);
    g_assert_true(g_file_set_contents(orders, text, -1, NULL));
}

/* The code of the command that was answered so; 0 where the operation had fewer commands. */
static uint32_t
fired(struct bench *bench)
{
    g_autofree char *path = bench_file(bench, "orders.fired"), *text = NULL;
    unsigned n;
    uint32_t code;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    g_assert_cmpint(sscanf(text, "inject %u %x", &n, &code), ==, 2);
    return code;
}

static bool
do_provision(struct bench *bench, GError **error)
{
    return bench_provision(bench, 0, key, sizeof key, error);
}

static bool
do_clear(struct bench *bench, GError **error)
{
    return bench_clear(bench, 0, error);
}

static bool
do_sign(struct bench *bench, GError **error)
{
    static uint8_t text[3000];
    uint8_t mac[SLOT_MAC_BYTES], expected[SLOT_MAC_BYTES];
    if (!bench_sign(bench, 0, text, sizeof text, mac, error))
        return false;
    bench_hmac(key, sizeof key, text, sizeof text, expected);
    g_assert_cmpmem(mac, sizeof mac, expected, sizeof expected);
    return true;
}

struct operation {
    bool (*run)(struct bench *, GError **);
    bool from_ready, to_ready;
};

static const struct operation operations[] = {
    { do_provision, false, true },
    { do_clear, true, false },
    { do_sign, true, true },
};

/* Nothing of a slot that is not ready stands in the TPM or on disk, all of one that is. */
static void
expect_whole(struct bench *bench, bool ready)
{
    bench_expect(bench, 0, ready ? SLOT_READY : SLOT_EMPTY, NULL);
    g_autoptr(GBytes) object = stranger_look(bench->stranger, BENCH_KEY(0));
    g_autoptr(GBytes) index = stranger_look(bench->stranger, BENCH_NV(0));
    g_assert_true(!object == !ready && !index == !ready);
    if (ready)
        bench_expect_signs(bench, 0, key, sizeof key);
    bench_expect_tidy(bench);
}

static bool
is_ready(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    struct slot_finding finding;
    slot_storage_ops.survey(bench->storage, 0, &finding, &error);
    g_assert_no_error(error);
    bool ready = finding.state == SLOT_READY;
    slot_finding_clear(&finding);
    return ready;
}

static void
make(struct bench *bench, bool ready)
{
    g_autoptr(GError) error = NULL;
    if (is_ready(bench) != ready)
        (ready ? do_provision : do_clear)(bench, &error);
    g_assert_no_error(error);
}

/* One refusal, at each command in turn. What was cut short is settled by itself at the next attach. */
static bool
refuse_at(struct bench *bench, const struct operation *operation, uint32_t code, unsigned n)
{
    g_autoptr(GError) error = NULL;
    make(bench, operation->from_ready);
    struct stranger_usage before = stranger_usage(bench->stranger);
    give_order(bench, code, n);
    bool done = operation->run(bench, &error);
    uint32_t command = fired(bench);
    g_assert_cmpint(done, ==, error == NULL);
    if (command == 0 || code == RC_RETRY)
        g_assert_no_error(error);
    give_order(bench, code, 100000); /* the one that was missed is withdrawn */
    bench_attach(bench);
    /* An object whose very flush is refused stays; nobody can help that. */
    if (command == RECORD_FLUSH_CONTEXT && code != RC_RETRY) {
        swtpm_cut_power(bench->swtpm);
        swtpm_give_power(bench->swtpm);
        before.transient = 0;
    }
    /* A Clear that was refused when it had begun is finished now; all else is as it was. */
    bool ready = done ? operation->to_ready : operation->from_ready;
    expect_whole(bench, !done && operation->run == do_clear ? is_ready(bench) : ready);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    return command != 0;
}

static void
test_refused(gconstpointer data)
{
    uint32_t code = GPOINTER_TO_UINT(data);
    struct bench *bench = start_ordered();
    for (size_t i = 0; i < G_N_ELEMENTS(operations); i++) {
        unsigned n = 1;
        while (refuse_at(bench, &operations[i], code, n))
            g_assert_cmpuint(++n, <, POINTS_MAX);
        g_test_message("operation %zu: %u commands", i, n - 1);
        g_assert_cmpuint(n, >, 4);
    }
    bench_stop(bench);
}

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/wire/no-password", test_no_password);
    g_test_add_func("/wire/password", test_password);
    g_test_add_func("/wire/signing", test_signing);
    g_test_add_data_func("/wire/refused/memory", GUINT_TO_POINTER(RC_OBJECT_MEMORY), test_refused);
    g_test_add_data_func("/wire/refused/retry", GUINT_TO_POINTER(RC_RETRY), test_refused);
    g_test_add_data_func("/wire/refused/failure", GUINT_TO_POINTER(RC_FAILURE), test_refused);
    return g_test_run();
}
