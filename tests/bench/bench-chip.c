/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Tokens from a TPM as slow as hardware, which bench-chip.py puts behind hubkeyd; FILE is what that TPM counts.
 *
 *     bench-chip chip-same FILE     200 programs that want the same token once a second, evenly spread over it
 *     bench-chip chip-burst FILE    the same, all at the same moment
 *     bench-chip chip-scopes FILE   8 programs that want a token of another scope as soon as they have one: how many
 * per cent of the time the TPM is at work
 *
 * The first two print a second row, how many commands the TPM did in each second.
 */
#include <config.h>

#include "tests/bench/calls.h"
#include "tests/bench/crowd.h"
#include "tests/bench/ready.h"
#include "tests/lib/tcti-chip.h"
#include "dbus/loop.h"

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define NS 1000000000LL
#define PROGRAMS 200
#define SECONDS 5
/* After the second of the wall clock began, so that all calls of a second want the token of that second. */
#define FIRST_NS (NS / 100)
#define LAST_NS (NS - NS / 20)
#define LIMIT_NS (10 * NS)

static const struct tcti_chip_counts *
map_counts(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct tcti_chip_counts), PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        err(1, "%s", path);
    close(fd);
    return map;
}

/* ---- the same token for many ---- */

static void
wait_for(time_t second, int64_t ns)
{
    struct timespec until = { .tv_sec = second + ns / NS, .tv_nsec = ns % NS };
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
}

/* In memory that all share. */
struct programs {
    time_t begin;
    int64_t latencies[PROGRAMS * SECONDS];
};

/* Where they meet: each tells at the one that it is connected, and goes on once the other is closed. */
struct meeting {
    int ready[2], go[2];
};

static void
run_program(struct programs *programs, const struct meeting *meeting, unsigned self, int64_t phase)
{
    char none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(meeting->go[1]);
    DBusConnection *connection = calls_open_bus();
    ready_tell(meeting->ready[1]);
    if (read(meeting->go[0], &none, 1) != 0 || time(NULL) >= programs->begin)
        errx(1, "a program begins late");
    for (unsigned i = 0; i < SECONDS; i++) {
        g_autoptr(dbus_message_auto) message = calls_shared(i);
        wait_for(programs->begin + i, phase);
        programs->latencies[self * SECONDS + i] = calls_round_trip(connection, message);
    }
}

/* Returns when all of them are connected and know when to begin. */
static void
start_programs(struct programs *programs, pid_t *pids, bool spread)
{
    struct meeting meeting;
    if (pipe(meeting.ready) != 0 || pipe(meeting.go) != 0)
        err(1, "pipe");
    for (unsigned i = 0; i < PROGRAMS; i++) {
        if ((pids[i] = fork()) < 0)
            err(1, "fork");
        if (pids[i] != 0)
            continue;
        run_program(programs, &meeting, i, FIRST_NS + (spread ? i * ((LAST_NS - FIRST_NS) / PROGRAMS) : 0));
        _exit(0);
    }
    close(meeting.ready[1]);
    ready_await(meeting.ready[0], PROGRAMS, "one of the programs");
    programs->begin = time(NULL) + 2; /* a second at least for all of them to wake up in */
    close(meeting.go[1]);
    close(meeting.ready[0]);
    close(meeting.go[0]);
}

static void
measure_same(const char *row, const struct tcti_chip_counts *counts, bool spread)
{
    pid_t pids[PROGRAMS];
    struct programs *programs = mmap(NULL, sizeof *programs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (programs == MAP_FAILED)
        err(1, "no memory");
    start_programs(programs, pids, spread);
    wait_for(programs->begin, 0);
    uint64_t before = counts->commands;
    for (unsigned i = 0; i < PROGRAMS; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
            errx(1, "not every program got its tokens");
    }
    timing_print_ms(row, programs->latencies, G_N_ELEMENTS(programs->latencies));
    printf("%s-tpm %.2f - cmds/s\n", row, (double)(counts->commands - before) / SECONDS);
    munmap(programs, sizeof *programs);
}

/* ---- a token of its own for each ---- */

/* Until a command ends: from one end to another no part of a command is counted. Returns when. */
static int64_t
await_end(const struct tcti_chip_counts *counts)
{
    uint64_t seen = __atomic_load_n(&counts->commands, __ATOMIC_RELAXED);
    int64_t until = timing_now_ns() + LIMIT_NS;
    while (__atomic_load_n(&counts->commands, __ATOMIC_RELAXED) == seen) {
        if (timing_now_ns() > until)
            errx(1, "the TPM does nothing any more");
        g_usleep(200); /* a hundredth of a command; the processor is not ours alone */
    }
    return timing_now_ns();
}

static void
measure_scopes(const char *row, const struct tcti_chip_counts *counts)
{
    struct crowd *crowd = crowd_start(&(struct crowd_options){ 8, 1, NULL, calls_fresh });
    int64_t begun = await_end(counts), ended;
    uint64_t busy = __atomic_load_n(&counts->busy_ns, __ATOMIC_RELAXED);
    while ((ended = await_end(counts)) - begun < SECONDS * NS)
        continue;
    busy = __atomic_load_n(&counts->busy_ns, __ATOMIC_RELAXED) - busy;
    crowd_stop(crowd);
    printf("%s %.2f - %%\n", row, 100.0 * (double)busy / (double)(ended - begun));
}

int
main(int argc, char **argv)
{
    const char *row = argc == 3 ? argv[1] : "";
    if (strcmp(row, "chip-same") == 0) {
        measure_same(row, map_counts(argv[2]), true);
    } else if (strcmp(row, "chip-burst") == 0) {
        measure_same(row, map_counts(argv[2]), false);
    } else if (strcmp(row, "chip-scopes") == 0) {
        measure_scopes(row, map_counts(argv[2]));
    } else {
        fprintf(stderr, "usage: bench-chip chip-same|chip-burst|chip-scopes FILE\n");
        return 2;
    }
    return 0;
}
