/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/relic.h"
#include "client/stored.h"

#include <string.h>

/* Columns of state, in the order of queue-schema.c's steps. The first is the row's own number, stored as NULL. */
enum {
    LAST_SEQ = 1,
    ACCEPTED,
    DELIVERED,
    WAITING,
    BYTES,
    DEAD,
    DROPPED,
    REMOVED,
    CLAIMED,
    MAY_DROP,
    HOST,
    EXPIRED = 14
};
#define STATE_FIRST 14 /* columns of the first form */

/* n NULL i integer t text b blob, capital letters: or NULL. What a longer row has besides is of a newer form. */
static bool
has_shape(const struct cells_row *row, const char *shape)
{
    if (row->n < strlen(shape))
        return false;
    for (unsigned i = 0; shape[i]; i++) {
        enum cells_type type = row->values[i].type;
        char wanted = g_ascii_tolower(shape[i]);
        bool good = wanted == 'n'   ? type == CELLS_NULL
                    : wanted == 'i' ? type == CELLS_INTEGER
                    : wanted == 't' ? type == CELLS_TEXT
                                    : type == CELLS_BLOB;
        if (!good && !(g_ascii_isupper(shape[i]) && type == CELLS_NULL))
            return false;
    }
    return true;
}

static uint64_t
number(const struct cells_row *row, unsigned column)
{
    return (uint64_t)row->values[column].integer;
}

/* A row without a checksum, of an earlier form, has to look like a message in every other respect. */
static bool
looks_whole(const struct queue_row *row)
{
    struct stored stored;
    bool good = stored_read(&stored, row, NULL);
    stored_clear(&stored);
    return good && row->counted >= row->len && row->counted <= HUBKEY_MESSAGE_MAX;
}

/* crc: the column of the checksum. */
static bool
read_message(const struct cells_row *cells, unsigned crc, struct relic *relic)
{
    const struct cells_value *values = cells->values;
    struct queue_row *row = &relic->row;
    if (cells->id < 1 || values[2].integer < 0 || values[2].integer > UINT32_MAX)
        return false;
    *row = (struct queue_row){ .seq = (uint64_t)cells->id,
                               .created_ms = values[1].integer,
                               .counted = (uint32_t)values[2].integer,
                               .properties = (const char *)values[3].bytes,
                               .properties_len = values[3].len,
                               .body = values[4].bytes,
                               .len = values[4].len };
    if (cells->n <= crc || values[crc].type == CELLS_NULL)
        return looks_whole(row);
    return values[crc].type == CELLS_INTEGER && values[crc].integer == (int64_t)queue_row_crc(row);
}

static bool
read_dead(const struct cells_row *cells, struct relic *relic)
{
    if (!read_message(cells, 8, relic))
        return false;
    relic->kind = RELIC_DEAD;
    relic->row.buried_ms = cells->values[5].integer;
    relic->row.status = (int)cells->values[6].integer;
    relic->text = cells->values[7].bytes;
    relic->text_len = cells->values[7].len;
    return true;
}

/* Also that none of them is negative, or more than could ever be counted. */
static bool
adds_up(const struct hubkey_counts *counts, const struct queue_state *state)
{
    const uint64_t parts[] = { counts->delivered, counts->waiting, counts->dead, counts->dropped, counts->removed };
    uint64_t sum = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (parts[i] > counts->accepted)
            return false;
        sum += parts[i];
    }
    return counts->accepted <= INT64_MAX / 2 && counts->last_seq <= INT64_MAX / 2 && sum == counts->accepted &&
           counts->waiting + counts->dead <= counts->last_seq && state->expired <= counts->dropped &&
           state->lost <= counts->dropped;
}

static bool
read_state(const struct cells_row *cells, struct relic *relic)
{
    struct queue_state *state = &relic->state;
    *state = (struct queue_state){
        .counts = { .last_seq = number(cells, LAST_SEQ),
                    .accepted = number(cells, ACCEPTED),
                    .delivered = number(cells, DELIVERED),
                    .waiting = number(cells, WAITING),
                    .waiting_bytes = number(cells, BYTES),
                    .dead = number(cells, DEAD),
                    .dropped = number(cells, DROPPED),
                    .removed = number(cells, REMOVED) },
        .may_drop = number(cells, MAY_DROP) != 0,
        .bound = cells->values[HOST].type == CELLS_TEXT,
        .expired = cells->n > EXPIRED ? number(cells, EXPIRED) : 0,
        .lost = cells->n > EXPIRED + 1 ? number(cells, EXPIRED + 1) : 0,
    };
    relic->owner = &cells->values[HOST];
    relic->kind = RELIC_STATE;
    return cells->id == 1 && adds_up(&state->counts, state);
}

static bool
read_gone(const struct cells_row *cells, struct relic *relic)
{
    relic->kind = RELIC_GONE;
    relic->numbers[0] = (uint64_t)cells->id;
    relic->numbers[1] = number(cells, 1);
    relic->numbers[2] = number(cells, 2);
    return cells->id >= 1 && cells->values[1].integer >= cells->id && relic->numbers[2] >= HUBKEY_GONE_DELIVERED &&
           relic->numbers[2] <= HUBKEY_GONE_LOST;
}

static bool
read_boot(const struct cells_row *cells, struct relic *relic)
{
    relic->kind = RELIC_BOOT;
    relic->numbers[0] = (uint64_t)cells->id;
    relic->text = cells->values[1].bytes;
    relic->text_len = cells->values[1].len;
    return cells->id >= 1;
}

static bool
read_owner(const struct cells_row *cells, struct relic *relic)
{
    relic->kind = RELIC_OWNER;
    relic->owner = &cells->values[1];
    return cells->id == 1;
}

static bool
read_expiry(const struct cells_row *cells, struct relic *relic)
{
    relic->kind = RELIC_EXPIRY;
    relic->numbers[0] = (uint64_t)cells->id;
    for (unsigned i = 1; i < 5; i++)
        relic->numbers[i] = number(cells, i);
    return cells->id >= 1 && relic->numbers[4] >= 1 && relic->numbers[4] <= HUBKEY_TTL_MAX_S;
}

bool
relic_read(const struct cells_row *row, struct relic *relic)
{
    bool good = false;
    *relic = (struct relic){ 0 };
    if (has_shape(row, "niitbiit")) {
        good = read_dead(row, relic);
    } else if (row->n <= 6 && has_shape(row, "niitb")) {
        relic->kind = RELIC_WAITING;
        good = read_message(row, 5, relic);
    } else if (row->n >= STATE_FIRST && has_shape(row, "niiiiiiiiiiTTT")) {
        good = read_state(row, relic);
    } else if (row->n == 5 && has_shape(row, "niiIi")) {
        good = read_expiry(row, relic);
    } else if (row->n == 4 && has_shape(row, "nttT")) {
        good = read_owner(row, relic);
    } else if (row->n == 3 && has_shape(row, "nii")) {
        good = read_gone(row, relic);
    } else if (row->n == 2 && has_shape(row, "nt")) {
        good = read_boot(row, relic);
    }
    if (!good)
        relic->kind = RELIC_NONE;
    return good;
}

/* ---- Looking for something */

/* Calls fn with every relic until it returns true; whether it did. */
static bool
search(const struct pages *pages, bool (*fn)(const struct relic *, void *), void *user)
{
    struct cells *cells = cells_new(pages);
    struct cells_row row;
    struct relic relic;
    bool found = false;
    for (uint32_t page = 1; page <= pages_count(pages) && !found; page++)
        if (cells_begin(cells, page))
            while (!found && cells_next(cells, &row))
                found = relic_read(&row, &relic) && fn(&relic, user);
    cells_free(cells);
    return found;
}

/* What could be of another program by chance does not count. */
static bool
is_proof(const struct relic *relic, void *user)
{
    return relic->kind == RELIC_WAITING || relic->kind == RELIC_DEAD || relic->kind == RELIC_STATE;
}

bool
relic_is_ours(const struct pages *pages)
{
    return search(pages, is_proof, NULL);
}

struct found {
    struct queue_state *state;
    struct identity **owner;
};

static char *
dup_text(const struct cells_value *value)
{
    return value->type == CELLS_TEXT ? g_strndup((const char *)value->bytes, value->len) : NULL;
}

/* NULL where that is none. */
static struct identity *
dup_owner(const struct cells_value *owner)
{
    g_autoptr(identity_auto) identity = identity_new();
    identity->host = dup_text(&owner[0]);
    identity->device = dup_text(&owner[1]);
    identity->module = dup_text(&owner[2]);
    return identity_check(identity, NULL) ? g_steal_pointer(&identity) : NULL;
}

static bool
take_state(const struct relic *relic, void *user)
{
    struct found *found = user;
    if (relic->kind != RELIC_STATE)
        return false;
    *found->state = relic->state;
    *found->owner = NULL;
    if (relic->state.bound && relic->owner[1].type == CELLS_TEXT)
        *found->owner = dup_owner(relic->owner);
    return true;
}

bool
relic_find_state(const struct pages *pages, struct queue_state *state, struct identity **owner)
{
    return search(pages, take_state, &(struct found){ state, owner });
}

static bool
take_owner(const struct relic *relic, void *user)
{
    struct identity **owner = user;
    if (relic->kind == RELIC_OWNER)
        *owner = dup_owner(relic->owner);
    return *owner;
}

struct identity *
relic_find_owner(const struct pages *pages)
{
    struct identity *owner = NULL;
    (void)search(pages, take_owner, &owner);
    return owner;
}

static bool
note_newest(const struct relic *relic, void *user)
{
    uint64_t *newest = user;
    if (relic->kind == RELIC_WAITING || relic->kind == RELIC_DEAD)
        *newest = MAX(*newest, relic->row.seq);
    return false;
}

uint64_t
relic_find_newest(const struct pages *pages)
{
    uint64_t newest = 0;
    (void)search(pages, note_newest, &newest);
    return newest;
}
