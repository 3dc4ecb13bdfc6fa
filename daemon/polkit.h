/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Asking polkit whether a caller may do something. The caller is named by its unique name on the bus, never by a
 * process ID, and polkit asks the bus itself who that is. Nothing waits: answers come to a callback, within a limit.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <dbus/dbus.h>
#include <glib.h>

#define POLKIT_LIMIT_MS 5000          /* polkit answers by then, or counts as not there */
#define POLKIT_PERSON_LIMIT_MS 120000 /* where a person may be asked for a password */
#define POLKIT_QUESTIONS_MAX 64       /* under way */
#define POLKIT_QUESTIONS_OF_ONE_MAX 4 /* of these, of one user */

enum polkit_answer {
    POLKIT_YES,
    POLKIT_NO,
    POLKIT_PASSWORD,   /* yes with an administrator's password, which nobody was there to ask for */
    POLKIT_UNANSWERED, /* a person was asked, and the limit was over before an answer */
    POLKIT_ERROR,      /* it answers with an error: it does not know the action, or does not trust us */
    POLKIT_ABSENT,     /* not on the bus, or it is silent */
    POLKIT_BUSY,       /* not asked: too many questions are under way */
    POLKIT_GONE,       /* the caller left, or we do */
};

struct polkit;

typedef void (*polkit_answered_fn)(enum polkit_answer answer, void *user);

/* connection must be registered on the bus that polkit is on, and attached to a loop. person_limit_ms is
 * POLKIT_PERSON_LIMIT_MS but for tests. */
struct polkit *polkit_new(DBusConnection *connection, int person_limit_ms);
void polkit_free(struct polkit *polkit); /* what is under way is answered POLKIT_GONE; NULL is fine */

/* May caller (its unique name; uid is for the bounds alone) do action? With interactive, polkit may ask a person.
 * details (names and values in turn, up to NULL) tell what exactly, for the message in org.hubkey.policy and for rules.
 * Calls answered once, before returning or later. */
void polkit_ask(struct polkit *polkit, const char *caller, uid_t uid, const char *action, const char *const *details,
                bool interactive, polkit_answered_fn answered, void *user);

/* The caller left the bus: takes its questions back. */
void polkit_forget(struct polkit *polkit, const char *caller);
