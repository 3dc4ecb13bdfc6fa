/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A queue on a disk that goes wrong at each change in turn, while messages are posted, delivered, buried, dropped,
 * expired, put back, and carried over from a damaged file. Afterwards nothing that was accepted is missing, nothing
 * that was known to have left is there, and the counters are those of the rows.
 */
#include <config.h>

#include "client/commit.h"
#include "client/failure.h"
#include "client/place.h"
#include "common/clock.h"
#include "tests/lib/faulty-disk.h"
#include "tests/lib/folder.h"
#include "tests/lib/scratch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGES 40

/* From one change that goes wrong to the next. Sanitizers, which look at the same code each time, take their time. */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE 7
#else
#define STRIDE 1
#endif

/* Where a message can be; what is in doubt is in several places. */
enum { NOWHERE = 1, WAITING = 2, DELIVERED = 4, DEAD = 8, DROPPED = 16 };

/* What a child is about to do, or has done, with the messages first to last. */
struct record {
    uint32_t done, place;
    uint32_t first, last;
};

/* ---- The script, run by a child */

struct script {
    char *path;
    struct lock *lock;
    struct queue *queue;
    struct commit *commit;
    int records;     /* where records go */
    uint32_t posted; /* messages */
    uint64_t seqs[MESSAGES + 1];
    bool perseveres; /* the disk may fail, and comes back: what failed is done once more */
    int expected;    /* the error that posts meet then */
    unsigned failures;
};

static void
record(struct script *script, bool done, uint32_t place, uint32_t first, uint32_t last)
{
    struct record record = { done, place, first, last };
    if (script->records >= 0 && write(script->records, &record, sizeof record) != sizeof record)
        _exit(1);
}

/* A fault that the script was told to expect; the disk works from then on. */
static void
meet_fault(struct script *script, GError **error)
{
    g_assert_true(script->perseveres);
    g_assert_nonnull(*error);
    g_assert_cmpint((*error)->code, ==, script->expected);
    g_clear_error(error);
    script->failures++;
    faulty_disk_heal();
}

static void
open_queue(struct script *script)
{
    static const struct commit_limits limits = { UINT64_MAX, UINT64_MAX, 0, HUBKEY_POLICY_REFUSE };
    static const struct commit_hooks hooks = { 0 };
    GError *error = NULL;
    while (!script->queue) {
        g_autofree char *path = place_prepare(script->path, true, &error);
        if (path && !script->lock)
            script->lock = lock_open(path, true, &error);
        if (path && script->lock)
            script->queue = queue_open(path, script->lock, NULL, &error);
        if (!script->queue) {
            /* Where nothing can be made yet, opening says so in its own ways. */
            g_assert_true(script->perseveres && error);
            script->expected = error->code == HUBKEY_E_QUEUE_OPEN ? HUBKEY_E_QUEUE_OPEN : script->expected;
            meet_fault(script, &error);
        }
    }
    script->commit = commit_new(script->queue, script->path, script->lock, &limits, &hooks);
}

static void
close_queue(struct script *script)
{
    g_clear_pointer(&script->commit, commit_free);
    g_clear_pointer(&script->queue, queue_close);
}

static struct message
make_message(uint32_t number, uint64_t ttl_s)
{
    static char text[4000];
    memset(text, 'x', sizeof text);
    int used = snprintf(text, sizeof text, "%u ", number);
    text[used] = '.';
    text[number % 4 == 0 ? sizeof text - 1 : 100] = '\0';
    struct message message = scratch_message(text);
    message.body = g_memdup2(message.body, message.len);
    message.ttl_s = ttl_s;
    return message;
}

static void
post(struct script *script, uint32_t n, uint64_t ttl_s)
{
    struct message messages[8];
    uint64_t seq = 0;
    GError *error = NULL;
    uint32_t first = script->posted + 1;
    g_assert_cmpuint(script->posted + n, <=, MESSAGES);
    for (uint32_t i = 0; i < n; i++)
        messages[i] = make_message(first + i, ttl_s);
    record(script, false, WAITING, first, first + n - 1);
    while (!commit_post(script->commit, messages, n, 0, &seq, &error))
        meet_fault(script, &error);
    record(script, true, WAITING, first, first + n - 1);
    for (uint32_t i = 0; i < n; i++) {
        script->seqs[first + i] = seq + i;
        g_free((void *)messages[i].body);
        message_clear(&messages[i]);
    }
    script->posted += n;
}

static void
deliver(struct script *script, uint32_t first, uint32_t last)
{
    GError *error = NULL;
    record(script, false, DELIVERED, first, last);
    while (!queue_delivered(script->queue, script->seqs[first], script->seqs[last], &error))
        meet_fault(script, &error);
    record(script, true, DELIVERED, first, last);
}

static void
bury(struct script *script, uint32_t number)
{
    GError *error = NULL;
    record(script, false, DEAD, number, number);
    while (!queue_bury(script->queue, script->seqs[number], 413, "too large", &error))
        meet_fault(script, &error);
    record(script, true, DEAD, number, number);
}

static bool
drop_once(struct script *script, GError **error)
{
    struct queue_state state;
    g_autoptr(GArray) dropped = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    if (!queue_begin(script->queue, QUEUE_BUSY_MS, error))
        return false;
    if (queue_get_state(script->queue, &state, error) &&
        queue_drop_oldest(script->queue, &state, 0, 1, 0, dropped, error) &&
        queue_save_state(script->queue, &state, error))
        return queue_commit(script->queue, error);
    queue_rollback(script->queue);
    return false;
}

static void
drop_oldest(struct script *script, uint32_t number)
{
    GError *error = NULL;
    record(script, false, DROPPED, number, number);
    while (!drop_once(script, &error))
        meet_fault(script, &error);
    record(script, true, DROPPED, number, number);
}

static void
expire(struct script *script, uint32_t number)
{
    GError *error = NULL;
    int64_t next_us;
    g_autoptr(GArray) expired = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    scratch_clock_move(10);
    record(script, false, DROPPED, number, number);
    while (!queue_expire(script->queue, expired, &next_us, &error))
        meet_fault(script, &error);
    record(script, true, DROPPED, number, number);
}

static void
requeue(struct script *script, uint32_t number)
{
    GError *error = NULL;
    struct queue_requeue walk = { 1, INT64_MAX };
    uint64_t n;
    record(script, false, WAITING, number, number);
    while (!queue_requeue(script->queue, &walk, 1, &n, &error)) {
        meet_fault(script, &error);
        walk.next = 1;
    }
    record(script, true, WAITING, number, number);
}

static void
replace(struct script *script)
{
    g_autoptr(GError) damage = g_error_new(FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED, "it is said to be damaged");
    GError *error = NULL;
    while (!queue_replace(script->queue, damage, &error)) {
        script->expected = error->code == HUBKEY_E_QUEUE_OPEN ? HUBKEY_E_QUEUE_OPEN : script->expected;
        meet_fault(script, &error);
    }
}

static void
salvage(struct script *script)
{
    GError *error = NULL;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    for (int more = 1; more != 0;) {
        struct queue_salvaged told = { .runs = runs };
        more = queue_salvage(script->queue, &told, &error);
        if (more < 0)
            meet_fault(script, &error);
        g_assert_cmpuint(told.lost, ==, 0);
    }
}

static void
run_script(struct script *script)
{
    open_queue(script);
    post(script, 1, 0);
    post(script, 3, 0);
    post(script, 6, 5);
    post(script, 8, 0);
    deliver(script, 1, 2);
    bury(script, 3);
    drop_oldest(script, 4);
    deliver(script, 5, 9);
    expire(script, 10);
    close_queue(script); /* which moves the journal into the file */
    open_queue(script);
    post(script, 8, 0);
    replace(script);
    post(script, 2, 0);
    deliver(script, 11, 12); /* from what is still in the old file */
    queue_settle(script->queue); /* all that is known of its numbers was told */
    salvage(script);
    requeue(script, 3);
    deliver(script, 13, 25);
    post(script, 1, 0);
    close_queue(script);
}

/* ---- What came of it */

struct world {
    uint32_t places[MESSAGES + 1]; /* where a message may be */
};

static void
follow(struct world *world, int records)
{
    struct record record;
    while (read(records, &record, sizeof record) == sizeof record)
        for (uint32_t number = record.first; number <= record.last; number++) {
            uint32_t *place = &world->places[number];
            *place = record.done ? record.place : *place | record.place;
        }
}

static void
see(struct scratch *scratch, uint32_t place, uint32_t found[MESSAGES + 1])
{
    struct queue_row row;
    g_autoptr(GError) error = NULL;
    (place == DEAD ? queue_scan_dead : queue_scan)(scratch->queue, 0);
    while (queue_scan_next(scratch->queue, &row, &error) == 1) {
        g_autofree char *text = g_strndup(row.body, row.len);
        uint32_t number = (uint32_t)strtoul(text, NULL, 10);
        g_assert_cmpuint(number, >=, 1);
        g_assert_cmpuint(number, <=, MESSAGES);
        g_assert_cmpuint(found[number], ==, 0); /* not twice */
        found[number] = place;
    }
    queue_scan_end(scratch->queue);
    g_assert_no_error(error);
}

static void
note_fault(int32_t level, const char *text, void *user)
{
    g_printerr("%s\n", text);
}

static void
check_counts(const struct world *world, const struct hubkey_counts *counts)
{
    uint64_t least[5] = { 0 }, most[5] = { 0 };
    for (uint32_t number = 1; number <= MESSAGES; number++)
        for (int bit = 0; bit < 5; bit++) {
            most[bit] += world->places[number] >> bit & 1;
            least[bit] += world->places[number] == UINT32_C(1) << bit;
        }
    const uint64_t told[] = { MESSAGES - counts->accepted, counts->waiting, counts->delivered, counts->dead,
                              counts->dropped };
    for (int bit = 0; bit < 5; bit++) {
        g_assert_cmpuint(told[bit], >=, least[bit]);
        g_assert_cmpuint(told[bit], <=, most[bit]);
    }
}

/* That a damaged file is still to be carried over is no fault here. */
static void
note_other(int32_t level, const char *text, void *user)
{
    *(int *)user += !strstr(text, ".salvage-");
    note_fault(level, text, NULL);
}

/* As the next program that opens the queue, and sends, would find it. */
static void
check(const char *folder, const struct world *world)
{
    struct script after = { .path = g_build_filename(folder, "q", NULL), .records = -1 };
    uint32_t found[MESSAGES + 1] = { 0 };
    int faults = 0;
    open_queue(&after);
    g_assert_cmpint(hubkey_queue_check(after.path, note_other, &faults, NULL), <=, 1);
    g_assert_cmpint(faults, ==, 0);
    salvage(&after);
    struct scratch scratch = { .path = after.path, .queue = after.queue };
    see(&scratch, WAITING, found);
    see(&scratch, DEAD, found);
    for (uint32_t number = 1; number <= MESSAGES; number++)
        g_assert_cmpuint(world->places[number] & (found[number] ? found[number] : NOWHERE | DELIVERED | DROPPED), !=,
                         0);
    struct hubkey_counts counts = scratch_counts(&scratch);
    check_counts(world, &counts);
    g_assert_cmpint(hubkey_queue_check(after.path, note_fault, NULL, NULL), ==, 0);
    close_queue(&after);
    lock_close(after.lock);
    g_free(after.path);
}

/* ---- The program dies */

static bool
die_at(enum faulty_disk what, unsigned at)
{
    int ends[2], status;
    struct world world;
    char *folder = folder_new();
    for (uint32_t number = 0; number <= MESSAGES; number++)
        world.places[number] = NOWHERE;
    g_assert_cmpint(pipe(ends), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        struct script script = { .path = g_build_filename(folder, "q", NULL), .records = ends[1] };
        close(ends[0]);
        scratch_clock_start();
        faulty_disk_order(folder, what, at, at * 7919);
        run_script(&script);
        _exit(0);
    }
    close(ends[1]);
    follow(&world, ends[0]);
    close(ends[0]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    g_assert_true(died || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    if (what != FAULTY_KILL) { /* shared memory does not outlive the machine */
        g_autofree char *memory = g_build_filename(folder, "q-shm", NULL);
        unlink(memory);
    }
    scratch_clock_start();
    scratch_clock_move(10);
    faulty_disk_order(folder, FAULTY_NONE, 0, 0);
    check(folder, &world);
    clock_set_source(NULL);
    folder_remove(folder);
    return died;
}

static void
die_everywhere(enum faulty_disk what)
{
    unsigned at = 1;
    while (die_at(what, at))
        at += STRIDE;
    g_assert_cmpuint(at, >, 100);
}

static void
test_kill(void)
{
    die_everywhere(FAULTY_KILL);
}

static void
test_power_lost(void)
{
    die_everywhere(FAULTY_LOST);
}

static void
test_power_torn(void)
{
    die_everywhere(FAULTY_TORN);
}

/* ---- The disk fails, and works again */

static bool
fail_at(enum faulty_disk what, unsigned at, int expected)
{
    struct world world;
    int ends[2];
    char *folder = folder_new();
    for (uint32_t number = 0; number <= MESSAGES; number++)
        world.places[number] = NOWHERE;
    g_assert_cmpint(pipe(ends), ==, 0);
    struct script script = {
        .path = g_build_filename(folder, "q", NULL), .records = ends[1], .perseveres = true, .expected = expected
    };
    scratch_clock_start();
    faulty_disk_order(folder, what, at, 0);
    run_script(&script);
    bool reached = faulty_disk_count() >= at;
    faulty_disk_order(folder, FAULTY_NONE, 0, 0);
    close(ends[1]);
    follow(&world, ends[0]);
    close(ends[0]);
    check(folder, &world);
    clock_set_source(NULL);
    lock_close(script.lock);
    g_free(script.path);
    folder_remove(folder);
    return reached;
}

static void
fail_everywhere(enum faulty_disk what, int expected)
{
    unsigned at = 1;
    while (fail_at(what, at, expected))
        at += STRIDE;
    g_assert_cmpuint(at, >, 100);
}

static void
test_full(void)
{
    fail_everywhere(FAULTY_FULL, HUBKEY_E_FULL);
}

static void
test_read_only(void)
{
    fail_everywhere(FAULTY_READS, HUBKEY_E_QUEUE_IO);
}

static void
test_input_output(void)
{
    fail_everywhere(FAULTY_ONCE, HUBKEY_E_QUEUE_IO);
}

/* ---- The clock is set to anything */

static int
see_time(const struct hubkey_queue_row *row, void *user)
{
    uint64_t *before = user;
    g_assert_cmpuint(row->seq, ==, *before + 1);
    g_assert_cmpint(hubkey_message_check(row->message, NULL, NULL), ==, 0); /* a time that the hub takes */
    *before = row->seq;
    return 0;
}

static void
test_clock(void)
{
    static const int64_t times[] = { 1800000000, 0, 4102444800, -100000, 1, 253402300799, 253402300800, 1800000000 };
    char *folder = folder_new();
    struct script script = { .path = g_build_filename(folder, "q", NULL), .records = -1 };
    uint64_t seen = 0;
    scratch_clock_start();
    open_queue(&script);
    for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
        scratch_clock_set_wall(times[i]);
        post(&script, 1, 0);
    }
    replace(&script);
    post(&script, 1, 0);
    salvage(&script);
    g_assert_cmpint(hubkey_queue_each(script.path, HUBKEY_ROWS_WAITING, 0, 0, see_time, &seen, NULL), ==, 0);
    g_assert_cmpuint(seen, ==, G_N_ELEMENTS(times) + 1);
    g_assert_cmpint(hubkey_queue_check(script.path, note_fault, NULL, NULL), ==, 0);
    close_queue(&script);
    lock_close(script.lock);
    g_free(script.path);
    folder_remove(folder);
    clock_set_source(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/faults/kill", test_kill);
    g_test_add_func("/faults/power/lost", test_power_lost);
    g_test_add_func("/faults/power/torn", test_power_torn);
    g_test_add_func("/faults/full", test_full);
    g_test_add_func("/faults/read-only", test_read_only);
    g_test_add_func("/faults/input-output", test_input_output);
    g_test_add_func("/faults/clock", test_clock);
    return g_test_run();
}
