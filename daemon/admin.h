/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who may administer: root, or whoever polkit lets do the action that the method belongs to. Root alone at the private
 * socket, where a caller has no name that polkit could be asked about, and there only with AdminOnSocket=yes.
 */
#pragma once

#include <stdbool.h>

#include <dbus/dbus.h>
#include <glib.h>

struct caller;
struct admin;

struct admin_question {
    const struct caller *caller;
    const char *method;
    const char *slot;    /* its number; NULL where the method is about none */
    bool at_socket;      /* the call came by the private socket */
    bool socket_allowed; /* AdminOnSocket= */
    bool interactive;    /* the caller has the patience that a password takes */
};

/* error is NULL where it is allowed, else NotAuthorized (or Busy) with what would help. rule is which rule decided, for
 * the log; static, NULL with Busy. */
typedef void (*admin_decided_fn)(const GError *error, const char *rule, void *user);

/* person_limit_ms is for polkit_new. */
struct admin *admin_new(DBusConnection *bus, int person_limit_ms);
void admin_free(struct admin *admin); /* what is under way is refused; NULL is fine */

/* Calls decided once, before returning or later. question is read before returning. */
void admin_ask(struct admin *admin, const struct admin_question *question, admin_decided_fn decided, void *user);

/* The caller of this name left the bus. */
void admin_forget(struct admin *admin, const char *name);

/* The polkit action of a method of the bus interface, NULL where it belongs to none. */
const char *admin_action(const char *method);
