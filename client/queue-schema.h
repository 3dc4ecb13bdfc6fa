/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The tables of a queue's file, made and brought up to date in numbered steps (PRAGMA user_version).
 */
#pragma once

#include <stdbool.h>

#include <glib.h>
#include <sqlite3.h>

/* "HKQ1": PRAGMA application_id of our files, so that no other database is taken for a queue. */
#define QUEUE_APPLICATION_ID 0x484b5131

/* Whether the file needs queue_schema_update. False with error set for a file that is not a queue, or from a newer
 * library. */
bool queue_schema_check(sqlite3 *db, const char *path, bool *outdated, GError **error);

/* What else a file begins with. */
typedef bool (*queue_schema_fill_fn)(void *user, GError **error);

/* Runs the steps that are missing, and fill where all of them were, in one transaction. */
bool queue_schema_update(sqlite3 *db, const char *path, queue_schema_fill_fn fill, void *user, GError **error);

/* The number of the newest step. */
int queue_schema_newest(void);

/* Our error for what SQLite answered last on db: doing is "reading", "adding messages", ... */
void queue_schema_fail(sqlite3 *db, const char *path, const char *doing, GError **error);
