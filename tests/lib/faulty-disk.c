/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tests/lib/faulty-disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define NAMES 4096

static struct {
    char folder[512];
    enum faulty_disk what;
    unsigned at, count;
    uint32_t seed;
} order;

/* What the wrapped functions are. dlsym gives a void pointer, which ISO C does not convert to a function's. */
#define REAL(pointer, name)                                                                                            \
    do {                                                                                                               \
        if (!(pointer))                                                                                                \
            *(void **)&(pointer) = dlsym(RTLD_NEXT, name);                                                             \
    } while (0)

/* ---- What is not safe yet, the oldest first */

struct undo {
    dev_t device;
    ino_t inode;
    int fd; /* of its own, never closed: that would take SQLite's locks away */
    off_t at, size_before;
    size_t len; /* of what stood there before, up to the end of the file */
    char *before;
};

struct named {
    bool made; /* else renamed */
    char from[512], to[512];
};

static struct undo *undos;
static size_t n_undos;
static struct named names[NAMES];
static size_t n_names;

static bool
ends_in(const char *path, const char *end)
{
    size_t len = strlen(path), n = strlen(end);
    return len >= n && strcmp(path + len - n, end) == 0;
}

/* The folder itself, or something in it. */
static bool
watch_path(const char *path)
{
    size_t len = strlen(order.folder);
    return len > 0 && strncmp(path, order.folder, len) == 0 && (path[len] == '\0' || path[len] == '/') &&
           !ends_in(path, "-shm") && !ends_in(path, ".lock");
}

static bool
watch(int fd, struct stat *st)
{
    char link[64], target[512];
    if (!order.folder[0] || fstat(fd, st) != 0 || !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return watch_path(target);
}

static int
own_descriptor(int fd, const struct stat *st)
{
    char link[64];
    static int (*real)(const char *, int, ...);
    REAL(real, "open");
    for (size_t i = 0; i < n_undos; i++)
        if (undos[i].device == st->st_dev && undos[i].inode == st->st_ino)
            return undos[i].fd;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return real(link, O_RDWR | O_CLOEXEC);
}

static bool
is_cut(void)
{
    return order.what == FAULTY_LOST || order.what == FAULTY_TORN;
}

/* len bytes from at on are about to change. */
static void
remember(int fd, const struct stat *st, off_t at, size_t len)
{
    if (!is_cut())
        return;
    struct undo undo = { .device = st->st_dev, .inode = st->st_ino, .at = at, .size_before = st->st_size };
    undo.fd = own_descriptor(fd, st);
    undo.before = malloc(len + 1);
    ssize_t n = pread(undo.fd, undo.before, len, at);
    undo.len = n > 0 ? (size_t)n : 0;
    undos = realloc(undos, (n_undos + 1) * sizeof *undos);
    undos[n_undos++] = undo;
}

static void
remember_name(bool made, const char *from, const char *to)
{
    if (!is_cut())
        return;
    if (n_names == NAMES)
        abort();
    struct named *named = &names[n_names++];
    named->made = made;
    snprintf(named->from, sizeof named->from, "%s", from);
    snprintf(named->to, sizeof named->to, "%s", to);
}

/* The descriptors stay: another write to the file finds its one here. */
static void
forget(const struct stat *st)
{
    if (S_ISDIR(st->st_mode))
        n_names = 0;
    for (size_t i = 0; i < n_undos; i++)
        if (undos[i].device == st->st_dev && undos[i].inode == st->st_ino)
            undos[i].at = -1;
}

/* ---- The power fails */

static bool
survives(void)
{
    order.seed = order.seed * 1103515245 + 12345;
    return order.what == FAULTY_TORN && (order.seed >> 16 & 1) != 0;
}

/* Sector by sector as it was before. Beyond the old end that is nothing, or what a file system has in new blocks. */
static void
take_back(const struct undo *undo)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    static int (*real_truncate)(int, off_t);
    REAL(real, "pwrite");
    REAL(real_truncate, "ftruncate");
    for (size_t done = 0; done < undo->len;) {
        size_t n = SECTOR - (size_t)(undo->at + (off_t)done) % SECTOR;
        if (n > undo->len - done)
            n = undo->len - done;
        if (!survives() && real(undo->fd, undo->before + done, n, undo->at + (off_t)done) != (ssize_t)n)
            abort();
        done += n;
    }
    if (!survives() && real_truncate(undo->fd, undo->size_before) != 0)
        abort();
}

static void
cut_power(void)
{
    static int (*real_rename)(const char *, const char *);
    static int (*real_unlink)(const char *);
    REAL(real_rename, "rename");
    REAL(real_unlink, "unlink");
    for (size_t i = n_undos; i > 0; i--)
        if (undos[i - 1].at >= 0)
            take_back(&undos[i - 1]);
    /* Journals of file systems keep the order of names: what comes later does not survive what came before. */
    size_t kept = 0;
    while (kept < n_names && survives())
        kept++;
    for (size_t i = n_names; i > kept; i--)
        if (names[i - 1].made)
            (void)real_unlink(names[i - 1].to);
        else
            (void)real_rename(names[i - 1].to, names[i - 1].from);
}

/* ---- Every change comes by here */

/* False with errno where it is to fail. releases: it gives back room, or only makes safe what is there. */
static bool
begin(bool releases)
{
    bool due = ++order.count == order.at, since = order.at && order.count >= order.at;
    if (due && is_cut())
        cut_power();
    if (due && (is_cut() || order.what == FAULTY_KILL))
        kill(getpid(), SIGKILL);
    if (due && order.what == FAULTY_ONCE)
        errno = EIO;
    else if (since && order.what == FAULTY_READS)
        errno = EROFS;
    else if (since && order.what == FAULTY_FULL && !releases)
        errno = ENOSPC;
    else
        return true;
    return false;
}

void
faulty_disk_order(const char *folder, enum faulty_disk what, unsigned at, uint32_t seed)
{
    snprintf(order.folder, sizeof order.folder, "%s", folder);
    order.what = what;
    order.at = at;
    order.count = 0;
    order.seed = seed;
}

void
faulty_disk_heal(void)
{
    order.at = 0;
}

unsigned
faulty_disk_count(void)
{
    return order.count;
}

/* ---- The functions */

static ssize_t
write_at(int fd, const void *bytes, size_t len, off_t at, ssize_t (*real)(int, const void *, size_t, off_t))
{
    struct stat st;
    if (watch(fd, &st)) {
        if (!begin(false))
            return -1;
        remember(fd, &st, at, len);
    }
    return real(fd, bytes, len, at);
}

ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    REAL(real, "pwrite");
    return write_at(fd, bytes, len, at, real);
}

ssize_t
pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    REAL(real, "pwrite64");
    return write_at(fd, bytes, len, at, real);
}

static int
cut_at(int fd, off_t size, int (*real)(int, off_t))
{
    struct stat st;
    if (watch(fd, &st)) {
        if (!begin(size <= st.st_size))
            return -1;
        remember(fd, &st, size, size < st.st_size ? (size_t)(st.st_size - size) : 0);
    }
    return real(fd, size);
}

int
ftruncate(int fd, off_t size)
{
    static int (*real)(int, off_t);
    REAL(real, "ftruncate");
    return cut_at(fd, size, real);
}

int
ftruncate64(int fd, off64_t size)
{
    static int (*real)(int, off_t);
    REAL(real, "ftruncate64");
    return cut_at(fd, size, real);
}

static int
flush(int fd, int (*real)(int))
{
    struct stat st;
    if (!watch(fd, &st))
        return real(fd);
    if (!begin(true))
        return -1;
    forget(&st);
    return 0;
}

int
fsync(int fd)
{
    static int (*real)(int);
    REAL(real, "fsync");
    return flush(fd, real);
}

int
fdatasync(int fd)
{
    static int (*real)(int);
    REAL(real, "fdatasync");
    return flush(fd, real);
}

int
rename(const char *from, const char *to)
{
    static int (*real)(const char *, const char *);
    REAL(real, "rename");
    bool watched = watch_path(to);
    if (watched && !begin(true))
        return -1;
    int result = real(from, to);
    if (result == 0 && watched)
        remember_name(false, from, to);
    return result;
}

int
unlink(const char *path)
{
    static int (*real)(const char *);
    REAL(real, "unlink");
    return !watch_path(path) || begin(true) ? real(path) : -1;
}

static int
open_at(const char *path, int flags, mode_t mode, int (*real)(const char *, int, ...))
{
    struct stat st;
    bool makes = (flags & O_CREAT) && watch_path(path) && lstat(path, &st) != 0;
    if (makes && !begin(false))
        return -1;
    int fd = real(path, flags, mode);
    if (fd >= 0 && makes)
        remember_name(true, "", path);
    return fd;
}

#define MODE_OF(flags, mode)                                                                                           \
    do {                                                                                                               \
        if ((flags)&O_CREAT) {                                                                                         \
            va_list arguments;                                                                                         \
            va_start(arguments, flags);                                                                                \
            (mode) = va_arg(arguments, mode_t);                                                                        \
            va_end(arguments);                                                                                         \
        }                                                                                                              \
    } while (0)

int
open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    mode_t mode = 0;
    MODE_OF(flags, mode);
    REAL(real, "open");
    return open_at(path, flags, mode, real);
}

int
open64(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    mode_t mode = 0;
    MODE_OF(flags, mode);
    REAL(real, "open64");
    return open_at(path, flags, mode, real);
}
