/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shared by the files of the queue: queue.c opens, prepares and runs statements, queue-change.c changes rows and
 * counters, queue-expiry.c ends what has come to its time, queue-read.c reads.
 */
#pragma once

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
    SQL_SET_CLAIM,
    SQL_SET_MAY_DROP,
    SQL_INSERT,
    SQL_SCAN,
    SQL_SUM_RANGE,
    SQL_DELETE_RANGE,
    SQL_OLDEST,
    SQL_BURY,
    SQL_SUM_ALL,
    SQL_DELETE_ALL,
    SQL_COUNT_DEAD,
    SQL_DELETE_DEAD,
    SQL_EXTEND_GONE,
    SQL_ADD_GONE,
    SQL_ADD_GONE_RUNS,
    SQL_TRIM_GONE,
    SQL_GONE_ALL,
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
    SQL_LOOK_EXPIRY,
    SQL_DUE,
    SQL_REBASE,
    SQL_STATEMENTS
};

struct queue {
    sqlite3 *db;
    char *path;
    struct guard *gate;
    sqlite3_stmt *statements[SQL_STATEMENTS];
    enum queue_statement scanning; /* of queue_scan or queue_scan_dead, whichever was called last */
    uint64_t boot;                 /* the number of this boot in the file; 0: not looked up */
    pid_t pid;                     /* that opened it */
    struct queue *next;
};

/* The error of what SQLite answered last; false. Read before anything else is done on the connection. */
bool queue_fail(struct queue *queue, const char *doing, GError **error);

/* queue_fail, then a rollback. */
bool queue_give_up(struct queue *queue, const char *doing, GError **error);

/* The prepared statement, made on first use, kept until close; NULL where SQLite refuses. */
sqlite3_stmt *queue_ready(struct queue *queue, enum queue_statement which);

/* Runs a statement that yields no row, with n numbers. */
bool queue_run(struct queue *queue, enum queue_statement which, const uint64_t *numbers, int n);

#define QUEUE_RUN(queue, which, ...)                                                                                   \
    queue_run((queue), (which), (const uint64_t[]){ __VA_ARGS__ },                                                     \
              sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* Runs a statement with up to two numbers and takes up to n numbers of its first row. 1 a row, 0 none, -1 an error. */
int queue_ask(struct queue *queue, enum queue_statement which, uint64_t a, uint64_t b, uint64_t *numbers, int n);

/* ---- Inside a transaction, between the files of the queue */

/* Remembers when the message that is being inserted ends. */
bool queue_add_expiry(struct queue *queue, uint64_t seq, uint64_t ttl_s);

/* Numbers come in their order; struct queue_run. */
void queue_append_to_runs(GArray *runs, uint64_t seq);

/* Takes out what left for the reason how, a run each; the counters of waiting follow, that of the reason is the
 * caller's. */
bool queue_take_runs(struct queue *queue, struct queue_state *state, const GArray *runs, uint64_t bytes, int how);
