/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Pure: which of the waiting messages go into the next request, after one of them turned out to be at fault.
 *
 * A refused batch is searched by halves, left half first. A message refused alone is a dead letter only when another
 * one is accepted under the same circumstances, before or right after it: else it may be the circumstances (a wrong
 * version, a proxy) that are at fault, and the queue must not be emptied into the dead letters. Three refusals in a row
 * stop everything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINDOW_SUSPECTS_MAX 2 /* the third in a row stops */

struct window_suspect {
    uint64_t seq;
    int status;
    char text[320];
};

struct window {
    uint64_t after;       /* the next request begins above this number */
    uint64_t faulty_last; /* one of the messages after..faulty_last is at fault; 0: none known */
    size_t faulty_n;      /* how many they are */
    bool proven;          /* a message was accepted since the circumstances last changed */
    bool probing;         /* one message at a time until one is accepted */
    unsigned refused;     /* alone, since a message was accepted */
    unsigned n_suspects;  /* of them, those whose fate is open */
    struct window_suspect suspects[WINDOW_SUSPECTS_MAX];
};

enum window_next { WINDOW_BURY, WINDOW_SKIP, WINDOW_STOP };

/* At most so many messages, none above last, may go into the next request. */
size_t window_limit(const struct window *window, uint64_t *last);

/* The n messages up to last were accepted. Suspects are to be buried by the caller, who then clears n_suspects. */
void window_accepted(struct window *window, uint64_t last, size_t n);

/* The n > 1 messages up to last were refused because of one of them. */
void window_split(struct window *window, uint64_t last, size_t n);

/* None of the messages after..faulty_last is there any more. */
void window_searched(struct window *window);

/* The message seq was refused alone: bury it; or keep it aside (a suspect) and go on with the next; or stop. */
enum window_next window_refused(struct window *window, uint64_t seq, int status, const char *text);

/* Key, identity or daemon changed: what was proven before proves nothing any more. */
void window_changed(struct window *window);

/* The messages are others: nothing is known of them. */
void window_restart(struct window *window);

/* From the oldest message that is not delivered, one at a time. */
void window_probe(struct window *window);
