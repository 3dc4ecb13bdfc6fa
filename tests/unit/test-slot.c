/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/slot.c, slot-attach.c and slot-change.c over storage that fails, hangs and changes behind our back.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/slot.h"
#include "daemon/worker.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"
#include "tests/lib/fake-storage.h"

#include <string.h>

#define HOST "h.azure-devices.net"
#define STOP_LIMIT_US (20 * G_USEC_PER_SEC)

struct fixture {
    struct fake_storage *storage;
    struct worker *worker;
    struct slots *slots;
    GString *hooks; /* what was called, in order: "changed 3; appeared 3; gone 3; invalid 3 7; tpm ready; surveyed; " */
    enum slot_tpm_state awaited;
};

static void
on_changed(uint32_t slot, void *user)
{
    g_string_append_printf(((struct fixture *)user)->hooks, "changed %u; ", slot);
}

static void
on_appeared(uint32_t slot, bool there, void *user)
{
    g_string_append_printf(((struct fixture *)user)->hooks, "%s %u; ", there ? "appeared" : "gone", slot);
}

static void
on_invalidated(uint32_t slot, uint64_t generation, void *user)
{
    g_string_append_printf(((struct fixture *)user)->hooks, "invalid %u %u; ", slot, (unsigned)generation);
}

static void
on_tpm_changed(void *user)
{
    struct fixture *fixture = user;
    g_string_append_printf(fixture->hooks, "tpm %s; ", slot_tpm_state_name(slots_tpm_state(fixture->slots)));
}

static void
on_surveyed(void *user)
{
    g_string_append(((struct fixture *)user)->hooks, "surveyed; ");
}

/* The configuration wants device "wanted" in slot 4. */
static const struct identity *
wanted(uint32_t slot, void *user)
{
    static const struct identity identity = { .host = (char *)HOST, .device = (char *)"wanted" };
    return slot == 4 ? &identity : NULL;
}

static const struct slots_hooks hooks = {
    .changed = on_changed,
    .appeared = on_appeared,
    .invalidated = on_invalidated,
    .tpm_changed = on_tpm_changed,
    .surveyed = on_surveyed,
    .wanted = wanted,
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    fake_clock_install();
    fixture->hooks = g_string_new(NULL);
    fixture->storage = fake_storage_new();
    fixture->worker = worker_new(NULL);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_release(fixture->storage);
    if (fixture->worker)
        g_assert_true(worker_stop(fixture->worker, STOP_LIMIT_US));
    slots_free(fixture->slots);
    fake_storage_free(fixture->storage);
    g_string_free(fixture->hooks, TRUE);
    fake_clock_remove();
}

static bool
is_idle(void *user)
{
    return worker_depth(((struct fixture *)user)->worker) == 0;
}

static bool
is_state(void *user)
{
    struct fixture *fixture = user;
    return slots_tpm_state(fixture->slots) == fixture->awaited;
}

static void
await_state(struct fixture *fixture, enum slot_tpm_state state)
{
    fixture->awaited = state;
    g_assert_true(await(is_state, fixture));
}

/* Begins, waits for the first look, and forgets what the hooks said meanwhile. */
static void
start(struct fixture *fixture)
{
    fixture->slots = slots_new(&fake_storage_ops, fixture->storage, fixture->worker, &hooks, fixture, NULL);
    g_assert_true(await(is_idle, fixture));
    g_string_truncate(fixture->hooks, 0);
}

static void
expect_hooks(struct fixture *fixture, const char *wanted)
{
    g_assert_cmpstr(fixture->hooks->str, ==, wanted);
    g_string_truncate(fixture->hooks, 0);
}

/* ---- a TPM that is not well ---- */

static void
test_absent(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 2, SLOT_READY, 5, HOST, "d", "key");
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ATTACH, ERROR_TPM_ABSENT);
    fixture->slots = slots_new(&fake_storage_ops, fixture->storage, fixture->worker, &hooks, fixture, NULL);
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_STARTING);
    g_assert_nonnull(slots_get(fixture->slots, 2)); /* disk is enough to know it */
    await_state(fixture, SLOT_TPM_ABSENT);
    expect_hooks(fixture, "tpm absent; surveyed; ");
    g_assert_null(slots_srk_name(fixture->slots));
    /* It is tried again by itself; told once, and only when something changes. */
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ATTACH, 0);
    await_state(fixture, SLOT_TPM_READY);
    expect_hooks(fixture, "changed 2; tpm ready; ");
    g_assert_cmpstr(slots_srk_name(fixture->slots), ==, FAKE_STORAGE_SRK);
}

static void
test_failed(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ATTACH, ERROR_TPM_FAILED);
    start(fixture);
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_FAILED);
    fake_storage_set_medium(fixture->storage, true, NULL);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ATTACH, 0);
    await_state(fixture, SLOT_TPM_CLEARED);
    g_assert_null(slots_srk_name(fixture->slots));
}

/* What is on disk cannot be looked at: no slot is taken for empty because of that. */
static void
test_not_loaded(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    fake_storage_put(fixture->storage, 2, SLOT_READY, 5, HOST, "d", "key");
    fake_storage_fail(fixture->storage, FAKE_STORAGE_LOAD_ALL, ERROR_INTERNAL);
    g_assert_null(slots_new(&fake_storage_ops, fixture->storage, fixture->worker, &hooks, fixture, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    expect_hooks(fixture, "");
}

/* A look that breaks off says nothing about any slot. */
static void
test_broken_survey(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 0, SLOT_READY, 5, HOST, "d", "key");
    fake_storage_hold(fixture->storage, FAKE_STORAGE_ATTACH);
    fixture->slots = slots_new(&fake_storage_ops, fixture->storage, fixture->worker, &hooks, fixture, NULL);
    fake_storage_put(fixture->storage, 0, SLOT_TAMPERED, 5, HOST, "d", "key");
    fake_storage_fail(fixture->storage, FAKE_STORAGE_SURVEY, ERROR_TPM_FAILED);
    fake_storage_release(fixture->storage);
    await_state(fixture, SLOT_TPM_FAILED);
    g_assert_cmpint(slots_get(fixture->slots, 0)->state, ==, SLOT_READY);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_SURVEY, 0);
    await_state(fixture, SLOT_TPM_READY);
    g_assert_cmpint(slots_get(fixture->slots, 0)->state, ==, SLOT_TAMPERED);
}

static void
test_hangs_at_start(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_hold(fixture->storage, FAKE_STORAGE_ATTACH);
    fixture->slots = slots_new(&fake_storage_ops, fixture->storage, fixture->worker, &hooks, fixture, NULL);
    g_assert_true(await(fake_storage_is_inside, fixture->storage));
    fake_clock_pass(5 * G_USEC_PER_SEC);
    await_state(fixture, SLOT_TPM_FAILED);
    expect_hooks(fixture, "tpm failed; surveyed; ");
    fake_storage_release(fixture->storage);
    await_state(fixture, SLOT_TPM_READY);
    expect_hooks(fixture, "tpm ready; ");
}

static bool
is_ready_slot(void *user)
{
    const struct slot *slot = slots_get(((struct fixture *)user)->slots, 4);
    return slot && slot->state == SLOT_READY;
}

/* What was cut short is looked at until it is settled. */
static void
test_pending(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 4, SLOT_PENDING, 5, HOST, "d", NULL);
    start(fixture);
    g_assert_cmpint(slots_get(fixture->slots, 4)->state, ==, SLOT_PENDING);
    fake_storage_put(fixture->storage, 4, SLOT_READY, 5, HOST, "d", "key");
    g_assert_true(await(is_ready_slot, fixture));
}

/* ---- what callers are told ---- */

/* What stays pending is looked at ever more seldom by itself, but a TPM in trouble is looked at at once. */
static void
test_pending_long(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 4, SLOT_PENDING, 5, HOST, "d", NULL);
    start(fixture);
    g_autoptr(GError) error = g_error_new(ERROR_DOMAIN, ERROR_TPM_ABSENT, "while signing");
    unsigned looks = fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ATTACH, ERROR_TPM_ABSENT);
    slots_note_failure(fixture->slots, 1, error);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH), ==, looks + 1);
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_ABSENT);
}

static void
test_states(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        enum slot_state state;
        const char *name;
        int code; /* 0: it can sign */
    } rows[] = {
        { SLOT_EMPTY, "", ERROR_NOT_PROVISIONED },         { SLOT_READY, "ready", 0 },
        { SLOT_FOUND, "found", ERROR_NOT_PROVISIONED },    { SLOT_PENDING, "pending", ERROR_NOT_PROVISIONED },
        { SLOT_TAMPERED, "tampered", ERROR_TAMPERED },     { SLOT_DAMAGED, "damaged", ERROR_DAMAGED },
        { SLOT_FOREIGN, "foreign", ERROR_FOREIGN },
    };
    for (uint32_t i = 0; i < G_N_ELEMENTS(rows); i++)
        fake_storage_put(fixture->storage, i, rows[i].state, 5, rows[i].state == SLOT_READY ? HOST : NULL, "d", "key");
    start(fixture);
    for (uint32_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        const struct slot *slot = slots_get(fixture->slots, i);
        g_assert_cmpint(slot == NULL, ==, rows[i].state == SLOT_EMPTY);
        g_assert_cmpstr(slot_state_name(rows[i].state), ==, rows[i].name);
        g_assert_cmpint(slots_check_ready(fixture->slots, i, &error), ==, rows[i].code == 0);
        g_assert_cmpint(error ? error->code : 0, ==, rows[i].code);
        if (slot && rows[i].code) {
            g_assert_null(slot->resource);
            g_assert_nonnull(strstr(error->message, rows[i].name));
            g_assert_nonnull(strstr(error->message, slot->reason));
        }
    }
    g_assert_cmpstr(slots_get(fixture->slots, 1)->resource, ==, HOST "%2Fdevices%2Fd");
    g_assert_cmpint(slots_next(fixture->slots, 0)->number, ==, 1); /* empty ones are passed over */
    g_assert_null(slots_next(fixture->slots, G_N_ELEMENTS(rows)));
    static const uint32_t beyond[] = { SLOT_TPM_COUNT, 65535, 65536, UINT32_MAX };
    for (size_t i = 0; i < G_N_ELEMENTS(beyond); i++) {
        g_assert_null(slots_get(fixture->slots, beyond[i]));
        g_assert_null(slots_next(fixture->slots, beyond[i]));
        g_assert_false(slots_check_ready(fixture->slots, beyond[i], NULL));
    }
}

/* ---- changes ---- */

struct outcome {
    int calls, code; /* -1: no error */
    char *text;
};

static void
on_done(const GError *error, void *user)
{
    struct outcome *outcome = user;
    outcome->calls++;
    outcome->code = error ? error->code : -1;
    g_free(outcome->text);
    outcome->text = g_strdup(error ? error->message : NULL);
}

static bool
is_done(void *user)
{
    return ((struct outcome *)user)->calls > 0;
}

static void
begin_provision(struct fixture *fixture, uint32_t slot, struct outcome *outcome)
{
    struct identity *identity = identity_new();
    struct secret *key = secret_new(3);
    identity->host = g_strdup(HOST);
    identity->device = g_strdup("d");
    memcpy(key->data, "key", 3);
    key->len = 3;
    slots_provision(fixture->slots, slot, slot >= SLOT_TPM_COUNT, identity, key, on_done, outcome);
}

static int
provision(struct fixture *fixture, uint32_t slot)
{
    struct outcome outcome = { 0 };
    begin_provision(fixture, slot, &outcome);
    g_assert_true(await(is_done, &outcome));
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpint(outcome.calls, ==, 1);
    g_free(outcome.text);
    return outcome.code;
}

static int
clear(struct fixture *fixture, uint32_t slot)
{
    struct outcome outcome = { 0 };
    slots_clear(fixture->slots, slot, on_done, &outcome);
    g_assert_true(await(is_done, &outcome));
    g_assert_true(await(is_idle, fixture));
    g_free(outcome.text);
    return outcome.code;
}

static void
test_refused_changes(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 1, SLOT_READY, 5, HOST, "d", "key");
    fake_storage_put(fixture->storage, 2, SLOT_FOREIGN, 0, NULL, NULL, NULL);
    start(fixture);
    g_assert_cmpint(provision(fixture, 1), ==, ERROR_SLOT_IN_USE);
    g_assert_cmpint(provision(fixture, 2), ==, ERROR_FOREIGN);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_PROVISION, ERROR_NO_SPACE);
    g_assert_cmpint(provision(fixture, 3), ==, ERROR_NO_SPACE);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_CLEAR, ERROR_TPM_FAILED);
    unsigned attached = fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH);
    g_assert_cmpint(clear(fixture, 1), ==, ERROR_TPM_FAILED);
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH), ==, attached + 1); /* a fresh look */
    expect_hooks(fixture, "");
    g_assert_cmpuint(slots_get(fixture->slots, 1)->generation, ==, 5);
    g_assert_null(slots_get(fixture->slots, 3));
}

static void
test_changes(struct fixture *fixture, gconstpointer unused)
{
    start(fixture);
    g_assert_cmpint(provision(fixture, 3), ==, -1);
    expect_hooks(fixture, "invalid 3 1; appeared 3; ");
    g_assert_cmpuint(slots_get(fixture->slots, 3)->generation, ==, 1);
    g_assert_cmpint(clear(fixture, 3), ==, -1);
    expect_hooks(fixture, "invalid 3 2; gone 3; ");
    g_assert_null(slots_get(fixture->slots, 3));
    g_assert_cmpint(provision(fixture, 3), ==, -1);
    expect_hooks(fixture, "invalid 3 3; appeared 3; "); /* a generation is never used again */
}

/* The first key makes the SRK; every slot's HardwareDeviceId changes with it. */
static void
test_first_srk(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_set_medium(fixture->storage, false, NULL);
    start(fixture);
    fake_storage_set_medium(fixture->storage, false, FAKE_STORAGE_SRK);
    g_assert_cmpint(provision(fixture, 3), ==, -1);
    expect_hooks(fixture, "invalid 3 1; appeared 3; changed 3; ");
    g_assert_cmpstr(slots_srk_name(fixture->slots), ==, FAKE_STORAGE_SRK);
}

/* Who waits behind it is answered within five seconds, and nothing was done; its own caller within two minutes: what
 * became of the slot is known when the TPM comes back. */
static void
test_change_hangs(struct fixture *fixture, gconstpointer unused)
{
    struct outcome outcome = { 0 }, behind = { 0 };
    start(fixture);
    fake_storage_hold(fixture->storage, FAKE_STORAGE_PROVISION);
    begin_provision(fixture, 3, &outcome);
    g_assert_true(await(fake_storage_is_inside, fixture->storage));
    begin_provision(fixture, 5, &behind);
    fake_clock_pass(5 * G_USEC_PER_SEC);
    g_assert_true(await(is_done, &behind));
    g_assert_cmpint(behind.code, ==, ERROR_BUSY);
    g_assert_cmpint(outcome.calls, ==, 0);
    g_free(behind.text);
    fake_clock_pass(120 * G_USEC_PER_SEC);
    g_assert_true(await(is_done, &outcome));
    g_assert_cmpint(outcome.code, ==, ERROR_TPM_FAILED);
    g_assert_nonnull(strstr(outcome.text, "120 s"));
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_FAILED);
    expect_hooks(fixture, "tpm failed; ");
    fake_storage_release(fixture->storage);
    await_state(fixture, SLOT_TPM_READY);
    g_assert_cmpint(outcome.calls, ==, 1);
    expect_hooks(fixture, "invalid 3 1; appeared 3; tpm ready; ");
    g_free(outcome.text);
}

/* A TPM that goes away right after a change: the change is seen, from disk. */
static void
test_gone_after_change(struct fixture *fixture, gconstpointer unused)
{
    start(fixture);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_SURVEY, ERROR_TPM_ABSENT);
    g_assert_cmpint(provision(fixture, 3), ==, -1);
    g_assert_cmpint(slots_get(fixture->slots, 3)->state, ==, SLOT_READY);
    await_state(fixture, SLOT_TPM_ABSENT);
    fake_storage_fail(fixture->storage, FAKE_STORAGE_SURVEY, 0);
    await_state(fixture, SLOT_TPM_READY);
}

static void
test_stop_before_turn(struct fixture *fixture, gconstpointer unused)
{
    struct outcome first = { 0 }, second = { 0 };
    start(fixture);
    fake_storage_hold(fixture->storage, FAKE_STORAGE_PROVISION);
    begin_provision(fixture, 3, &first);
    begin_provision(fixture, 4, &second);
    slots_recheck(fixture->slots, 3);
    g_assert_true(await(fake_storage_is_inside, fixture->storage));
    g_assert_false(worker_stop(fixture->worker, 1000));
    fake_storage_release(fixture->storage);
    g_assert_true(worker_stop(g_steal_pointer(&fixture->worker), STOP_LIMIT_US));
    g_assert_cmpint(first.calls, ==, 1);
    g_assert_cmpint(first.code, ==, -1); /* it was inside, so it was finished */
    g_assert_cmpint(second.calls, ==, 1);
    g_assert_cmpint(second.code, ==, ERROR_BUSY);
    g_assert_true(g_str_has_suffix(second.text, "retry in 1000 ms"));
    g_free(first.text);
    g_free(second.text);
}

/* ---- looking again ---- */

static void
test_tampered(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) tampered = g_error_new(ERROR_DOMAIN, ERROR_TAMPERED, "seen while signing");
    fake_storage_put(fixture->storage, 1, SLOT_READY, 5, HOST, "d", "key");
    start(fixture);
    slots_recheck(fixture->slots, 1);
    g_assert_true(await(is_idle, fixture));
    expect_hooks(fixture, ""); /* nothing has changed */
    fake_storage_put(fixture->storage, 1, SLOT_TAMPERED, 5, HOST, "d", "key");
    slots_note_failure(fixture->slots, 1, tampered);
    g_assert_true(await(is_idle, fixture));
    expect_hooks(fixture, "invalid 1 5; changed 1; ");
    g_assert_false(slots_check_ready(fixture->slots, 1, NULL));
    fake_storage_put(fixture->storage, 1, SLOT_READY, 5, HOST, "d", "key");
    slots_recheck(fixture->slots, 1);
    g_assert_true(await(is_idle, fixture));
    expect_hooks(fixture, "changed 1; "); /* tokens of generation 5 were dropped already */
}

/* Anybody with the right to report can ask for a look; however often, it is one job. */
static void
test_many_looks(struct fixture *fixture, gconstpointer unused)
{
    struct outcome outcome = { 0 };
    fake_storage_put(fixture->storage, 1, SLOT_READY, 5, HOST, "d", "key");
    start(fixture);
    fake_storage_hold(fixture->storage, FAKE_STORAGE_CLEAR);
    slots_clear(fixture->slots, 1, on_done, &outcome);
    for (int i = 0; i < 1000; i++)
        slots_recheck(fixture->slots, (uint32_t)(i % 2));
    g_assert_cmpuint(worker_depth(fixture->worker), ==, 3);
    fake_storage_release(fixture->storage);
    g_assert_true(await(is_idle, fixture));
    unsigned looks = fake_storage_count(fixture->storage, FAKE_STORAGE_SURVEY);
    slots_recheck(fixture->slots, 1); /* and again afterwards */
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_SURVEY), ==, looks + 1);
    g_free(outcome.text);
}

/* Keys in files prove themselves when they are loaded: only what can stand in the TPM, and what is not well, is looked
 * at; all of it when the TPM is another one, and when it is itself again. */
static void
test_what_is_looked_at(struct fixture *fixture, gconstpointer unused)
{
    const struct {
        bool cleared;
        unsigned looks;
    } rows[] = { { false, SLOT_TPM_COUNT + 1 }, { true, SLOT_TPM_COUNT + 5 }, { true, SLOT_TPM_COUNT + 1 },
                 { false, SLOT_TPM_COUNT + 5 }, { false, SLOT_TPM_COUNT + 1 } };
    for (uint32_t slot = 20; slot < 25; slot++)
        fake_storage_put(fixture->storage, slot, slot == 22 ? SLOT_DAMAGED : SLOT_READY, 5, HOST, "d", "key");
    start(fixture);
    g_assert_cmpuint(slots_in_use(fixture->slots), ==, 5);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        unsigned looks = fake_storage_count(fixture->storage, FAKE_STORAGE_SURVEY);
        fake_storage_set_medium(fixture->storage, rows[i].cleared, FAKE_STORAGE_SRK);
        slots_look(fixture->slots);
        g_assert_true(await(is_idle, fixture));
        g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_SURVEY), ==, looks + rows[i].looks);
    }
}

/* Only a found slot, and only for the very identity that the configuration names. */
static void
test_adoption(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 3, SLOT_FOUND, 0, HOST, "wanted", "key");
    fake_storage_put(fixture->storage, 4, SLOT_FOUND, 0, HOST, "other", "key");
    start(fixture);
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ADOPT), ==, 0);
    fake_storage_put(fixture->storage, 4, SLOT_FOUND, 0, HOST, "wanted", "key");
    slots_look(fixture->slots);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpint(slots_get(fixture->slots, 3)->state, ==, SLOT_FOUND);
    g_assert_cmpint(slots_get(fixture->slots, 4)->state, ==, SLOT_READY);
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ADOPT), ==, 1);
}

/* An adoption that fails is not tried again and again by itself; only when somebody asks for a look. */
static void
test_failed_adoption(struct fixture *fixture, gconstpointer unused)
{
    fake_storage_put(fixture->storage, 4, SLOT_FOUND, 0, HOST, "wanted", "key");
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ADOPT, ERROR_TPM_FAILED);
    start(fixture);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ADOPT), ==, 1);
    g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH), ==, 2); /* a fresh look, and no more */
    fake_storage_fail(fixture->storage, FAKE_STORAGE_ADOPT, 0);
    slots_look(fixture->slots);
    g_assert_true(await(is_idle, fixture));
    g_assert_cmpint(slots_get(fixture->slots, 4)->state, ==, SLOT_READY);
}

static bool
has_idled(void *user)
{
    return fake_storage_count(((struct fixture *)user)->storage, FAKE_STORAGE_IDLE) > 0;
}

/* Nothing stays in the TPM when nobody asks: the storage is told. */
static void
test_idle(struct fixture *fixture, gconstpointer unused)
{
    start(fixture);
    g_assert_true(await(has_idled, fixture));
}

static void
test_note_failures(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        int code;
        unsigned attaches, looks;
    } rows[] = {
        { ERROR_TPM_ABSENT, 1, SLOT_TPM_COUNT },
        { ERROR_TPM_FAILED, 1, SLOT_TPM_COUNT },
        { ERROR_TAMPERED, 1, 1 + SLOT_TPM_COUNT }, /* perhaps the whole TPM was cleared */
        { ERROR_FOREIGN, 0, 1 },
        { ERROR_DAMAGED, 0, 1 },
        { ERROR_BUSY, 0, 0 },
        { ERROR_NOT_PROVISIONED, 0, 0 },
    };
    start(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = g_error_new(ERROR_DOMAIN, rows[i].code, "while signing");
        unsigned attaches = fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH);
        unsigned looks = fake_storage_count(fixture->storage, FAKE_STORAGE_SURVEY);
        slots_note_failure(fixture->slots, 1, error);
        g_assert_true(await(is_idle, fixture));
        g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_ATTACH), ==, attaches + rows[i].attaches);
        g_assert_cmpuint(fake_storage_count(fixture->storage, FAKE_STORAGE_SURVEY), ==, looks + rows[i].looks);
    }
    g_assert_cmpint(slots_tpm_state(fixture->slots), ==, SLOT_TPM_READY);
}

/* SHA-256 over the number and the Name, as calculated with: printf '\3\0\0\0…' | sha256sum */
static void
test_hardware_id(void)
{
    g_autofree char *three = slot_hardware_id(3, FAKE_STORAGE_SRK), *four = slot_hardware_id(4, FAKE_STORAGE_SRK);
    g_autofree char *none = slot_hardware_id(3, NULL), *bad = slot_hardware_id(3, "000b");
    g_assert_cmpstr(three, ==, "7fc99c7fed537c8b83c622b165092dfca94aba7be325baa3f34032eba5d3a7f9");
    g_assert_cmpstr(three, !=, four);
    g_assert_cmpstr(none, ==, "");
    g_assert_cmpstr(bad, ==, "");
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); /* a slot that is not well warns */
    ADD("/slot/tpm/absent", test_absent);
    ADD("/slot/tpm/failed", test_failed);
    ADD("/slot/not-loaded", test_not_loaded);
    ADD("/slot/tpm/broken-survey", test_broken_survey);
    ADD("/slot/tpm/hangs-at-start", test_hangs_at_start);
    ADD("/slot/pending", test_pending);
    ADD("/slot/pending-long", test_pending_long);
    ADD("/slot/states", test_states);
    ADD("/slot/change/refused", test_refused_changes);
    ADD("/slot/change/done", test_changes);
    ADD("/slot/change/first-srk", test_first_srk);
    ADD("/slot/change/hangs", test_change_hangs);
    ADD("/slot/change/gone-after", test_gone_after_change);
    ADD("/slot/change/stop-before-turn", test_stop_before_turn);
    ADD("/slot/look/tampered", test_tampered);
    ADD("/slot/look/many", test_many_looks);
    ADD("/slot/look/which", test_what_is_looked_at);
    ADD("/slot/look/adoption", test_adoption);
    ADD("/slot/look/failed-adoption", test_failed_adoption);
    ADD("/slot/look/idle", test_idle);
    ADD("/slot/look/failures", test_note_failures);
    g_test_add_func("/slot/hardware-id", test_hardware_id);
    return g_test_run();
}
