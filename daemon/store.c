/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/store.h"
#include "common/error.h"
#include "common/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKSUM_LINE "# sha256 "
#define TEMPORARY_SUFFIX ".new"
#define ASIDE_SUFFIX ".damaged"

struct store {
    int fd; /* the directory */
    char *path;
};

struct store *
store_open(const char *directory, GError **error)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        error_set(error, ERROR_INTERNAL, "cannot make the state directory %s: %s", directory, g_strerror(errno));
        return NULL;
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        error_set(error, ERROR_INTERNAL, "cannot open the state directory %s: %s", directory, g_strerror(errno));
        return NULL;
    }
    struct store *store = g_new0(struct store, 1);
    store->fd = fd;
    store->path = g_strdup(directory);
    return store;
}

void
store_close(struct store *store)
{
    if (!store)
        return;
    close(store->fd);
    g_free(store->path);
    g_free(store);
}

static bool
io_error(struct store *store, const char *doing, const char *name, GError **error)
{
    int code = errno == ENOSPC || errno == EDQUOT ? ERROR_NO_SPACE : ERROR_INTERNAL;
    error_set(error, code, "cannot %s %s/%s: %s", doing, store->path, name, g_strerror(errno));
    return false;
}

static bool
write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

bool
store_write(struct store *store, const char *name, GKeyFile *file, GError **error)
{
    g_autofree char *temporary = g_strconcat(name, TEMPORARY_SUFFIX, NULL);
    gsize len;
    g_autofree char *text = g_key_file_to_data(file, &len, NULL);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, len);
    g_autofree char *tail = g_strdup_printf(CHECKSUM_LINE "%s\n", sum);

    int fd = openat(store->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return io_error(store, "create", temporary, error);
    bool ok = write_all(fd, text, len) && write_all(fd, tail, strlen(tail)) && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    if (!ok)
        return io_error(store, "write", temporary, error);
    if (renameat(store->fd, temporary, store->fd, name) != 0)
        return io_error(store, "rename", temporary, error);
    return fsync(store->fd) == 0 || io_error(store, "sync", name, error);
}

bool
store_remove(struct store *store, const char *name, GError **error)
{
    if (unlinkat(store->fd, name, 0) != 0)
        return errno == ENOENT || io_error(store, "remove", name, error);
    return fsync(store->fd) == 0 || io_error(store, "sync", name, error);
}

bool
store_set_aside(struct store *store, const char *name, GError **error)
{
    g_autofree char *aside = g_strconcat(name, ASIDE_SUFFIX, NULL);
    if (renameat(store->fd, name, store->fd, aside) != 0)
        return io_error(store, "rename", name, error);
    return fsync(store->fd) == 0 || io_error(store, "sync", name, error);
}

/* A listing of its own: the directory is also open for others. */
static DIR *
open_listing(struct store *store)
{
    int fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (!directory && fd >= 0)
        close(fd);
    return directory;
}

void
store_sweep(struct store *store)
{
    DIR *directory = open_listing(store);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (g_str_has_suffix(entry->d_name, TEMPORARY_SUFFIX))
            unlinkat(store->fd, entry->d_name, 0);
    if (directory)
        closedir(directory);
}

/* A file that cannot be read tells as little as a damaged one; what hubkeyd itself is short of says nothing about
 * it. */
static char *
unreadable(struct store *store, const char *name, GError **error)
{
    int code = errno == EMFILE || errno == ENFILE || errno == ENOMEM ? ERROR_INTERNAL : ERROR_DAMAGED;
    error_set(error, code, "cannot read %s/%s: %s", store->path, name, g_strerror(errno));
    return NULL;
}

static char *
read_text(struct store *store, const char *name, bool *absent, GError **error)
{
    *absent = false;
    int fd = openat(store->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        *absent = errno == ENOENT;
        return *absent ? NULL : unreadable(store, name, error);
    }
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        error_set(error, ERROR_DAMAGED, "%s/%s is not a regular file", store->path, name);
        return NULL;
    }
    g_autofree char *text = g_malloc(STORE_FILE_MAX + 1);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, STORE_FILE_MAX + 1 - len)) > 0 && (len += (size_t)n) <= STORE_FILE_MAX)
        ;
    int saved = errno;
    close(fd);
    errno = saved;
    if (n < 0)
        return unreadable(store, name, error);
    if (len > STORE_FILE_MAX || memchr(text, '\0', len)) {
        error_set(error, ERROR_DAMAGED, "%s/%s is not one of hubkeyd's files", store->path, name);
        return NULL;
    }
    text[len] = '\0';
    return g_steal_pointer(&text);
}

/* Cuts the checksum line off text; false where it is missing or wrong. */
static bool
check_sum(char *text)
{
    char *tail = g_strrstr(text, CHECKSUM_LINE);
    if (!tail || strlen(tail) != strlen(CHECKSUM_LINE) + 64 + 1 || (tail > text && tail[-1] != '\n'))
        return false;
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, (gsize)(tail - text));
    bool good = strncmp(tail + strlen(CHECKSUM_LINE), sum, 64) == 0 && tail[strlen(tail) - 1] == '\n';
    *tail = '\0';
    return good;
}

GKeyFile *
store_read(struct store *store, const char *name, bool *absent, GError **error)
{
    g_autofree char *text = read_text(store, name, absent, error);
    if (!text)
        return NULL;
    g_autoptr(GKeyFile) file = g_key_file_new();
    if (check_sum(text) && g_key_file_load_from_data(file, text, strlen(text), G_KEY_FILE_NONE, NULL))
        return g_steal_pointer(&file);
    error_set(error, ERROR_DAMAGED, "%s/%s is damaged: it does not match its checksum", store->path, name);
    return NULL;
}

/* "slot-N" with suffix behind it. */
static bool
number_of(const char *name, const char *suffix, uint32_t *slot)
{
    size_t prefix = strlen("slot-");
    if (!g_str_has_prefix(name, "slot-") || !g_str_has_suffix(name, suffix))
        return false;
    g_autofree char *digits = g_strndup(name + prefix, strlen(name) - prefix - strlen(suffix));
    return text_parse_u32(digits, UINT16_MAX, slot);
}

/* The next of the entries, NULL with errno 0 behind the last. */
static const char *
next_name(DIR *directory)
{
    errno = 0;
    const struct dirent *entry = readdir(directory);
    return entry ? entry->d_name : NULL;
}

static bool
cannot_list(struct store *store, GError **error)
{
    error_set(error, ERROR_INTERNAL, "cannot list the state directory %s: %s", store->path, g_strerror(errno));
    return false;
}

static bool
each_file(struct store *store, const char *suffix, store_slot_fn each, void *user, GError **error)
{
    DIR *directory = open_listing(store);
    const char *name;
    uint32_t slot;
    bool ok = true;
    if (!directory)
        return cannot_list(store, error);
    while (ok && (name = next_name(directory)))
        ok = !number_of(name, suffix, &slot) || each(slot, user, error);
    if (ok && errno != 0)
        ok = cannot_list(store, error);
    closedir(directory);
    return ok;
}

bool
store_each_slot(struct store *store, store_slot_fn each, void *user, GError **error)
{
    return each_file(store, "", each, user, error);
}

bool
store_each_intent(struct store *store, store_slot_fn each, void *user, GError **error)
{
    return each_file(store, ".intent", each, user, error);
}
