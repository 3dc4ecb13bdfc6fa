/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One connection to a queue's file. SQLite in WAL mode with synchronous=FULL: what is committed survives a power cut,
 * for the price of one append and flush. A connection is used by one thread at a time; the connections of a client
 * share a gate, so that their write transactions wait for each other on a mutex and not by SQLite's polling.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "client/guard.h"
#include "client/hubkey.h"
#include "client/message.h"
#include "client/queue-row.h"
#include "common/identity.h"

#define QUEUE_BUSY_MS 5000 /* how long another process's transaction is waited for */

struct lock;
struct queue;

/* Numbers that follow each other. */
struct queue_run {
    uint64_t first, last;
};

/* The row of counters, and what else belongs to the file as a whole. */
struct queue_state {
    struct hubkey_counts counts;
    uint64_t claimed;
    bool may_drop;
    bool bound;       /* an identity is recorded */
    uint64_t expired; /* of counts.dropped: those that came to their time */
    uint64_t lost;    /* of counts.dropped: those that a damaged file took with it */
    unsigned salvage; /* the damaged file that is being carried over; 0: none */
};

/* path as place_prepare made it. Brings the file up to date. One that is damaged is set aside (damaged.h) and a fresh
 * one made, whose content is to follow, queue_salvage. lock and gate stay the caller's; both may be NULL. */
struct queue *queue_open(const char *path, struct lock *lock, struct guard *gate, GError **error);

/* The same later: an operation failed with HUBKEY_E_QUEUE_DAMAGED, and no transaction is open. True: it can be tried
 * again. All connections to the file follow by themselves, in all processes. */
bool queue_replace(struct queue *queue, const GError *why, GError **error);

/* SQLite's own look at the pages of a file that somebody did not close; where it is small, else true.
 * HUBKEY_E_QUEUE_DAMAGED where something is wrong. */
bool queue_look_through(struct queue *queue, GError **error);

/* What damage this connection has found since the last call; NULL: none. */
char *queue_take_found(struct queue *queue);

/* Whether another file took this one's place since queue_settle was called, or it was opened: numbers that are known
 * from before may name other messages in it. Until then queue_delivered and queue_bury take out only what is to be
 * carried over. */
bool queue_is_other(const struct queue *queue);
void queue_settle(struct queue *queue);

/* A step of the carrying over. */
struct queue_salvaged {
    unsigned n; /* of FILE.salvage-N; 0: there is none */
    bool ended; /* the last one is through; only then: */
    bool known; /* the damaged file's counters could be read */
    uint64_t carried, lost;
    GArray *runs; /* struct queue_run, the caller's: numbers that were lost, as far as they are known */
};

/* For the holder of the lock, before he sends. Carries some of what a damaged file held over into this one. 1: there is
 * more to do; 0: nothing is left; -1: an error. */
int queue_salvage(struct queue *queue, struct queue_salvaged *told, GError **error);

/* The file FILE.salvage-N next to this one of which something is still to be carried over, and so is no row here; 0:
 * there is none. False: an error. */
bool queue_salvage_pending(struct queue *queue, unsigned *n, GError **error);

/* HUBKEY_E_QUEUE_DAMAGED for who wants all messages and cannot have those in FILE.salvage-N. */
void queue_salvage_fail(const struct queue *queue, unsigned n, GError **error);

/* For reading only, and changes nothing: a file that is not up to date is HUBKEY_E_QUEUE_OLDER. Hold lock_setup_watch
 * meanwhile. */
struct queue *queue_open_reader(const char *path, GError **error);
void queue_close(struct queue *queue); /* NULL is fine */
const char *queue_path(const struct queue *queue);

/* What was committed stands in the journal first. Once that is long the next commit carries it over into the file, and
 * whoever waits for that commit waits for two flushes more. After queue_tidy_later no commit of this connection does
 * so: queue_tidy does, where it is due, and is called when nobody waits. It may fail, as the journal is as good a
 * place. */
void queue_tidy_later(struct queue *queue);
void queue_tidy(struct queue *queue);

bool queue_get_state(struct queue *queue, struct queue_state *state, GError **error);

/* Host, device and module of the owner; NULL without error where none is recorded. */
struct identity *queue_get_identity(struct queue *queue, GError **error);

/* ---- Transactions. queue_begin takes the gate; queue_commit and queue_rollback give it back. A failed commit is
 * rolled back. busy_ms: how long another process's transaction is waited for, with the gate held. */
bool queue_begin(struct queue *queue, int busy_ms, GError **error);
bool queue_commit(struct queue *queue, GError **error);
void queue_rollback(struct queue *queue);

/* Inside a transaction: rows are changed by these, counters by the caller in state, who saves it at the end. */
bool queue_insert(struct queue *queue, uint64_t seq, const struct message *message, GError **error);
bool queue_save_state(struct queue *queue, const struct queue_state *state, GError **error);

/* NULL: nobody. Gateways are no part of it. */
bool queue_set_identity(struct queue *queue, const struct identity *identity, GError **error);

/* Drops the oldest messages above the number "above", at least n of them and at least bytes, and appends their runs to
 * dropped (struct queue_run). False without error where there are not as many. */
bool queue_drop_oldest(struct queue *queue, struct queue_state *state, uint64_t above, uint64_t n, uint64_t bytes,
                       GArray *dropped, GError **error);

/* Drops what has come to its time, above the number "above", and appends its runs to expired (struct queue_run): a
 * thousand at most, *more where there may be others. */
bool queue_drop_expired(struct queue *queue, struct queue_state *state, uint64_t above, GArray *expired, bool *more,
                        GError **error);

/* ---- Whole operations, each a transaction of its own. */

/* The same. What else seems due, of messages that are not there, is forgotten. *next_us: when to come again on the boot
 * clock; 0 at once, INT64_MAX for nothing. What was posted in an earlier boot is taken over first: it ends by wall time
 * where that could be right both then and now, else it gets its whole life again, so that nothing is dropped too early.
 */
bool queue_expire(struct queue *queue, GArray *expired, int64_t *next_us, GError **error);

/* Takes out the messages first to last, which the hub accepted, and ends their claim. */
bool queue_delivered(struct queue *queue, uint64_t first, uint64_t last, GError **error);

/* Says that the n messages from first to through may be in a request from now on, so that no drop-oldest takes them;
 * *still: whether they are all there. through 0 ends a claim. Only needed where state.may_drop. */
bool queue_claim(struct queue *queue, uint64_t first, uint64_t through, uint64_t n, bool *still, GError **error);

/* Moves one message to the dead ones. Nothing happens to one that is not there any more. */
bool queue_bury(struct queue *queue, uint64_t seq, int status, const char *reason, GError **error);

/* Removes all of HUBKEY_DROP_* up to the number through and counts them as removed. */
bool queue_remove(struct queue *queue, uint32_t which, uint64_t through, uint64_t *n, GError **error);

/* Records the identity where none is recorded yet and something was accepted, or where force is set. */
bool queue_record_identity(struct queue *queue, const struct identity *identity, bool force, GError **error);

/* A walk over dead messages. Those that are not what was stored stay where they are. */
struct queue_requeue {
    uint64_t next, last; /* numbers still to be looked at */
    uint64_t left_out;
    GError *damage; /* of the first that was left out; the caller's */
};

/* Puts up to max dead messages behind those that wait; they get new numbers. *n: how many; 0: there are no more. */
bool queue_requeue(struct queue *queue, struct queue_requeue *walk, uint64_t max, uint64_t *n, GError **error);

bool queue_allow_drops(struct queue *queue, GError **error);

/* ---- Reading */

/* Walks the waiting messages above a number in order. queue_scan_next: 1 a row, 0 the end, -1 an error; then row->seq
 * names the message that is not what was stored (HUBKEY_E_QUEUE_DAMAGED), and the scan can go on behind it, or is 0.
 * End every scan, before anything else is done on this connection. */
void queue_scan(struct queue *queue, uint64_t above);
void queue_scan_in_time(struct queue *queue, uint64_t above); /* without what queue_expire would drop */
void queue_scan_dead(struct queue *queue, uint64_t above); /* the same over the dead ones */
int queue_scan_next(struct queue *queue, struct queue_row *row, GError **error);
void queue_scan_end(struct queue *queue);

/* When the message that waits as number seq ends, Unix time as this machine has it; 0: never. */
bool queue_expires(struct queue *queue, uint64_t seq, int64_t *expires_ms, GError **error);

/* 0: it waits; HUBKEY_GONE_*: how it left; -1: no message has this number yet; -2: an error. */
int queue_fate(struct queue *queue, uint64_t seq, GError **error);

/* Whether a message up to seq still waits: 1, 0, -1 an error. */
int queue_waits_up_to(struct queue *queue, uint64_t seq, GError **error);

/* What the rows themselves say, which the counters should, too; with what a damaged file still has. */
struct queue_sums {
    uint64_t waiting, waiting_bytes, dead;
    uint64_t newest; /* the highest number among both */
    uint64_t orphans; /* ends of messages that are not there; 0 while a damaged file is carried over */
};

/* Both as of one moment. Reads every row's head. */
bool queue_sum(struct queue *queue, struct queue_state *state, struct queue_sums *sums, GError **error);
