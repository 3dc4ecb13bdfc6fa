/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The log moves first. Without it, and before the file itself has moved, the file would open as it was some commits
 * ago; so until both have moved the log bears a name of its own, FILE.salvage-N-moving, which says that a setting-aside
 * was begun and has to be finished before anybody opens FILE. A FILE.salvage-N-wal that stands alone says nothing of
 * the kind: somebody took its file away. The shared memory is removed in between: it is found by name, and connections
 * to the old file and to the fresh one must not meet in it.
 */
#include <config.h>

#include "client/damaged.h"
#include "client/failure.h"
#include "client/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PENDING ".salvage-"
#define KEPT ".damaged-"
#define LOG "-wal"
#define MOVING "-moving"
#define MEMORY "-shm"

char *
damaged_pending_path(const char *path, unsigned n)
{
    return g_strdup_printf("%s" PENDING "%u", path, n);
}

char *
damaged_kept_path(const char *path, unsigned n)
{
    return g_strdup_printf("%s" KEPT "%u", path, n);
}

static bool
exists(const char *path, const char *suffix)
{
    g_autofree char *full = g_strconcat(path, suffix, NULL);
    return access(full, F_OK) == 0;
}

static bool
fail(const char *doing, const char *path, GError **error)
{
    failure_set(error, HUBKEY_E_QUEUE_OPEN, "the damaged queue cannot be set aside: %s %s: %s; check its directory",
                doing, path, g_strerror(errno));
    return false;
}

/* ---- What is there */

static int
compare(gconstpointer a, gconstpointer b)
{
    unsigned left = *(const unsigned *)a, right = *(const unsigned *)b;
    return left < right ? -1 : left > right;
}

/* The numbers N of all FILE<kind>N<end>, in order. */
static GArray *
list(const char *path, const char *kind, const char *end)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(unsigned));
    g_autofree char *folder = g_path_get_dirname(path), *base = g_path_get_basename(path);
    g_autofree char *prefix = g_strconcat(base, kind, NULL);
    GDir *dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        unsigned n;
        int used = 0;
        if (g_str_has_prefix(name, prefix) && g_ascii_isdigit(name[strlen(prefix)]) &&
            sscanf(name + strlen(prefix), "%9u%n", &n, &used) == 1 && n > 0 &&
            strcmp(name + strlen(prefix) + used, end) == 0)
            g_array_append_val(numbers, n);
    }
    if (dir)
        g_dir_close(dir);
    g_array_sort(numbers, compare);
    return numbers;
}

static unsigned
newest(const char *path, const char *kind, const char *end)
{
    g_autoptr(GArray) numbers = list(path, kind, end);
    return numbers->len ? g_array_index(numbers, unsigned, numbers->len - 1) : 0;
}

unsigned
damaged_newest_pending(const char *path)
{
    return newest(path, PENDING, "");
}

unsigned
damaged_pending(const char *path, unsigned above)
{
    g_autoptr(GArray) numbers = list(path, PENDING, "");
    for (guint i = 0; i < numbers->len; i++)
        if (g_array_index(numbers, unsigned, i) > above)
            return g_array_index(numbers, unsigned, i);
    return 0;
}

unsigned
damaged_kept(const char *path)
{
    g_autoptr(GArray) numbers = list(path, KEPT, "");
    return numbers->len;
}

/* ---- Moving */

/* What is not there need not be moved. */
static bool
move(const char *from, const char *from_suffix, const char *to, const char *to_suffix, GError **error)
{
    g_autofree char *old = g_strconcat(from, from_suffix, NULL), *new = g_strconcat(to, to_suffix, NULL);
    g_autofree char *folder = g_path_get_dirname(to);
    if (rename(old, new) != 0)
        return errno == ENOENT || fail("moving", old, error);
    return place_sync(folder) || fail("syncing", folder, error);
}

/* The second half: the log has left FILE. */
static bool
move_file(const char *path, unsigned n, GError **error)
{
    g_autofree char *aside = damaged_pending_path(path, n), *memory = g_strconcat(path, MEMORY, NULL);
    if (!exists(aside, "")) {
        if (unlink(memory) != 0 && errno != ENOENT)
            return fail("removing", memory, error);
        if (!move(path, "", aside, "", error))
            return false;
    }
    g_autofree char *lock = g_strconcat(path, PLACE_LOCK, NULL);
    /* The log alone is worth something, too. */
    return (exists(aside, "") || place_make_file(aside, lock, error)) && move(aside, MOVING, aside, LOG, error);
}

bool
damaged_settle(const char *path, GError **error)
{
    g_autoptr(GArray) begun = list(path, PENDING, MOVING);
    for (guint i = 0; i < begun->len; i++)
        if (!move_file(path, g_array_index(begun, unsigned, i), error))
            return false;
    return true;
}

/* A number that not even the log of a file that is no more there has. */
static unsigned
next_number(const char *path)
{
    unsigned files = MAX(newest(path, PENDING, ""), newest(path, KEPT, ""));
    return MAX(files, MAX(newest(path, PENDING, LOG), newest(path, KEPT, LOG))) + 1;
}

bool
damaged_set_aside(const char *path, GError **error)
{
    g_autoptr(GArray) pending = list(path, PENDING, "");
    if (pending->len >= DAMAGED_PENDING) {
        failure_set(error, HUBKEY_E_QUEUE_DAMAGED,
                    "%s was found damaged for the %uth time before its messages could be saved; replace the disk, "
                    "and then move %s" PENDING "* to a good one, beside it",
                    path, pending->len + 1, path);
        return false;
    }
    unsigned n = next_number(path);
    g_autofree char *aside = damaged_pending_path(path, n);
    return move(path, LOG, aside, MOVING, error) && move_file(path, n, error);
}

static void
forget(const char *path, unsigned n)
{
    g_autofree char *kept = damaged_kept_path(path, n), *log = g_strconcat(kept, LOG, NULL);
    (void)unlink(log);
    (void)unlink(kept);
}

/* The log first: what is cut short is done again as long as the file is there. */
bool
damaged_done(const char *path, unsigned n, GError **error)
{
    g_autofree char *aside = damaged_pending_path(path, n), *kept = damaged_kept_path(path, n);
    if (!move(aside, LOG, kept, LOG, error) || !move(aside, "", kept, "", error))
        return false;
    g_autoptr(GArray) all = list(path, KEPT, "");
    for (guint i = 0; i + DAMAGED_KEPT < all->len; i++)
        forget(path, g_array_index(all, unsigned, i));
    return true;
}
