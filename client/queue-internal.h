/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shared by the files of the queue: queue-open.c opens and follows the file, queue.c prepares and runs statements,
 * queue-change.c changes rows and counters, queue-expiry.c ends what has come to its time, queue-read.c reads,
 * queue-salvage.c takes over what a damaged file held.
 */
#pragma once

#include "client/lock.h"
#include "client/queue.h"

#include <sqlite3.h>
#include <sys/types.h>

enum queue_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_GET_STATE,
    SQL_SAVE_STATE,
    SQL_GET_IDENTITY,
    SQL_SET_IDENTITY,
    SQL_SET_OWNER,
    SQL_SET_CLAIM,
    SQL_SET_MAY_DROP,
    SQL_INSERT,
    SQL_SCAN,
    SQL_SCAN_IN_TIME,
    SQL_SUM_RANGE,
    SQL_DELETE_RANGE,
    SQL_OLDEST,
    SQL_BURY,
    SQL_SUM_UP_TO,
    SQL_COUNT_DEAD,
    SQL_DELETE_DEAD,
    SQL_EXTEND_GONE,
    SQL_ADD_GONE,
    SQL_ADD_GONE_RUNS,
    SQL_TRIM_GONE,
    SQL_GONE_DEAD,
    SQL_IS_WAITING,
    SQL_IS_DEAD,
    SQL_HOW_GONE,
    SQL_FIRST_WAITING,
    SQL_SCAN_DEAD,
    SQL_DELETE_DEAD_ONE,
    SQL_BEGIN_READ,
    SQL_NEWEST,
    SQL_FIND_BOOT,
    SQL_ADD_BOOT,
    SQL_FORGET_BOOTS,
    SQL_ADD_EXPIRY,
    SQL_FORGET_EXPIRY,
    SQL_GET_EXPIRY,
    SQL_LOOK_EXPIRY,
    SQL_DUE,
    SQL_REBASE,
    SQL_GET_SALVAGE,
    SQL_SAVE_SALVAGE,
    SQL_CARRY,
    SQL_CARRY_DEAD,
    SQL_HAS,
    SQL_CARRY_GONE,
    SQL_CARRY_BOOT,
    SQL_CARRY_EXPIRY,
    SQL_SCAN_NUMBERS,
    SQL_SCAN_GONE,
    SQL_FORGET_GONE,
    SQL_FORGET_ORPHANS,
    SQL_COUNT_ORPHANS,
    SQL_STATEMENTS
};

struct pages;

struct queue {
    sqlite3 *db;
    char *path;
    struct lock *lock; /* NULL: nobody else has the file open */
    struct guard *gate;
    bool reads_only;
    bool tidies;       /* queue_tidy is called; no commit does it */
    int journal_max;   /* pages after which the journal begins anew */
    int journal_pages; /* where tidies is set: how long the journal was at the last commit */
    dev_t device; /* the file that db has open */
    ino_t inode;
    char *found;  /* what damage was found and set aside; queue_take_found */
    bool looked;  /* for damaged files beside it */
    unsigned changes, settled; /* how often another file took its place; as of the last queue_settle */
    struct pages *damaged; /* the one that is being carried over; NULL: not open */
    sqlite3_stmt *statements[SQL_STATEMENTS];
    enum queue_statement scanning; /* of queue_scan and its like, whichever was called last */
    uint64_t boot;                 /* the number of this boot in the file; 0: not looked up */
    pid_t pid;                     /* that opened it */
    struct queue *next;
};

/* The error of what SQLite answered last; false. Read before anything else is done on the connection. */
bool queue_fail(struct queue *queue, const char *doing, GError **error);

/* queue_fail, then a rollback. */
bool queue_give_up(struct queue *queue, const char *doing, GError **error);

/* A transaction that begins with the counters, and saves them at its end where all went well; else it is rolled back,
 * and error was set by what went wrong. */
bool queue_change_begin(struct queue *queue, struct queue_state *state, GError **error);
bool queue_change_end(struct queue *queue, const struct queue_state *state, bool good, GError **error);

/* The prepared statement, made on first use, kept until close; NULL where SQLite refuses. */
sqlite3_stmt *queue_ready(struct queue *queue, enum queue_statement which);

/* Runs a statement that yields no row, with n numbers. */
bool queue_run(struct queue *queue, enum queue_statement which, const uint64_t *numbers, int n);

#define QUEUE_RUN(queue, which, ...)                                                                                   \
    queue_run((queue), (which), (const uint64_t[]){ __VA_ARGS__ },                                                     \
              sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* Runs a statement with up to two numbers and takes up to n numbers of its first row. 1 a row, 0 none, -1 an error. */
int queue_ask(struct queue *queue, enum queue_statement which, uint64_t a, uint64_t b, uint64_t *numbers, int n);

/* ---- The file as a whole */

/* Sees to it that the connection is to the file that is at its path now. Before anything is read outside of a
 * transaction. */
bool queue_follow(struct queue *queue, GError **error);

/* queue_get_state of the connection as it is: while it is being made, and the gate is held. */
bool queue_read_state(struct queue *queue, struct queue_state *state, GError **error);

/* The same before a transaction, with the gate held; from then on until queue_leave nobody takes what is written for
 * something that came too late. */
bool queue_enter(struct queue *queue, GError **error);
void queue_leave(struct queue *queue);

/* The gate and lock_setup_begin. */
void queue_setup_begin(struct queue *queue);
void queue_setup_end(struct queue *queue);

/* Lets go of the damaged file. */
void queue_salvage_end(struct queue *queue);

/* Fills a file that was just made: counters and owner as in the newest damaged one, all of whose messages are to come.
 * In a transaction of its own kind. */
bool queue_seed(struct queue *queue, GError **error);

/* ---- Inside a transaction, between the files of the queue */

/* What is not carried over yet, but counted as waiting or dead already. */
bool queue_left(struct queue *queue, struct queue_sums *left);

/* The highest number of which some may not be carried over yet; 0: nothing is being carried over. */
uint64_t queue_salvage_base(struct queue *queue);

/* Puts a row in as it is, SQL_CARRY or SQL_CARRY_DEAD. 1; 0 where the number is taken; -1 an error. */
int queue_carry(struct queue *queue, enum queue_statement which, const struct queue_row *row, const void *reason,
                size_t reason_len);

/* Whether this very row is there: 1, 0, -1. */
int queue_has(struct queue *queue, const struct queue_row *row);

bool queue_carry_boot(struct queue *queue, uint64_t n, const void *id, size_t id_len);

/* Remembers when the message that is being inserted ends. */
bool queue_add_expiry(struct queue *queue, uint64_t seq, uint64_t ttl_s);

/* Begins a scan; what goes wrong goes wrong in its first step, too. */
sqlite3_stmt *queue_scan_by(struct queue *queue, enum queue_statement which, uint64_t above);

/* Numbers come in their order; struct queue_run. */
void queue_append_to_runs(GArray *runs, uint64_t seq);

/* Takes out what left for the reason how, a run each; the counters of waiting follow, that of the reason is the
 * caller's. */
bool queue_take_runs(struct queue *queue, struct queue_state *state, const GArray *runs, uint64_t bytes, int how);
