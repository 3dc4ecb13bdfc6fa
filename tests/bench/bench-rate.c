/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * How many calls a second are answered while many clients ask at once, each as fast as it gets answers: tokens, the
 * echo of a bare service on the same bus, and HMACs by a thread of the least service that could give tokens (floor). 8
 * and 32 are processes of root, each with scopes never asked for before; the 1000 are 200 connections each of five
 * users, who all want the same token. rate-1000 prints a second row, how many commands of the TPM hubkeyd has counted
 * in each of these seconds, because every second has one token that is new; not where hubkeyd took more than half a
 * second to tell.
 */
#include <config.h>

#include "tests/bench/calls.h"
#include "tests/bench/crowd.h"
#include "tests/bench/echo.h"
#include "tests/bench/minimal.h"
#include "tests/bench/ready.h"
#include "tests/bench/rules.h"
#include "dbus/loop.h"

#include <stdbool.h>
#include <string.h>

#define SECONDS 2
#define NS 1000000000

/* A user has at most 256 connections to a bus. */
static const char *const users[] = { "root", "hubkey-in", "hubkey-out", "nobody", "daemon", NULL };
#define ALL_USERS "[slot 0]\nAllowUsers=hubkey-in;hubkey-out;nobody;daemon\n"

static const struct row {
    const char *name;
    struct crowd_options crowd;
    pid_t (*serve)(void); /* NULL: hubkeyd, which is there */
} rows[] = {
    { "echo-8", { 8, 1, NULL, echo_new_call }, echo_start },
    { "rate-8", { 8, 1, NULL, calls_fresh }, NULL },
    { "floor-8", { 8, 1, NULL, minimal_new_thread }, minimal_start },
    { "echo-32", { 32, 1, NULL, echo_new_call }, echo_start },
    { "rate-32", { 32, 1, NULL, calls_fresh }, NULL },
    { "floor-32", { 32, 1, NULL, minimal_new_thread }, minimal_start },
    { "echo-1000", { 5, 200, users, echo_new_call }, echo_start },
    { "rate-1000", { 5, 200, users, calls_shared }, NULL },
    { "floor-1000", { 5, 200, users, minimal_new_ready }, minimal_start },
};

struct commands {
    time_t second;
    uint64_t count; /* that the TPM had done then, the one for the token of that second among them */
};

static struct timespec
wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now;
}

/* Asked in the middle of a second of the wall clock and answered within it, however long the queue is. */
static bool
count_commands(DBusConnection *bus, struct commands *commands)
{
    for (unsigned tries = 0; tries < 10; tries++) {
        struct timespec asked = wall_clock();
        asked.tv_sec += asked.tv_nsec >= NS / 2;
        asked.tv_nsec = NS / 2;
        clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &asked, NULL);
        uint64_t count = calls_statistic(bus, "TpmOperations");
        if (wall_clock().tv_sec == asked.tv_sec) {
            *commands = (struct commands){ asked.tv_sec, count };
            return true;
        }
    }
    fprintf(stderr, "bench-rate: hubkeyd takes more than half a second to answer 1000 clients\n");
    return false;
}

static void
measure_rate(const char *row, const struct crowd *crowd)
{
    uint64_t answers = crowd_answers(crowd);
    int64_t begun = timing_now_ns();
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_sec = SECONDS }, NULL);
    answers = crowd_answers(crowd) - answers;
    printf("%s %.1f - calls/s\n", row, (double)answers * NS / (double)(timing_now_ns() - begun));
}

/* Commands of the TPM in each of the seconds. */
static void
measure_shared(const char *row, const struct crowd *crowd)
{
    DBusConnection *bus = calls_open_bus();
    struct commands first, last;
    bool counted = count_commands(bus, &first);
    measure_rate(row, crowd);
    if (counted && count_commands(bus, &last))
        printf("%s-tpm %.2f - cmds/s\n", row,
               (double)(last.count - first.count) / (double)(last.second - first.second));
    loop_close(bus);
}

static void
measure(const struct row *row)
{
    struct crowd *crowd = crowd_start(&row->crowd);
    if (row->crowd.make == calls_shared)
        measure_shared(row->name, crowd);
    else
        measure_rate(row->name, crowd);
    crowd_stop(crowd);
}

static int
run(const struct row *row)
{
    pid_t service = row->serve ? row->serve() : 0;
    if (row->crowd.users && service)
        rules_open_bus(true);
    else if (row->crowd.users)
        rules_set(ALL_USERS);
    measure(row);
    if (row->crowd.users && service)
        rules_open_bus(false);
    else if (row->crowd.users)
        rules_set(NULL);
    if (service)
        ready_stop(service);
    return 0;
}

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows) && argc == 2; i++)
        if (strcmp(rows[i].name, argv[1]) == 0)
            return run(&rows[i]);
    fprintf(stderr, "usage: bench-rate echo|rate|floor-8|32|1000\n");
    return 2;
}
