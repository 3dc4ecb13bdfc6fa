/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What both interfaces of the bus share: the way of every call - who is it, may it, then its row.
 */
#pragma once

#include <dbus/dbus.h>
#include <glib.h>

#include "daemon/audit.h"
#include "daemon/stats.h"
#include "dbus/object.h"

struct admin;
struct caller;
struct clock_step;
struct config;
struct health;
struct rate;
struct reload;
struct sharing;
struct slots;
struct tpm;
struct worker;

/* Classes of access, in the rows. */
enum {
    API_ANYBODY, /* any local user */
    API_TOKEN,   /* whoever the rules of the slot allow */
    API_ADMIN,   /* root, or whom polkit lets; daemon/admin.c knows the action of each method */
};

/* Both objects on one connection. */
struct api_face {
    struct caller *caller; /* who is at the other end; NULL: the bus */
    struct object *manager, *slot_objects;
};

struct api {
    const struct config *config;
    struct slots *slots;
    struct sharing *sharing;
    struct rate *rate;
    struct reload *reload;
    struct worker *worker;
    struct health *health;
    struct clock_step *clock_step;
    const struct tpm *tpm; /* for its counters */
    struct caller_cache *callers;
    struct admin *admin;
    GHashTable *faces; /* connection -> struct api_face: the bus, and those of the private socket; NULL: none */
    struct stats stats;
};

/* The permit hook of both objects: finds out who calls, then lets in or refuses. */
void api_permit(struct object_request *request, int access, void *api);

/* Decides whether the caller may administer, as for a row of API_ADMIN: calls allowed, now or later, or answers with
 * the refusal and leaves a record of it. slot is for the record. */
typedef void (*api_allowed_fn)(struct object_request *request, void *api);
void api_permit_admin(struct api *api, struct object_request *request, uint32_t slot, api_allowed_fn allowed);

const struct caller *api_caller(struct object_request *request); /* valid in and after the row; borrowed */

/* The slot number that a path of a slot object names; NoSuchSlot where it is no canonical number up to 65535. */
bool api_slot_of_path(const char *path, uint32_t *slot, GError **error);
void api_slot_path(uint32_t slot, char path[]); /* NAMES_SLOT_PATH_MAX bytes */

/* The name that calls of a method have in the log. */
const char *api_event(const char *method);
const char *api_event_of(struct object_request *request);
/* What let an administrator in. */
const char *api_admin_rule(struct object_request *request);

/* Answers with the error and leaves a record of it. */
void api_refuse(struct api *api, struct object_request *request, struct audit_record *record, const GError *error);
/* Fills in who calls, and the rule that let an administrator in where the record names none. */
void api_describe_caller(struct object_request *request, struct audit_record *record);

/* An a{sv} argument. Reads one entry a call; false at the end. *value is positioned inside the variant. */
bool api_next_entry(DBusMessageIter *entries, const char **key, DBusMessageIter *value);
/* Appends an entry of basic type to an open a{sv}. */
void api_append_entry(DBusMessageIter *entries, const char *key, int type, const void *value);
/* InvalidArgument unless the a{sv} that iter stands on is empty: no option is defined. */
bool api_check_no_options(DBusMessageIter *iter, GError **error);
