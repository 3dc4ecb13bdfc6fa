/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The tables of a queue's file, made and brought up to date in numbered steps (PRAGMA user_version).
 */
#pragma once

#include <stdbool.h>

#include <glib.h>
#include <sqlite3.h>

/* Whether the file needs queue_schema_update. False with error set for a file that is not a queue, or from a newer
 * library. */
bool queue_schema_check(sqlite3 *db, const char *path, bool *outdated, GError **error);

/* Runs the steps that are missing, in one transaction. */
bool queue_schema_update(sqlite3 *db, const char *path, GError **error);

/* The number of the newest step. */
int queue_schema_newest(void);

/* Our error for what SQLite answered last on db: doing is "reading", "adding messages", ... */
void queue_schema_fail(sqlite3 *db, const char *path, const char *doing, GError **error);
