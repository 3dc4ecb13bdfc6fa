/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/place.h"
#include "client/failure.h"
#include "client/filesystem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *
place_default(uint32_t slot, GError **error)
{
    const char *state = secure_getenv("STATE_DIRECTORY"), *xdg = secure_getenv("XDG_STATE_HOME");
    g_autofree char *directory = NULL;
    if (state && state[0])
        directory = g_strndup(state, strcspn(state, ":")); /* systemd lists several separated by colons */
    else if (geteuid() == 0)
        directory = g_strdup("/var/lib/hubkey-client");
    else if (xdg && xdg[0] == '/')
        directory = g_build_filename(xdg, "hubkey", NULL);
    else
        directory = g_build_filename(g_get_home_dir(), ".local/state/hubkey", NULL);
    if (directory[0] != '/') {
        failure_set(
            error, HUBKEY_E_QUEUE_OPEN,
            "cannot tell where the queue belongs: \"%s\" is not an absolute path; set queue_path or STATE_DIRECTORY",
            directory);
        return NULL;
    }
    return g_strdup_printf("%s/slot-%u.queue", directory, slot);
}

bool
place_sync(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Directories that are missing, each on disk before the next: a queue is no safer than the way to it. */
static bool
make_directories(const char *directory)
{
    g_autofree char *parent = g_path_get_dirname(directory);
    if (access(directory, F_OK) == 0)
        return true;
    if (strcmp(parent, directory) == 0 || !make_directories(parent))
        return false;
    return (mkdir(directory, 0700) == 0 || errno == EEXIST) && place_sync(parent);
}

static char *
resolve_directory(const char *path, bool create, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);
    if (create && !make_directories(directory)) {
        failure_set(error, HUBKEY_E_QUEUE_OPEN,
                    "cannot make the directory %s of the queue: %s; make it, or choose another place", directory,
                    g_strerror(errno));
        return NULL;
    }
    char *real = realpath(directory, NULL);
    if (!real) {
        failure_set(error, HUBKEY_E_QUEUE_OPEN,
                    "cannot find the directory %s of the queue: %s; make it, or choose another place", directory,
                    g_strerror(errno));
        return NULL;
    }
    g_autofree char *remote = filesystem_remote(real);
    if (remote) {
        failure_set(error, HUBKEY_E_QUEUE_OPEN,
                    "%s is on %s, where locks, shared memory and flushes may not reach who else uses the queue, nor a "
                    "disk; choose a directory on a local disk",
                    real, remote);
        g_clear_pointer(&real, free);
    }
    return real;
}

void
place_resemble(int fd, const char *model)
{
    struct stat is, wanted;
    if (lstat(model, &wanted) != 0 || !S_ISREG(wanted.st_mode) || fstat(fd, &is) != 0)
        return;
    bool moved = is.st_uid == wanted.st_uid && is.st_gid == wanted.st_gid;
    bool same_group = moved || fchown(fd, wanted.st_uid, wanted.st_gid) == 0 ||
                      fchown(fd, (uid_t)-1, wanted.st_gid) == 0;
    (void)fchmod(fd, wanted.st_mode & (same_group ? 0666 : 0606)); /* nothing for a group that had nothing */
}

/* Only O_EXCL: opening and closing an existing file would take away the POSIX locks that SQLite holds on it for other
 * clients in this process. */
bool
place_make_file(const char *path, const char *model, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) {
        failure_set(error, HUBKEY_E_QUEUE_OPEN,
                    "cannot make the queue %s: %s; check the directory's owner, mode and disk", path,
                    g_strerror(errno));
        return false;
    }
    if (fd < 0)
        return true;
    place_resemble(fd, model);
    close(fd);
    g_autofree char *directory = g_path_get_dirname(path);
    bool ok = place_sync(directory);
    if (!ok)
        failure_set(error, HUBKEY_E_QUEUE_OPEN, "cannot make the queue %s safe on disk: %s; check the disk", path,
                    g_strerror(errno));
    return ok;
}

static bool
check_file(const char *path, GError **error)
{
    struct stat st;
    const char *fault = NULL;
    if (lstat(path, &st) != 0)
        fault = g_strerror(errno);
    else if (S_ISLNK(st.st_mode))
        fault = "it is a symbolic link; name the file itself";
    else if (!S_ISREG(st.st_mode))
        fault = "it is not a regular file; name another";
    else if (st.st_uid != geteuid() && geteuid() != 0 && access(path, R_OK | W_OK) != 0)
        fault = "it belongs to another user; run as that one, or name another file";
    if (fault)
        failure_set(error, HUBKEY_E_QUEUE_OPEN, "cannot open the queue %s: %s", path, fault);
    return !fault;
}

char *
place_prepare(const char *path, bool create, GError **error)
{
    g_autofree char *name = g_path_get_basename(path);
    if (!path[0] || strlen(path) >= PATH_MAX || g_str_has_suffix(path, "/") || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0) {
        failure_set(error, HUBKEY_E_INVALID, "the queue's path must name a file, shorter than %d bytes", PATH_MAX);
        return NULL;
    }
    char *directory = resolve_directory(path, create, error);
    if (!directory)
        return NULL;
    g_autofree char *full = g_build_filename(directory, name, NULL);
    free(directory);
    g_autofree char *lock = g_strconcat(full, PLACE_LOCK, NULL);
    if ((create && !place_make_file(full, lock, error)) || !check_file(full, error))
        return NULL;
    return g_steal_pointer(&full);
}

int64_t
place_size(const char *path, const char *suffix)
{
    struct stat st;
    g_autofree char *full = g_strconcat(path, suffix, NULL);
    return lstat(full, &st) == 0 ? st.st_size : 0;
}

uint64_t
place_free_bytes(const char *path)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return UINT64_MAX;
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}
