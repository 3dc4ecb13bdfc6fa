/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/rate.h"
#include "common/clock.h"
#include "common/error.h"

#define MINUTE_US (INT64_C(60) * G_USEC_PER_SEC)
#define SWEEP_INTERVAL_US G_USEC_PER_SEC

/* A bucket is one number: when it will be full again. Each request puts that off by its share of a minute, and may not
 * put it off by more than a minute from now. So a full bucket need not be kept, and one that was filled under another
 * RequestsPerMinute= means the same under this one. */
struct bucket {
    uid_t uid;
    uint32_t slot;
    int64_t full_us; /* boot clock */
};

struct rate {
    GHashTable *buckets; /* a set of struct bucket */
    int64_t swept_us;
};

static guint
hash_bucket(gconstpointer data)
{
    const struct bucket *bucket = data;
    return bucket->uid * 2654435761u ^ bucket->slot;
}

static gboolean
equal_buckets(gconstpointer left, gconstpointer right)
{
    const struct bucket *a = left, *b = right;
    return a->uid == b->uid && a->slot == b->slot;
}

struct rate *
rate_new(void)
{
    struct rate *rate = g_new0(struct rate, 1);
    rate->buckets = g_hash_table_new_full(hash_bucket, equal_buckets, g_free, NULL);
    rate->swept_us = clock_boot_us();
    return rate;
}

void
rate_free(struct rate *rate)
{
    if (!rate)
        return;
    g_hash_table_destroy(rate->buckets);
    g_free(rate);
}

static gboolean
is_full(gpointer key, gpointer value, gpointer now)
{
    return ((const struct bucket *)key)->full_us <= *(const int64_t *)now;
}

static void
sweep(struct rate *rate, int64_t now)
{
    if (now - rate->swept_us < SWEEP_INTERVAL_US)
        return;
    rate->swept_us = now;
    g_hash_table_foreach_remove(rate->buckets, is_full, &now);
}

static struct bucket *
bucket_of(struct rate *rate, uid_t uid, uint32_t slot)
{
    const struct bucket wanted = { .uid = uid, .slot = slot };
    struct bucket *bucket = g_hash_table_lookup(rate->buckets, &wanted);
    if (bucket || g_hash_table_size(rate->buckets) >= RATE_KEPT_MAX)
        return bucket;
    bucket = g_new(struct bucket, 1);
    *bucket = wanted;
    g_hash_table_add(rate->buckets, bucket);
    return bucket;
}

bool
rate_take(struct rate *rate, uid_t uid, uint32_t slot, uint32_t per_minute, GError **error)
{
    if (per_minute == 0)
        return true;
    int64_t now = clock_boot_us(), share = MINUTE_US / per_minute;
    sweep(rate, now);
    struct bucket *bucket = bucket_of(rate, uid, slot);
    if (!bucket) {
        error_set(error, ERROR_BUSY, "too many users have asked too many slots within a minute; retry in %d ms",
                  (int)(SWEEP_INTERVAL_US / 1000));
        return false;
    }
    int64_t full = MAX(bucket->full_us, now) + share, early = full - MINUTE_US - now;
    if (early > 0) {
        error_set(error, ERROR_BUSY,
                  "slot %u gives each user %u tokens a minute (RequestsPerMinute), and yours are used "
                  "up; retry in %" G_GINT64_FORMAT " ms",
                  slot, per_minute, (early + 999) / 1000);
        return false;
    }
    bucket->full_us = full;
    return true;
}
