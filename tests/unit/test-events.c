/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What callbacks will be told, above all where nobody dispatches: it stays within bounds, and the state is not lost.
 */
#include <config.h>

#include "client/events.h"

#include <malloc.h>
#include <poll.h>

struct told {
    GString *text; /* one word an event */
    struct events *events;
    unsigned n;
};

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    struct told *told = user;
    g_string_append_printf(told->text, "state=%d,%d,%s ", state, reason, text);
    told->n++;
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    struct told *told = user;
    g_string_append_printf(told->text, "gone=%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT ",%d,%s ", first, last, how,
                           text);
    told->n++;
}

static void
on_log(int32_t level, const char *text, void *user)
{
    struct told *told = user;
    g_string_append_printf(told->text, "log=%d,%s ", level, text);
    told->n++;
}

static void
told_init(struct told *told)
{
    *told = (struct told){ .text = g_string_new(NULL), .events = events_new(NULL) };
    events_set_callbacks(told->events, on_state, on_gone, on_log, told);
}

static void
told_clear(struct told *told)
{
    g_string_free(told->text, TRUE);
    events_free(told->events);
}

static bool
is_readable(struct events *events)
{
    struct pollfd fd = { .fd = events_fd(events), .events = POLLIN };
    return poll(&fd, 1, 0) == 1;
}

static void
run_all(struct told *told)
{
    while (events_run_one(told->events))
        continue;
}

/* In order; what follows directly on its like is one event. */
static void
test_joins(void)
{
    struct told told;
    told_init(&told);
    g_assert_false(is_readable(told.events));
    events_gone(told.events, 1, 2, HUBKEY_GONE_DELIVERED, "");
    events_gone(told.events, 3, 3, HUBKEY_GONE_DELIVERED, "");
    events_gone(told.events, 5, 5, HUBKEY_GONE_DELIVERED, "");
    events_gone(told.events, 6, 6, HUBKEY_GONE_DEAD, "why");
    events_gone(told.events, 7, 7, HUBKEY_GONE_DEAD, "for another reason");
    events_state(told.events, 1, 2, "a");
    events_state(told.events, 3, 4, "b");
    events_log(told.events, HUBKEY_LOG_INFO, "%d", 5);
    events_log(told.events, HUBKEY_LOG_INFO, "%d", 5);
    g_assert_true(is_readable(told.events));
    run_all(&told);
    g_assert_cmpstr(
        told.text->str, ==,
        "gone=1-3,1, gone=5-5,1, gone=6-6,2,why gone=7-7,2,for another reason state=3,4,b log=3,5 log=3,5 ");
    g_assert_false(is_readable(told.events));
    told_clear(&told);
}

/* A program that never dispatches, for a week: as much is kept as after a second, and the state is not what was lost.
 */
static void
test_nobody(void)
{
    enum { MANY = 1000000 };
    struct told told;
    told_init(&told);
    events_state(told.events, HUBKEY_STATE_REJECTED, HUBKEY_REASON_KEY, "the key");
    for (uint64_t i = 0; i < 2 * EVENTS_MAX; i++)
        events_gone(told.events, 2 * i, 2 * i, HUBKEY_GONE_DELIVERED, "");
    size_t before = mallinfo2().uordblks;
    for (uint64_t i = 2 * EVENTS_MAX; i < MANY; i++)
        events_gone(told.events, 2 * i, 2 * i, HUBKEY_GONE_DELIVERED, "");
    g_assert_cmpuint(mallinfo2().uordblks, <=, before);
    g_assert_cmpuint(events_lost(told.events), ==, MANY + 1 - EVENTS_MAX);
    run_all(&told);
    g_assert_cmpuint(told.n, ==, EVENTS_MAX);
    g_assert_true(g_str_has_prefix(told.text->str, "state=6,2,the key gone="));
    g_assert_true(g_str_has_suffix(told.text->str, "gone=1999998-1999998,1, "));
    told_clear(&told);
}

/* Of two states that were told apart the first may be lost, the last is not. */
static void
test_last_state(void)
{
    struct told told;
    told_init(&told);
    events_state(told.events, 1, 0, "");
    events_log(told.events, HUBKEY_LOG_INFO, "between");
    events_state(told.events, 2, 0, "");
    for (int i = 0; i < 2 * EVENTS_MAX; i++)
        events_log(told.events, HUBKEY_LOG_INFO, "after");
    run_all(&told);
    g_assert_cmpuint(told.n, ==, EVENTS_MAX);
    g_assert_true(g_str_has_prefix(told.text->str, "state=2,0, log=3,after "));
    g_assert_null(strstr(told.text->str, "between"));
    told_clear(&told);
}

/* Without a callback nothing is kept for it; callbacks that are taken away are not called any more. */
static void
test_without(void)
{
    struct told told;
    told_init(&told);
    events_gone(told.events, 1, 1, HUBKEY_GONE_DELIVERED, "");
    events_set_callbacks(told.events, NULL, NULL, NULL, NULL);
    events_log(told.events, HUBKEY_LOG_INFO, "nobody hears this");
    run_all(&told);
    g_assert_cmpuint(told.n, ==, 0);
    g_assert_false(is_readable(told.events));
    told_clear(&told);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/events/joins", test_joins);
    g_test_add_func("/events/nobody", test_nobody);
    g_test_add_func("/events/last-state", test_last_state);
    g_test_add_func("/events/without", test_without);
    return g_test_run();
}
