/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For LD_PRELOAD: SIGKILLs the program before or after the Nth change of a file below KILL_FILE_OP_DIR, as orders.h in
 * KILL_FILE_OP_ORDERS asks ("kill-before N", "kill-after N"). Changes are openat with O_CREAT, write, fsync, renameat
 * and unlinkat.
 */
#include "tests/lib/orders.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct orders orders;

/* What the wrapped functions are. dlsym gives a void pointer, which ISO C does not convert to a function's. */
#define REAL(name, pointer)                                                                                            \
    do {                                                                                                               \
        if (!(pointer))                                                                                                \
            *(void **)&(pointer) = dlsym(RTLD_NEXT, name);                                                             \
    } while (0)

static bool
is_watched(int fd)
{
    char link[64], target[512];
    const char *directory = getenv("KILL_FILE_OP_DIR"), *path = getenv("KILL_FILE_OP_ORDERS");
    if (!directory || !path)
        return false;
    orders_init(&orders, path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    size_t len = strlen(directory);
    if (n < 0)
        return false;
    target[n] = '\0';
    return strncmp(target, directory, len) == 0 && (target[len] == '\0' || target[len] == '/');
}

static void
die(const char *operation)
{
    orders_fired(&orders, operation);
    kill(getpid(), SIGKILL);
}

/* True where the program is to die afterwards. */
static bool
begin(int fd, const char *operation)
{
    if (!is_watched(fd) || !orders_next(&orders))
        return false;
    if (orders_say(&orders, "kill-before"))
        die(operation);
    return true;
}

static void
end(bool due, const char *operation)
{
    if (due)
        die(operation);
}

int
openat(int directory, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    REAL("openat", real);
    bool due = (flags & O_CREAT) && begin(directory, "openat");
    int fd = real(directory, path, flags, mode);
    end(due, "openat");
    return fd;
}

ssize_t
write(int fd, const void *bytes, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    REAL("write", real);
    bool due = begin(fd, "write");
    ssize_t n = real(fd, bytes, size);
    end(due, "write");
    return n;
}

int
fsync(int fd)
{
    static int (*real)(int);
    REAL("fsync", real);
    bool due = begin(fd, "fsync");
    int result = real(fd);
    end(due, "fsync");
    return result;
}

int
renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    static int (*real)(int, const char *, int, const char *);
    REAL("renameat", real);
    bool due = begin(to_directory, "renameat");
    int result = real(from_directory, from, to_directory, to);
    end(due, "renameat");
    return result;
}

int
unlinkat(int directory, const char *path, int flags)
{
    static int (*real)(int, const char *, int);
    REAL("unlinkat", real);
    bool due = begin(directory, "unlinkat");
    int result = real(directory, path, flags);
    end(due, "unlinkat");
    return result;
}
