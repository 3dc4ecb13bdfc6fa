/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/sharing.c: one signature for all who ask for the same, an answer for each of them in time.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/limits.h"
#include "daemon/sharing.h"
#include "daemon/slot.h"
#include "daemon/worker.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"
#include "tests/lib/fake-storage.h"

#include <malloc.h>
#include <string.h>

#define HOST "h.azure-devices.net"
#define KEY "0123456789abcdef"
#define EXPIRES (FAKE_CLOCK_START_S + 600)

struct fixture {
    struct fake_storage *storage;
    struct worker *worker;
    struct slots *slots;
    struct limits *limits;
    struct sharing *sharing;
};

static void
ignore_slot(uint32_t slot, void *user)
{
}

static void
ignore_there(uint32_t slot, bool there, void *user)
{
}

static void
ignore_generation(uint32_t slot, uint64_t generation, void *user)
{
}

static void
ignore(void *user)
{
}

static bool
is_idle(void *user)
{
    return worker_depth(((struct fixture *)user)->worker) == 0;
}

static void
set_up(struct fixture *fixture, gconstpointer granularity)
{
    static const struct slots_hooks hooks = { ignore_slot, ignore_there, ignore_generation, ignore, ignore };
    fake_clock_install();
    fixture->storage = fake_storage_new();
    fake_storage_put(fixture->storage, 0, SLOT_READY, 3, HOST, "d", KEY);
    fake_storage_put(fixture->storage, 1, SLOT_READY, 1, HOST, "e", KEY);
    fixture->worker = worker_new(NULL);
    fixture->slots = slots_new(&fake_storage_ops, fixture->storage, fixture->worker, &hooks, fixture, NULL);
    g_assert_true(await(is_idle, fixture));
    fixture->limits = limits_new();
    fixture->sharing = sharing_new(fixture->slots, fixture->worker, fixture->limits,
                                   granularity ? GPOINTER_TO_UINT(granularity) : 1);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_release(fixture->storage);
    if (fixture->worker)
        g_assert_true(worker_stop(fixture->worker, 20 * G_USEC_PER_SEC));
    sharing_free(fixture->sharing);
    slots_free(fixture->slots);
    limits_free(fixture->limits);
    fake_storage_free(fixture->storage);
    fake_clock_remove();
}

static unsigned
signatures(struct fixture *fixture)
{
    return fake_storage_count(fixture->storage, FAKE_STORAGE_SIGN);
}

/* ---- asking ---- */

struct asked {
    int calls, place; /* place: how many had been answered before */
    char *token, *text;
    bool shared;
    int code; /* of the error; 0: none */
};

static int answered;

static void
on_answer(const struct sharing_answer *answer, void *user)
{
    struct asked *asked = user;
    asked->calls++;
    asked->place = answered++;
    g_free(asked->token);
    asked->token = g_strdup(answer->token);
    g_free(asked->text);
    asked->text = g_strdup(answer->error ? answer->error->message : NULL);
    asked->code = answer->error ? answer->error->code : 0;
    asked->shared = answer->shared;
    g_assert_true(!answer->token || (answer->expires > 0 && strlen(answer->token_id) == 16));
}

static void
asked_clear(struct asked *asked)
{
    g_free(asked->token);
    g_free(asked->text);
    *asked = (struct asked){ 0 };
}

static bool
is_answered(void *user)
{
    return ((struct asked *)user)->calls > 0;
}

static void
ask(struct fixture *fixture, struct asked *asked, uint32_t slot, const char *scope, int64_t expires, uid_t uid,
    const char *peer)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(sharing_request(fixture->sharing, slots_get(fixture->slots, slot), scope, (uint64_t)expires, uid,
                                  peer, on_answer, asked, &error));
    g_assert_no_error(error);
}

/* Keeps the worker inside a signature of slot 1, by user 99. */
static void
hold(struct fixture *fixture, struct asked *asked)
{
    fake_storage_hold(fixture->storage, FAKE_STORAGE_SIGN);
    ask(fixture, asked, 1, "held", EXPIRES, 99, ":1.99");
    g_assert_true(await(fake_storage_is_inside, fixture->storage));
}

static void
release(struct fixture *fixture)
{
    fake_storage_release(fixture->storage);
    g_assert_true(await(is_idle, fixture));
}

/* ---- when it goes wrong ---- */

static void
test_error_to_all(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, waiting[3] = { { 0 } };
    hold(fixture, &held);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_SIGN, ERROR_TPM_FAILED);
    for (uid_t i = 0; i < 3; i++)
        ask(fixture, &waiting[i], 0, "", EXPIRES, i, ":1.1");
    release(fixture);
    g_assert_cmpint(held.code, ==, ERROR_TPM_FAILED);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(waiting[i].calls, ==, 1);
        g_assert_cmpint(waiting[i].code, ==, ERROR_TPM_FAILED);
        g_assert_null(waiting[i].token);
        asked_clear(&waiting[i]);
    }
    /* A failure is not kept for the next who ask. */
    fake_storage_fail(fixture->storage, FAKE_STORAGE_SIGN, 0);
    ask(fixture, &waiting[0], 0, "", EXPIRES, 1, ":1.1");
    g_assert_true(await(is_answered, &waiting[0]));
    g_assert_nonnull(waiting[0].token);
    asked_clear(&waiting[0]);
    asked_clear(&held);
}

/* The TPM hangs: everybody is answered within 5 s, and what comes back later goes to nobody. */
static void
test_hanging(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, waiting = { 0 }, again = { 0 };
    hold(fixture, &held);
    ask(fixture, &waiting, 0, "", EXPIRES, 1, ":1.1");
    fake_clock_pass(SHARING_LIMIT_US);
    g_assert_true(await(is_answered, &waiting));
    g_assert_cmpint(held.code, ==, ERROR_TPM_FAILED);
    g_assert_cmpint(waiting.code, ==, ERROR_TPM_FAILED);
    g_assert_nonnull(strstr(waiting.text, "has not answered for 5 s"));
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_FAILED); /* at once, not at the next look */
    ask(fixture, &again, 0, "", EXPIRES, 1, ":1.1");
    release(fixture);
    g_assert_cmpint(held.calls + waiting.calls, ==, 2);
    g_assert_cmpint(again.calls, ==, 1);
    g_assert_nonnull(again.token);
    g_assert_cmpuint(signatures(fixture), ==,
                     2); /* the one that hung and the new one; what was given up is not signed */
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_READY);
    asked_clear(&held);
    asked_clear(&waiting);
    asked_clear(&again);
}

/* The TPM works, but for others: that is Busy, and no reason to call it failed. */
static void
test_busy_with_others(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, next = { 0 }, waiting = { 0 };
    hold(fixture, &held);
    ask(fixture, &next, 1, "next", EXPIRES, 1, ":1.1");
    ask(fixture, &waiting, 0, "", EXPIRES, 1, ":1.1");
    fake_clock_pass(SHARING_LIMIT_US - G_USEC_PER_SEC);
    fake_storage_let_one(fixture->storage);
    g_assert_true(await(is_answered, &held));
    g_assert_true(await(fake_storage_is_inside, fixture->storage));
    fake_clock_pass(G_USEC_PER_SEC);
    g_assert_true(await(is_answered, &waiting));
    g_assert_cmpint(held.code, ==, 0);
    g_assert_cmpint(next.code, ==, ERROR_BUSY);
    g_assert_cmpint(waiting.code, ==, ERROR_BUSY);
    g_assert_true(g_str_has_suffix(waiting.text, "retry in 100 ms"));
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_READY);
    release(fixture);
    g_assert_cmpuint(signatures(fixture), ==, 2);
    asked_clear(&held);
    asked_clear(&next);
    asked_clear(&waiting);
}

static void
test_limit(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, other = { 0 }, joined = { 0 };
    static struct asked many[LIMITS_WAITING_PER_UID];
    g_autoptr(GError) error = NULL;
    hold(fixture, &held);
    for (int i = 0; i < LIMITS_WAITING_PER_UID; i++) {
        char scope[16];
        g_snprintf(scope, sizeof scope, "s%d", i / 2); /* every second one joins another */
        ask(fixture, &many[i], 0, scope, EXPIRES, 1, ":1.1");
    }
    g_assert_false(sharing_request(fixture->sharing, slots_get(fixture->slots, 0), "s0", EXPIRES, 1, ":1.2", on_answer,
                                   &joined, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_BUSY);
    ask(fixture, &other, 0, "", EXPIRES, 2, ":1.2"); /* somebody else does not feel it, and has the next turn */
    g_assert_cmpuint(worker_depth(fixture->worker), ==, 1 + LIMITS_WAITING_PER_UID / 2 + 1);
    release(fixture);
    g_assert_cmpint(joined.calls, ==, 0);
    g_assert_cmpint(other.place, <=, held.place + 3);
    for (int i = 0; i < LIMITS_WAITING_PER_UID; i++) {
        g_assert_cmpint(many[i].calls, ==, 1);
        g_assert_nonnull(many[i].token);
        asked_clear(&many[i]);
    }
    ask(fixture, &joined, 0, "new", EXPIRES, 1, ":1.1"); /* all places are free again */
    g_assert_true(await(is_answered, &joined));
    asked_clear(&held);
    asked_clear(&other);
    asked_clear(&joined);
}

/* Who leaves the bus is forgotten; who waits with them is not. */
static void
test_forgotten(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, leaving[3] = { { 0 } }, staying = { 0 };
    hold(fixture, &held);
    ask(fixture, &leaving[0], 0, "both", EXPIRES, 1, ":1.1");
    ask(fixture, &staying, 0, "both", EXPIRES, 2, ":1.2");
    ask(fixture, &leaving[1], 0, "both", EXPIRES, 1, ":1.1");
    ask(fixture, &leaving[2], 0, "alone", EXPIRES, 1, ":1.1");
    sharing_forget(fixture->sharing, ":1.77");
    g_assert_cmpint(leaving[0].calls, ==, 0);
    sharing_forget(fixture->sharing, ":1.1");
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(leaving[i].calls, ==, 1);
        g_assert_null(leaving[i].token);
        g_assert_cmpint(leaving[i].code, ==, 0);
        asked_clear(&leaving[i]);
    }
    g_assert_cmpint(staying.calls, ==, 0);
    sharing_forget(fixture->sharing, ":1.99"); /* the one who is inside the TPM */
    g_assert_cmpint(held.calls, ==, 1);
    release(fixture);
    g_assert_nonnull(staying.token);
    g_assert_cmpint(held.calls, ==, 1);
    g_assert_cmpuint(signatures(fixture), ==, 2); /* "alone" was taken out before its turn */
    asked_clear(&held);
    asked_clear(&staying);
}

static void
test_free_with_waiters(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, waiting = { 0 }, late = { 0 };
    hold(fixture, &held);
    ask(fixture, &late, 0, "late", EXPIRES, 1, ":1.1");
    fake_clock_pass(SHARING_LIMIT_US);
    g_assert_true(await(is_answered, &late));
    ask(fixture, &waiting, 0, "", EXPIRES, 1, ":1.1");
    g_assert_false(worker_stop(fixture->worker, 1000));
    fake_storage_release(fixture->storage);
    g_assert_true(worker_stop(g_steal_pointer(&fixture->worker), 20 * G_USEC_PER_SEC));
    g_assert_cmpint(waiting.calls, ==, 0);
    g_clear_pointer(&fixture->sharing, sharing_free);
    g_assert_cmpint(waiting.calls, ==, 1);
    g_assert_null(waiting.token);
    g_assert_cmpint(waiting.code, ==, 0);
    g_assert_cmpint(held.calls + late.calls, ==, 2);
    asked_clear(&held);
    asked_clear(&late);
}

/* ---- what is shared, and what is not ---- */

static void
test_shared(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, waiting[4] = { { 0 } }, later = { 0 };
    hold(fixture, &held);
    for (uid_t i = 0; i < 4; i++)
        ask(fixture, &waiting[i], 0, "messages/events", EXPIRES, i, ":1.1");
    release(fixture);
    g_assert_cmpuint(signatures(fixture), ==, 2);
    g_assert_false(held.shared);
    for (int i = 0; i < 4; i++) {
        g_assert_cmpstr(waiting[i].token, ==, waiting[0].token);
        g_assert_true(waiting[i].shared);
    }
    ask(fixture, &later, 0, "messages/events", EXPIRES, 9, ":1.9");
    g_assert_cmpint(later.calls, ==, 1); /* before returning */
    g_assert_true(later.shared);
    g_assert_cmpstr(later.token, ==, waiting[0].token);
    g_assert_cmpuint(signatures(fixture), ==, 2);

    /* And the signature is right. */
    g_autofree char *text = g_strdup_printf(HOST "%%2Fdevices%%2Fd%%2Fmessages%%2Fevents\n%" G_GINT64_FORMAT, EXPIRES);
    g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA256, (const guchar *)KEY, strlen(KEY));
    guint8 mac[32];
    gsize n = sizeof mac;
    g_hmac_update(hmac, (const guchar *)text, -1);
    g_hmac_get_digest(hmac, mac, &n);
    g_autofree char *base64 = g_base64_encode(mac, sizeof mac), *sig = g_uri_escape_string(base64, NULL, FALSE);
    g_autofree char *wanted = g_strdup_printf("&sig=%s&se=%" G_GINT64_FORMAT, sig, EXPIRES);
    g_assert_true(g_str_has_suffix(later.token, wanted));
    for (int i = 0; i < 4; i++)
        asked_clear(&waiting[i]);
    asked_clear(&held);
    asked_clear(&later);
}

static void
test_not_shared(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        uint32_t slot;
        const char *scope;
        int64_t expires;
    } rows[] = {
        { 0, "", EXPIRES },  { 0, "a", EXPIRES },    { 0, "a/b", EXPIRES },
        { 0, "A", EXPIRES }, { 0, "", EXPIRES + 1 }, { 1, "", EXPIRES },
    };
    struct asked asked[G_N_ELEMENTS(rows)] = { { 0 } };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        ask(fixture, &asked[i], rows[i].slot, rows[i].scope, rows[i].expires, 1, ":1.1");
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(signatures(fixture), ==, G_N_ELEMENTS(rows));
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_false(asked[i].shared);
        for (size_t j = 0; j < i; j++)
            g_assert_cmpstr(asked[i].token, !=, asked[j].token);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        asked_clear(&asked[i]);
}

/* A token of the key before is never given out for the key after. */
static void
test_new_generation(struct fixture *fixture, gconstpointer unused)
{
    struct asked before = { 0 }, after = { 0 };
    ask(fixture, &before, 0, "", EXPIRES, 1, ":1.1");
    g_assert_true(await(is_idle, fixture));
    fake_storage_put(fixture->storage, 0, SLOT_READY, 4, HOST, "d", "another key");
    slots_recheck(fixture->slots, 0);
    g_assert_true(await(is_idle, fixture));
    ask(fixture, &after, 0, "", EXPIRES, 1, ":1.1");
    g_assert_cmpint(after.calls, ==, 0);
    g_assert_true(await(is_answered, &after));
    g_assert_cmpstr(before.token, !=, after.token);
    asked_clear(&before);
    asked_clear(&after);
}

/* How long a token is kept for others: the granularity of expiries, in seconds of the wall clock. */
static void
test_kept(struct fixture *fixture, gconstpointer granularity)
{
    struct asked asked = { 0 };
    int64_t kept_us = (granularity ? GPOINTER_TO_UINT(granularity) : 1) * G_USEC_PER_SEC;
    ask(fixture, &asked, 0, "", EXPIRES, 1, ":1.1");
    g_assert_true(await(is_idle, fixture));
    asked_clear(&asked);
    fake_clock_pass(kept_us - 1);
    ask(fixture, &asked, 0, "", EXPIRES, 1, ":1.1");
    g_assert_cmpint(asked.calls, ==, 1);
    asked_clear(&asked);
    fake_clock_pass(1);
    ask(fixture, &asked, 0, "", EXPIRES, 1, ":1.1");
    g_assert_cmpint(asked.calls, ==, 0);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(signatures(fixture), ==, 2);
    asked_clear(&asked);
    fake_clock_set_wall(FAKE_CLOCK_START_S - 1000); /* a clock that was set back keeps nothing for ever */
    ask(fixture, &asked, 0, "", EXPIRES, 1, ":1.1");
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(signatures(fixture), ==, 3);
    asked_clear(&asked);
}

/* However many scopes are asked for within a second, no more than so many tokens are kept. */
static void
test_kept_bound(struct fixture *fixture, gconstpointer unused)
{
    struct asked asked = { 0 };
    for (int i = 0; i < SHARING_KEPT_MAX + 200; i++) {
        char scope[16];
        g_snprintf(scope, sizeof scope, "s%d", i);
        ask(fixture, &asked, 0, scope, EXPIRES, 1, ":1.1");
        if (i % 100 == 0)
            g_assert_true(await(is_idle, fixture));
    }
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpint(asked.calls, ==, SHARING_KEPT_MAX + 200);
    unsigned before = signatures(fixture);
    char last[16];
    g_snprintf(last, sizeof last, "s%d", SHARING_KEPT_MAX + 199);
    ask(fixture, &asked, 0, last, EXPIRES, 1, ":1.1");
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(signatures(fixture), ==, before); /* kept */
    ask(fixture, &asked, 0, "s0", EXPIRES, 1, ":1.1");
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(signatures(fixture), ==, before + 1); /* made room, signed again */
    asked_clear(&asked);
}

/* ---- memory ---- */

static int trims;

/* In glibc's place, so that it can be counted. */
int
malloc_trim(size_t pad)
{
    trims++;
    return 1;
}

/* Tokens of a hundred scopes, given out and grown old. */
static void
burst(struct fixture *fixture)
{
    struct asked many[100] = { { 0 } };
    for (int i = 0; i < 100; i++) {
        char scope[16];
        g_snprintf(scope, sizeof scope, "s%d", i);
        ask(fixture, &many[i], 0, scope, EXPIRES, (uid_t)i % 5, ":1.1");
        g_assert_true(await(is_answered, &many[i]));
        asked_clear(&many[i]);
    }
    fake_clock_pass(2 * G_USEC_PER_SEC);
}

/* The memory of a burst goes back without anybody asking again; but however many there are, once a minute. */
static void
test_trim(struct fixture *fixture, gconstpointer unused)
{
    trims = 0;
    burst(fixture);
    g_assert_true(await_count(&trims, 1));
    for (int i = 0; i < 20; i++)
        burst(fixture);
    g_assert_cmpint(trims, ==, 1);
    fake_clock_pass((int64_t)60 * G_USEC_PER_SEC);
    g_assert_true(await_count(&trims, 2));
    burst(fixture);
    g_assert_cmpint(trims, ==, 2);
}

/* ---- turns ---- */

/* Who joins a request that is far back in another user's queue does not wait for that user's others. */
static void
test_earliest_turn(struct fixture *fixture, gconstpointer unused)
{
    struct asked held = { 0 }, many[100] = { { 0 } }, joined = { 0 };
    hold(fixture, &held);
    for (int i = 0; i < 100; i++) {
        char scope[16];
        g_snprintf(scope, sizeof scope, "s%d", i);
        ask(fixture, &many[i], 0, scope, EXPIRES, 1, ":1.1");
    }
    ask(fixture, &joined, 0, "s99", EXPIRES, 2, ":1.2");
    release(fixture);
    g_assert_cmpint(joined.place - held.place, <=, 3);
    g_assert_cmpstr(joined.token, ==, many[99].token);
    for (int i = 0; i < 100; i++)
        asked_clear(&many[i]);
    asked_clear(&held);
    asked_clear(&joined);
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); /* a TPM that hangs warns */
    ADD("/sharing/error-to-all", test_error_to_all);
    ADD("/sharing/hanging", test_hanging);
    ADD("/sharing/busy-with-others", test_busy_with_others);
    ADD("/sharing/limit", test_limit);
    ADD("/sharing/forgotten", test_forgotten);
    ADD("/sharing/free-with-waiters", test_free_with_waiters);
    ADD("/sharing/shared", test_shared);
    ADD("/sharing/not-shared", test_not_shared);
    ADD("/sharing/new-generation", test_new_generation);
    ADD("/sharing/kept", test_kept);
    g_test_add("/sharing/kept-granularity", struct fixture, GUINT_TO_POINTER(60), set_up, test_kept, tear_down);
    ADD("/sharing/kept-bound", test_kept_bound);
    ADD("/sharing/trim", test_trim);
    ADD("/sharing/earliest-turn", test_earliest_turn);
    return g_test_run();
}
