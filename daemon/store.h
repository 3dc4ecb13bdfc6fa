/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Small files in the state directory, each replaced as a whole: temporary file, fsync, rename, fsync of the directory.
 * After a crash at any moment a file is the old one or the new one. Each ends with a checksum over what stands before
 * it, so that a torn or altered file is told from a good one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "common/identity.h"

#define STORE_FILE_MAX (16 << 10) /* bytes of a file that is read at all */

struct store;

/* directory is made (0700) if it is not there. */
struct store *store_open(const char *directory, GError **error);
void store_close(struct store *store);

/* The key file called name. Not there: *absent true and NULL without error. Not readable or not whole: Damaged. */
GKeyFile *store_read(struct store *store, const char *name, bool *absent, GError **error);
bool store_write(struct store *store, const char *name, GKeyFile *file, GError **error);
bool store_remove(struct store *store, const char *name, GError **error); /* not there is fine */

/* Removes temporary files that a crash left. */
void store_sweep(struct store *store);

/* What slot.c keeps of every slot that was ever used: its pin. An empty slot keeps its generation, which is never
 * reused. */
struct store_record {
    bool in_use;
    uint64_t generation;
    struct identity *identity; /* NULL unless in_use */
    char *key_name;            /* hex of the key's TPM Name */
    char *srk_name;            /* hex of the SRK's */
};

void store_record_clear(struct store_record *record);

/* A slot that was never used gives an empty record of generation 0. */
bool store_load_record(struct store *store, uint32_t slot, struct store_record *record, GError **error);
bool store_save_record(struct store *store, uint32_t slot, const struct store_record *record, GError **error);

/* The Name of the SRK that the first key was made under; NULL without error where there is none yet. */
char *store_load_srk(struct store *store, GError **error);
bool store_save_srk(struct store *store, const char *name, GError **error);

/* Identity in and out of a group of a key file; shared with intent.c. */
void store_put_identity(GKeyFile *file, const char *group, const struct identity *identity);
struct identity *store_get_identity(GKeyFile *file, const char *group, GError **error);

/* A named text or number; Damaged where it is missing or malformed. */
char *store_get_text(GKeyFile *file, const char *group, const char *key, GError **error);
bool store_get_number(GKeyFile *file, const char *group, const char *key, uint64_t *value, GError **error);
