/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * GLib's locks are made of futexes, which ThreadSanitizer does not see: everything they guard would look like a race.
 * Preloaded, this tells it what each call orders. Only the calls that this tree makes.
 */
#include <dlfcn.h>

#include <glib.h>

/* Of the sanitizer, in the program; not there in programs that tests start. */
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

static void
acquire(void *address)
{
    if (__tsan_acquire)
        __tsan_acquire(address);
}

static void
release(void *address)
{
    if (__tsan_release)
        __tsan_release(address);
}

/* dlsym is quick enough here, and remembering its answer would be a race of our own. */
#define GLIBS(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

void
g_mutex_lock(GMutex *mutex)
{
    GLIBS(g_mutex_lock)(mutex);
    acquire(mutex);
}

gboolean
g_mutex_trylock(GMutex *mutex)
{
    gboolean locked = GLIBS(g_mutex_trylock)(mutex);
    if (locked)
        acquire(mutex);
    return locked;
}

void
g_mutex_unlock(GMutex *mutex)
{
    release(mutex);
    GLIBS(g_mutex_unlock)(mutex);
}

void
g_cond_wait(GCond *cond, GMutex *mutex)
{
    release(mutex);
    GLIBS(g_cond_wait)(cond, mutex);
    acquire(mutex);
}

gboolean
g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    release(mutex);
    gboolean woken = GLIBS(g_cond_wait_until)(cond, mutex, end_time);
    acquire(mutex);
    return woken;
}
