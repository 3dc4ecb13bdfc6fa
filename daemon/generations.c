/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/generations.h"
#include "common/error.h"
#include "common/random.h"

#include <errno.h>

#define FILE_NAME "generations"
#define GROUP "generations"
#define HIGHEST "Highest"

/* Ranges that nobody comes to by counting: what stands in for a mark that is lost. Above them is room to go on. */
#define FAR_RANGES (UINT64_C(1) << 24)
#define FAR_CHOICES (FAR_RANGES - (UINT64_C(1) << 20))

G_STATIC_ASSERT((FAR_RANGES + FAR_CHOICES) * GENERATIONS_RANGE < STORE_GENERATION_MAX);

/* False where there is none that could have been written here; whatever else stands there, it is not gone by. */
static bool
read_mark(struct store *store, uint64_t *mark, GError **error)
{
    bool absent;
    g_autoptr(GKeyFile) file = store_read(store, FILE_NAME, &absent, error);
    *mark = 0;
    if (absent || !file || !store_get_generation(file, GROUP, HIGHEST, mark, error))
        return absent;
    if (*mark > 0 && *mark % GENERATIONS_RANGE == 0)
        return true;
    error_set(error, ERROR_DAMAGED, "the file " FILE_NAME " says a number that it never held");
    return false;
}

/* Two losses must not meet: by chance, one time in millions; a clock may stand still or be set back. */
static bool
take_far_mark(uint64_t *mark, GError **error)
{
    uint64_t chance;
    if (!random_fill(&chance, sizeof chance)) {
        error_set(error, ERROR_INTERNAL, "the system gives no random numbers: %s", g_strerror(errno));
        return false;
    }
    *mark = (FAR_RANGES + chance % FAR_CHOICES) * GENERATIONS_RANGE;
    return true;
}

static bool
load_mark(struct store *store, uint64_t *mark, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (read_mark(store, mark, &why))
        return true;
    if (!g_error_matches(why, ERROR_DOMAIN, ERROR_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    g_warning("%s; going on far above all that could have been counted", why->message);
    return take_far_mark(mark, error);
}

static bool
save_mark(struct store *store, uint64_t mark, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_key_file_set_uint64(file, GROUP, HIGHEST, mark);
    return store_write(store, FILE_NAME, file, error);
}

struct highest {
    struct store *store;
    uint64_t generation;
};

/* A record that is damaged, the one that is lost for instance, tells nothing. */
static bool
raise_to(uint32_t slot, void *user, GError **error)
{
    struct highest *highest = user;
    struct store_record record;
    g_autoptr(GError) why = NULL;
    if (!store_load_record(highest->store, slot, &record, &why)) {
        bool damaged = g_error_matches(why, ERROR_DOMAIN, ERROR_DAMAGED);
        if (!damaged)
            g_propagate_error(error, g_steal_pointer(&why));
        return damaged;
    }
    highest->generation = MAX(highest->generation, record.generation);
    store_record_clear(&record);
    return true;
}

bool
generations_take(struct store *store, uint64_t *generation, GError **error)
{
    struct highest highest = { .store = store };
    if (!load_mark(store, &highest.generation, error) || !store_each_slot(store, raise_to, &highest, error))
        return false;
    *generation = (highest.generation / GENERATIONS_RANGE + 1) * GENERATIONS_RANGE;
    if (*generation <= STORE_GENERATION_MAX)
        return save_mark(store, *generation, error);
    error_set(error, ERROR_INTERNAL,
              "no generation is left above those in the state directory; clear the slot whose record has %"
              G_GUINT64_FORMAT, highest.generation);
    return false;
}
