/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyd's objects on a private bus, over fake storage: everything that hubkeyd is but its main and its TPM. Clocks
 * stand still, log records are kept.
 */
#pragma once

#include <sys/types.h>

#include "daemon/api.h"
#include "daemon/tpm-info.h"
#include "tests/lib/fake-storage.h"
#include "tests/lib/private-bus.h"

#define API_BUS_HOST "h.azure-devices.net"
#define API_BUS_KEY "a key that nobody may see"

struct limits;

struct api_bus {
    struct private_bus *bus;
    DBusConnection *service, *client;
    char *name; /* of the service */
    char *folder;
    struct fake_storage *storage;
    struct limits *limits;
    struct tpm_info tpm; /* what it tells; of a TPM that is well at first */
    int tpm_error;       /* or what it answers */
    int tpm_reads;       /* how often it was asked; atomic */
    int clock_fd; /* eventfd; written to: somebody has set the clock */
    struct config *config;
    struct api api;
    GPtrArray *signals; /* what client has received: "MEMBER PATH ARGUMENTS" */
    int gone;           /* callers that have left */
};

/* For main: keeps log records, ends the program at a critical one. */
void api_bus_keep_log(void);
/* Whether a record has all these fields, as "KEY=value"; ends with NULL. */
bool api_bus_has_record(const char *first, ...) G_GNUC_NULL_TERMINATED;
/* Whether any record says this anywhere. */
bool api_bus_log_contains(const char *text);

/* configuration: the text of hubkeyd.conf. Who runs the test may have tokens of all slots that it gives no rules.
 * Slot 0 is ready, with HOST, device d and KEY, in generation 3; the others are empty. */
void api_bus_start(struct api_bus *api, const char *configuration);
void api_bus_stop(struct api_bus *api);

/* Another text for hubkeyd.conf, for who reads it anew. */
void api_bus_write_config(struct api_bus *api, const char *configuration);

/* Another look at all of storage, after the test changed it. */
void api_bus_look(struct api_bus *api);

/* A call and whatever answers it, an error message as well; dbus_message_unref. Arguments as for
 * dbus_message_append_args. */
DBusMessage *api_bus_call(struct api_bus *api, const char *path, const char *interface, const char *member,
                          int first_type, ...);
DBusMessage *api_bus_send(struct api_bus *api, DBusMessage *message); /* takes message */
DBusMessage *api_bus_message(struct api_bus *api, const char *path, const char *interface, const char *member);

/* Asserts that reply (taken) is this error, with these words in its text. Names without a dot are org.hubkey.Error's.
 */
void api_bus_expect_error(DBusMessage *reply, const char *name, const char *words);
/* Asserts that reply (taken) is no error, and has this signature. */
void api_bus_expect_reply(DBusMessage *reply, const char *signature);

/* The same call by a process of another user, while the service goes on: "NAME: TEXT" of the error, or "ok". Only for
 * root; g_free. */
char *api_bus_call_as(struct api_bus *api, const char *user, const char *path, const char *interface,
                      const char *member, int first_type, ...);

/* One entry of settings or options; type 's' and text, or another type with the value 1. Ends with a name of NULL. */
struct api_bus_entry {
    const char *name;
    int type;
    const char *text;
};

/* Appends an a{sv}; entries NULL: an empty one. */
void api_bus_append_entries(DBusMessageIter *iter, const struct api_bus_entry *entries);
int api_bus_memfd(const void *bytes, size_t len); /* a key to hand over; close */
