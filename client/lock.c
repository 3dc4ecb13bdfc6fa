/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/lock.h"
#include "client/failure.h"
#include "client/place.h"
#include "common/clock.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SENDER_BYTE 0
#define SETUP_BYTE 1
#define WRITE_BYTE 2
#define DRAIN_POLL_US 2000

struct lock {
    int fd; /* -1: no file to lock */
    bool held; /* atomic: the sender's thread sets it, posters ask */
    char *path;
    struct lock *next;
};

/* Every open lock of the process, so that a forked child can close its copies: they would keep the lock alive after the
 * parent's end. */
static struct lock *all;
static pthread_mutex_t all_mutex = PTHREAD_MUTEX_INITIALIZER;

static void
before_fork(void)
{
    pthread_mutex_lock(&all_mutex);
}

static void
after_fork_parent(void)
{
    pthread_mutex_unlock(&all_mutex);
}

static void
after_fork_child(void)
{
    for (struct lock *lock = all; lock; lock = lock->next)
        if (lock->fd >= 0) {
            close(lock->fd);
            lock->fd = -1;
            lock->held = false;
        }
    pthread_mutex_unlock(&all_mutex);
}

static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static int
make_file(const char *path, const char *queue_path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) /* somebody else was faster */
        return open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        place_resemble(fd, queue_path);
    return fd;
}

struct lock *
lock_open(const char *queue_path, bool create, GError **error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);

    g_autofree char *path = g_strconcat(queue_path, PLACE_LOCK, NULL);
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && create && errno == ENOENT)
        fd = make_file(path, queue_path);
    if (fd < 0 && !create && (errno == EACCES || errno == EROFS))
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (create || errno != ENOENT)) {
        failure_set(error, HUBKEY_E_QUEUE_OPEN, "cannot open the queue's lock %s: %s", path,
                    errno == ELOOP ? "it is a symbolic link; remove it" : g_strerror(errno));
        return NULL;
    }
    struct lock *lock = g_new(struct lock, 1);
    pthread_mutex_lock(&all_mutex);
    *lock = (struct lock){ .fd = fd, .path = g_steal_pointer(&path), .next = all };
    all = lock;
    pthread_mutex_unlock(&all_mutex);
    return lock;
}

void
lock_close(struct lock *lock)
{
    if (!lock)
        return;
    pthread_mutex_lock(&all_mutex);
    struct lock **at = &all;
    while (*at != lock)
        at = &(*at)->next;
    *at = lock->next;
    pthread_mutex_unlock(&all_mutex);
    if (lock->fd >= 0)
        close(lock->fd);
    g_free(lock->path);
    g_free(lock);
}

static struct flock
region(short type, off_t byte)
{
    return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
}

/* For people and for lock_ask; losing it loses nothing but the name. */
static void
sign(struct lock *lock)
{
    g_autofree char *text = g_strdup_printf("pid=%d\nsince=%" G_GINT64_FORMAT "\nprogram=%.63s\n", (int)getpid(),
                                            clock_wall_us() / 1000, program_invocation_short_name);
    if (ftruncate(lock->fd, 0) != 0 || pwrite(lock->fd, text, strlen(text), 0) < 0)
        return;
}

bool
lock_try(struct lock *lock)
{
    if (lock_is_held(lock) || lock->fd < 0)
        return lock_is_held(lock);
    struct flock whole = region(F_WRLCK, SENDER_BYTE);
    bool held = fcntl(lock->fd, F_OFD_SETLK, &whole) == 0;
    __atomic_store_n(&lock->held, held, __ATOMIC_RELAXED);
    if (held)
        sign(lock);
    return held;
}

bool
lock_is_held(const struct lock *lock)
{
    return __atomic_load_n(&lock->held, __ATOMIC_RELAXED);
}

bool
lock_take(struct lock *lock, GError **error)
{
    struct lock_holder holder;
    if (lock_try(lock))
        return true;
    lock_ask(lock, &holder);
    if (holder.pid == 0 && lock_try(lock)) /* he has just let go */
        return true;
    if (holder.pid <= 0) {
        failure_set(error, HUBKEY_E_QUEUE_HELD,
                    "another process sends from this queue; end it first (fuser %s names it)", lock->path);
        return false;
    }
    g_autoptr(GDateTime) since = g_date_time_new_from_unix_utc(holder.since_ms / 1000);
    g_autofree char *when = since ? g_date_time_format(since, "%Y-%m-%d %H:%M:%S") : NULL;
    failure_set(error, HUBKEY_E_QUEUE_HELD, "process %d (%s) sends from this queue since %s UTC; end it first",
                (int)holder.pid, holder.program, when ? when : "an unknown time");
    return false;
}

void
lock_ask(struct lock *lock, struct lock_holder *holder)
{
    *holder = (struct lock_holder){ 0 };
    struct flock sender = region(F_WRLCK, SENDER_BYTE);
    if (lock_is_held(lock) || lock->fd < 0 || fcntl(lock->fd, F_OFD_GETLK, &sender) != 0 || sender.l_type == F_UNLCK)
        return;
    char text[256] = { 0 };
    int pid = -1;
    ssize_t n = pread(lock->fd, text, sizeof text - 1, 0);
    if (n > 0)
        (void)sscanf(text, "pid=%d\nsince=%" G_GINT64_FORMAT "\nprogram=%63[^\n]", &pid, &holder->since_ms,
                     holder->program);
    holder->pid = pid; /* -1: taken, and not signed yet */
    g_autofree char *shown = text_printable(holder->program); /* whoever may post can write there */
    text_copy(holder->program, sizeof holder->program, shown);
    if (!holder->program[0])
        g_strlcpy(holder->program, "unknown", sizeof holder->program);
}

static void
wait_for(struct lock *lock, short type, off_t byte)
{
    struct flock wanted = region(type, byte);
    while (lock->fd >= 0 && fcntl(lock->fd, F_OFD_SETLKW, &wanted) != 0 && errno == EINTR)
        continue;
}

void
lock_setup_begin(struct lock *lock)
{
    wait_for(lock, F_WRLCK, SETUP_BYTE);
}

void
lock_setup_watch(struct lock *lock)
{
    wait_for(lock, F_RDLCK, SETUP_BYTE);
}

static void
let_go(struct lock *lock, off_t byte)
{
    struct flock held = region(F_UNLCK, byte);
    if (lock->fd >= 0)
        (void)fcntl(lock->fd, F_OFD_SETLK, &held);
}

void
lock_setup_end(struct lock *lock)
{
    let_go(lock, SETUP_BYTE);
}

void
lock_write_begin(struct lock *lock)
{
    wait_for(lock, F_RDLCK, WRITE_BYTE);
}

void
lock_write_end(struct lock *lock)
{
    let_go(lock, WRITE_BYTE);
}

bool
lock_write_drain(struct lock *lock, int64_t patience_us)
{
    int64_t until_us = clock_monotonic_us() + patience_us;
    struct flock whole = region(F_WRLCK, WRITE_BYTE);
    while (lock->fd >= 0 && fcntl(lock->fd, F_OFD_SETLK, &whole) != 0) {
        if (clock_monotonic_us() >= until_us)
            return false;
        g_usleep(DRAIN_POLL_US);
    }
    let_go(lock, WRITE_BYTE);
    return true;
}
