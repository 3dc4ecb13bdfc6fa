/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who is told when the wall clock is set. The machine's own clock stays as it is: an eventfd says that it was set.
 */
#include <config.h>

#include "daemon/clock-step.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <glib.h>

#define S ((int64_t)G_USEC_PER_SEC)

struct fixture {
    struct clock_step *step;
    int fd; /* ours, of the same eventfd */
    GString *told;
};

static void
stepped(uint32_t slot, void *user)
{
    g_string_append_printf(((struct fixture *)user)->told, "%u ", slot);
}

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    fake_clock_install();
    fixture->fd = dup(fd);
    fixture->told = g_string_new(NULL);
    fixture->step = clock_step_watch(fd, stepped, fixture);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    clock_step_free(fixture->step);
    close(fixture->fd);
    g_string_free(fixture->told, TRUE);
    fake_clock_remove();
}

static bool
is_read(void *user)
{
    eventfd_t value;
    if (eventfd_read(((struct fixture *)user)->fd, &value) != 0)
        return true;
    eventfd_write(((struct fixture *)user)->fd, value);
    return false;
}

/* The kernel says that the clock was set; what is told then. */
static void
expect_told(struct fixture *fixture, const char *told)
{
    g_assert_cmpint(eventfd_write(fixture->fd, 1), ==, 0);
    g_assert_true(await(is_read, fixture));
    g_assert_cmpstr(fixture->told->str, ==, told);
    g_string_truncate(fixture->told, 0);
}

static void
test_alive(struct fixture *fixture, gconstpointer unused)
{
    clock_step_note(fixture->step, 3, FAKE_CLOCK_START_S + 3600);
    clock_step_note(fixture->step, 3, FAKE_CLOCK_START_S + 60); /* the latest counts */
    clock_step_note(fixture->step, 65535, FAKE_CLOCK_START_S + 100);
    fake_clock_pass(200 * S);
    fake_clock_set_wall(FAKE_CLOCK_START_S - 86400);
    expect_told(fixture, "3 "); /* the other's have run out in the meantime, whatever the clock shows now */
    fake_clock_pass(3400 * S);
    fake_clock_set_wall(FAKE_CLOCK_START_S);
    expect_told(fixture, "");
}

/* A token that looks dead by the new time was alive by the old one: its holder must know. */
static void
test_forward(struct fixture *fixture, gconstpointer unused)
{
    clock_step_note(fixture->step, 0, FAKE_CLOCK_START_S + 3600);
    fake_clock_set_wall(FAKE_CLOCK_START_S + 86400);
    expect_told(fixture, "0 ");
    clock_step_note(fixture->step, 1, FAKE_CLOCK_START_S + 86400 + 60);
    fake_clock_pass(61 * S);
    fake_clock_set_wall(FAKE_CLOCK_START_S);
    expect_told(fixture, "0 ");
}

/* After a suspend, or when the clock is set to what it shows. */
static void
test_nothing(struct fixture *fixture, gconstpointer unused)
{
    clock_step_note(fixture->step, 0, FAKE_CLOCK_START_S + 3600);
    expect_told(fixture, "");
    fake_clock_pass(1800 * S);
    expect_told(fixture, "");
    fake_clock_set_wall(FAKE_CLOCK_START_S + 1800 + CLOCK_STEP_MIN_MS / 1000);
    expect_told(fixture, "0 ");
}

/* The kernel takes the timer, and is quiet while nobody sets the clock. */
static void
test_kernel(struct fixture *fixture, gconstpointer unused)
{
    struct clock_step *step;
    fake_clock_remove();
    step = clock_step_new(stepped, fixture);
    clock_step_note(step, 0, UINT32_MAX);
    while (g_main_context_iteration(NULL, FALSE))
        continue;
    g_assert_cmpstr(fixture->told->str, ==, "");
    clock_step_free(step);
    fake_clock_install();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/clock-step/alive", struct fixture, NULL, set_up, test_alive, tear_down);
    g_test_add("/clock-step/forward", struct fixture, NULL, set_up, test_forward, tear_down);
    g_test_add("/clock-step/nothing", struct fixture, NULL, set_up, test_nothing, tear_down);
    g_test_add("/clock-step/kernel", struct fixture, NULL, set_up, test_kernel, tear_down);
    return g_test_run();
}
