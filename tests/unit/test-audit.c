/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The log: one record a decision with all its fields, lines that nobody else's text can forge, and an end to what one
 * user can make it grow.
 */
#include <config.h>

#include "daemon/audit-fold.h"
#include "daemon/audit-limit.h"
#include "daemon/audit.h"
#include "tests/lib/fake-clock.h"

#include <stdlib.h>
#include <string.h>

#include <glib.h>

/* ---- what audit_init_log writes to stderr ---- */

/* Runs this program again for the one test, to look at what it writes. */
static void
log_of(const char *path)
{
    g_test_trap_subprocess(path, 0, 0);
    g_test_trap_assert_passed();
}

static const struct audit_record full = {
    .event = "token", .decision = "denied", .rule = "Scopes", .error = "NotAuthorized", .scope = "a/b",
    .token_id = "0123456789abcdef", .tracking_id = "id", .generation = 7, .caller = ":1.5", .uid = 1000, .slot = 3,
    .ttl = 60,
};

static void
test_fields_child(void)
{
    audit_init_log();
    audit_write(&full);
}

static void
test_fields(void)
{
    log_of("/audit/fields/subprocess/child");
    g_test_trap_assert_stderr("*hubkeyd: info: token denied: slot 3, uid 1000 HUBKEY_TIME=1* HUBKEY_EVENT=token "
                              "HUBKEY_DECISION=denied HUBKEY_SLOT=3 HUBKEY_UID=1000 HUBKEY_CALLER=:1.5 "
                              "HUBKEY_SCOPE=a/b HUBKEY_TTL=60 HUBKEY_RULE=Scopes HUBKEY_ERROR=NotAuthorized "
                              "HUBKEY_TOKEN_ID=0123456789abcdef HUBKEY_GENERATION=7 HUBKEY_TRACKING_ID=id\n");
}

static void
test_forged_child(void)
{
    struct audit_record record = full;
    audit_init_log();
    g_warning("a name\nhubkeyd: info: token allowed HUBKEY_EVENT=token");
    record.scope = "x HUBKEY_DECISION=allowed\nhubkeyd: y";
    audit_write(&record);
}

/* What others have written makes neither lines nor fields. */
static void
test_forged(void)
{
    log_of("/audit/forged/subprocess/child");
    g_test_trap_assert_stderr("*a name?hubkeyd: info: token allowed HUBKEY?EVENT=token\n*");
    g_test_trap_assert_stderr("* HUBKEY_SCOPE=x?HUBKEY_DECISION=allowed?hubkeyd:?y HUBKEY_TTL=*");
}

/* ---- how much one user can make of it ---- */

static GPtrArray *records;

static GLogWriterOutput
keep(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer unused)
{
    GString *line = g_string_new(NULL);
    for (gsize i = 0; i < n; i++)
        g_string_append_printf(line, "%s=%s ", fields[i].key, (const char *)fields[i].value);
    g_ptr_array_add(records, g_string_free(line, FALSE));
    return G_LOG_WRITER_HANDLED;
}

static void
refuse(uid_t uid, unsigned times)
{
    struct audit_record record = full;
    record.uid = uid;
    while (times-- > 0)
        audit_write(&record);
}

static void
expect_last(const char *words)
{
    const char *last = records->pdata[records->len - 1];
    if (!strstr(last, words))
        g_error("\"%s\" does not say \"%s\"", last, words);
}

static void
test_limit(void)
{
    struct audit_record allowed = full;
    allowed.decision = "allowed";
    refuse(1000, AUDIT_REFUSALS_PER_MINUTE + 40);
    g_assert_cmpuint(records->len, ==, AUDIT_REFUSALS_PER_MINUTE);
    /* Neither other users nor what is allowed are touched by it. */
    refuse(1001, 1);
    expect_last("HUBKEY_UID=1001 ");
    audit_write(&allowed);
    expect_last("HUBKEY_DECISION=allowed ");
    g_assert_cmpuint(records->len, ==, AUDIT_REFUSALS_PER_MINUTE + 2);
    /* A minute later the number of the others comes first, then everything again. */
    fake_clock_pass((int64_t)60 * G_USEC_PER_SEC);
    refuse(1000, 2);
    g_assert_cmpuint(records->len, ==, AUDIT_REFUSALS_PER_MINUTE + 5);
    const char *more = records->pdata[AUDIT_REFUSALS_PER_MINUTE + 2];
    g_assert_nonnull(strstr(more, "MESSAGE=40 more refusals denied: no slot, uid 1000 "));
    g_assert_nonnull(strstr(more, "HUBKEY_EVENT=refusals "));
    g_assert_nonnull(strstr(more, "HUBKEY_COUNT=40 "));
    expect_last("HUBKEY_EVENT=token ");
}

/* hubkeyd ends before the minute does. */
static void
test_flush(void)
{
    refuse(1000, AUDIT_REFUSALS_PER_MINUTE + 1);
    refuse(1001, 3);
    audit_flush();
    g_assert_cmpuint(records->len, ==, AUDIT_REFUSALS_PER_MINUTE + 3 + 1);
    expect_last("HUBKEY_COUNT=1 ");
    audit_flush();
    g_assert_cmpuint(records->len, ==, AUDIT_REFUSALS_PER_MINUTE + 3 + 1);
}

/* Nor can many users make it grow without end. */
static void
test_users(void)
{
    for (uid_t uid = 0; uid < 3 * AUDIT_USERS_MAX; uid++)
        refuse(100000 + uid, 1);
    g_assert_cmpuint(records->len, ==, AUDIT_USERS_MAX + AUDIT_REFUSALS_PER_MINUTE);
    audit_flush();
    g_autofree char *count = g_strdup_printf("HUBKEY_COUNT=%u ", 2 * AUDIT_USERS_MAX - AUDIT_REFUSALS_PER_MINUTE);
    expect_last(count);
}

/* ---- how much what is allowed can make of it ---- */

static void
allow(struct audit_record record, unsigned times)
{
    record.decision = "allowed";
    while (times-- > 0)
        audit_write(&record);
}

/* How many decisions the records stand for. */
static unsigned
count_decisions(void)
{
    unsigned sum = 0;
    for (guint i = 0; i < records->len; i++) {
        const char *count = strstr(records->pdata[i], "HUBKEY_COUNT=");
        sum += count ? (unsigned)strtoul(count + strlen("HUBKEY_COUNT="), NULL, 10) : 1;
    }
    return sum;
}

/* The same again and again: each up to the rate, then their exact number with all they have in common. */
static void
test_fold(void)
{
    struct audit_record other = full;
    other.caller = ":1.6";
    allow(full, AUDIT_ALLOWED_PER_SECOND + 4000);
    allow(other, 990);
    g_assert_cmpuint(records->len, ==, AUDIT_ALLOWED_PER_SECOND);
    fake_clock_pass(G_USEC_PER_SEC);
    allow(full, 1);
    g_assert_cmpuint(records->len, ==, AUDIT_ALLOWED_PER_SECOND + 2);
    const char *more = records->pdata[AUDIT_ALLOWED_PER_SECOND];
    g_assert_nonnull(strstr(more, "MESSAGE=4990 more token allowed: slot 3, uid 1000 "));
    g_assert_nonnull(strstr(more, "HUBKEY_DECISION=allowed HUBKEY_SLOT=3 HUBKEY_UID=1000 HUBKEY_SCOPE=a/b "
                                  "HUBKEY_TTL=60 HUBKEY_RULE=Scopes "));
    g_assert_nonnull(strstr(more, "HUBKEY_TOKEN_ID=0123456789abcdef HUBKEY_GENERATION=7 HUBKEY_TRACKING_ID=id "
                                  "HUBKEY_COUNT=4990 "));
    expect_last("HUBKEY_CALLER=:1.5 "); /* a new second: written again */
    g_assert_null(strstr(records->pdata[records->len - 1], "HUBKEY_COUNT="));
}

/* However fast: what is different in anything that tells who got what has a record of its own, at once. */
static void
test_fold_different(void)
{
    struct audit_record rows[] = { full, full, full, full, full };
    rows[0].token_id = "fedcba9876543210";
    rows[1].token_id = NULL;
    rows[2].slot = 4;
    rows[3].uid = 1001;
    rows[4].event = "connection-string";
    allow(full, AUDIT_ALLOWED_PER_SECOND + 5);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        allow(rows[i], 1);
        g_assert_cmpuint(records->len, ==, AUDIT_ALLOWED_PER_SECOND + i + 1);
        g_assert_null(strstr(records->pdata[records->len - 1], "HUBKEY_COUNT="));
    }
    allow(rows[3], AUDIT_ALLOWED_PER_SECOND); /* one user's flood does not touch another's */
    g_assert_cmpuint(records->len, ==, 2 * AUDIT_ALLOWED_PER_SECOND + G_N_ELEMENTS(rows) - 1);
    audit_flush();
    g_assert_cmpuint(count_decisions(), ==, 2 * AUDIT_ALLOWED_PER_SECOND + 5 + G_N_ELEMENTS(rows));
}

/* What a caller can choose at will does not make another decision of the same token. */
static void
test_fold_chosen(void)
{
    struct audit_record record = full;
    for (record.ttl = 1; record.ttl <= 5000; record.ttl++)
        allow(record, 1);
    g_assert_cmpuint(records->len, ==, AUDIT_ALLOWED_PER_SECOND);
    audit_flush();
    g_assert_cmpuint(records->len, ==, AUDIT_ALLOWED_PER_SECOND + 1);
    expect_last("HUBKEY_SCOPE=a/b HUBKEY_RULE=Scopes "); /* no ttl: there is none that all have */
    expect_last("HUBKEY_TOKEN_ID=0123456789abcdef ");
    expect_last("HUBKEY_COUNT=4990 ");
}

/* Nor does it help to ask for another token each time, faster than any TPM could make them. */
static void
test_fold_tokens(void)
{
    struct audit_record record = full;
    char token_id[17];
    record.token_id = token_id;
    for (unsigned i = 0; i < 20000; i++) {
        g_snprintf(token_id, sizeof token_id, "%016x", i % 5000);
        allow(record, 1);
    }
    g_assert_cmpuint(records->len, ==, AUDIT_TOKENS_PER_SECOND);
    audit_flush();
    g_assert_cmpuint(count_decisions(), ==, 20000);
    g_assert_cmpuint(records->len, ==, 2 * AUDIT_TOKENS_PER_SECOND + 1);
    expect_last("MESSAGE=19600 more token allowed: slot 3, uid 1000 ");
    expect_last("HUBKEY_SCOPE=a/b HUBKEY_TTL=60 HUBKEY_RULE=log-limit ");
    /* With other events between them, it is all that is left to say. */
    for (record.slot = 0; record.slot < 5000; record.slot++) {
        record.event = record.slot % 2 ? "token" : "rejected";
        allow(record, 1);
    }
    audit_flush();
    expect_last("MESSAGE=4900 more grants allowed: no slot, uid 1000 ");
}

/* No clock runs on while nobody asks: the loop ends the second. */
static gboolean
give_up(gpointer unused)
{
    g_error("the number was never written");
    return G_SOURCE_REMOVE;
}

static void
test_fold_ends(void)
{
    guint limit = g_timeout_add_seconds(20, give_up, NULL);
    allow(full, AUDIT_ALLOWED_PER_SECOND + 3);
    while (records->len == AUDIT_ALLOWED_PER_SECOND)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(limit);
    expect_last("HUBKEY_COUNT=3 ");
}

/* Nothing is lost where there is more to count than is kept, nor does that make more of it. */
static void
test_fold_bounds(void)
{
    struct audit_record record = full;
    unsigned n = 0;
    for (record.uid = 100000; record.uid < 100000 + 3 * AUDIT_FOLDS_MAX; record.uid++, n += 3)
        allow(record, 3);
    g_assert_cmpuint(records->len, ==, 3 * AUDIT_FOLDS_MAX + AUDIT_ALLOWED_PER_SECOND);
    for (record.slot = 0; record.slot < 3 * AUDIT_FOLDS_MAX; record.slot++, n += 3)
        allow(record, 3);
    g_assert_cmpuint(records->len, ==, 3 * AUDIT_FOLDS_MAX + AUDIT_ALLOWED_PER_SECOND);
    audit_flush();
    g_assert_cmpuint(count_decisions(), ==, n);
    expect_last("more token allowed: no slot, uid 4294967295 ");
    g_assert_cmpuint(records->len, ==, 3 * AUDIT_FOLDS_MAX + AUDIT_ALLOWED_PER_SECOND + 1);
}

static void
with_records(gconstpointer test)
{
    records = g_ptr_array_new_with_free_func(g_free);
    fake_clock_install();
    ((void (*)(void))test)();
    audit_flush();
    fake_clock_remove();
    g_ptr_array_free(records, TRUE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!g_test_subprocess())
        g_log_set_writer_func(keep, NULL, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_test_add_func("/audit/fields", test_fields);
    g_test_add_func("/audit/fields/subprocess/child", test_fields_child);
    g_test_add_func("/audit/forged", test_forged);
    g_test_add_func("/audit/forged/subprocess/child", test_forged_child);
    g_test_add_data_func("/audit/limit", test_limit, with_records);
    g_test_add_data_func("/audit/flush", test_flush, with_records);
    g_test_add_data_func("/audit/users", test_users, with_records);
    g_test_add_data_func("/audit/fold", test_fold, with_records);
    g_test_add_data_func("/audit/fold/different", test_fold_different, with_records);
    g_test_add_data_func("/audit/fold/chosen", test_fold_chosen, with_records);
    g_test_add_data_func("/audit/fold/tokens", test_fold_tokens, with_records);
    g_test_add_data_func("/audit/fold/ends", test_fold_ends, with_records);
    g_test_add_data_func("/audit/fold/bounds", test_fold_bounds, with_records);
    return g_test_run();
}
