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

#define STORE_GENERATION_MAX (UINT64_C(1) << 53) /* what every reader of JSON takes exactly */
#define STORE_FILE_MAX (16 << 10) /* bytes of a file that is read at all */

struct store;

/* directory is made (0700) if it is not there. */
struct store *store_open(const char *directory, GError **error);
void store_close(struct store *store);

/* The key file called name. Not there: *absent true and NULL without error. Not readable or not whole: Damaged.
 * Internal where hubkeyd has no descriptor or memory left to look at it. */
GKeyFile *store_read(struct store *store, const char *name, bool *absent, GError **error);
bool store_write(struct store *store, const char *name, GKeyFile *file, GError **error);
bool store_remove(struct store *store, const char *name, GError **error); /* not there is fine */
/* Keeps a file that cannot be read as NAME.damaged, where nothing looks for it, in place of one that was kept so
 * before. */
bool store_set_aside(struct store *store, const char *name, GError **error);

/* Removes temporary files that a crash left. */
void store_sweep(struct store *store);

/* One key and whom it speaks for. */
struct store_key {
    struct identity *identity;
    char *name;    /* hex of its TPM Name; NULL: there is no key here */
    GBytes *blob;  /* public and private area, wrapped under the SRK; NULL for a key that was adopted */
    char *nv_text; /* what its NV index says where that is not "host/device"; NULL otherwise */
};

/* What is kept of every slot that was ever used: its pin. An empty slot keeps its generation, which is never reused. */
struct store_record {
    bool in_use;
    bool file; /* loaded from its blob at each use, rather than persistent in the TPM */
    uint64_t generation;
    char *srk_name;            /* hex of the SRK's Name; NULL unless in_use */
    struct store_key key;      /* unless in_use: nothing */
    struct store_key previous; /* what UndoRotate brings back; name NULL where there is nothing */
};

void store_key_clear(struct store_key *key);
void store_record_clear(struct store_record *record);

/* A slot that was never used gives an empty record of generation 0. */
bool store_load_record(struct store *store, uint32_t slot, struct store_record *record, GError **error);
bool store_save_record(struct store *store, uint32_t slot, const struct store_record *record, GError **error);

/* Calls each with the number of every slot that has a record, or an open intent, in no order, until one is false. False
 * also where the directory cannot be listed: what was not seen there is not absent. */
typedef bool (*store_slot_fn)(uint32_t slot, void *user, GError **error);
bool store_each_slot(struct store *store, store_slot_fn each, void *user, GError **error);
bool store_each_intent(struct store *store, store_slot_fn each, void *user, GError **error);

/* The Name of the SRK that the first key was made under; NULL without error where there is none yet. */
char *store_load_srk(struct store *store, GError **error);
bool store_save_srk(struct store *store, const char *name, GError **error);

/* A key in and out of a group of a key file; shared with intent.c. A group that is not there is no key, without
 * error. */
void store_put_key(GKeyFile *file, const char *group, const struct store_key *key);
bool store_get_key(GKeyFile *file, const char *group, struct store_key *key, GError **error);

/* A named text, or a generation up to STORE_GENERATION_MAX; Damaged where it is missing or malformed. */
char *store_get_text(GKeyFile *file, const char *group, const char *key, GError **error);
bool store_get_generation(GKeyFile *file, const char *group, const char *key, uint64_t *value, GError **error);
