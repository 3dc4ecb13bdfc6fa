/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/secret.c: pages that nobody sees, erased before they are given back, and read to an exact limit.
 */
#include <config.h>

#include "common/error.h"
#include "common/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* secret.c is linked into this program, so its munmap is this one, which looks at what is given back. */
static const uint8_t *watched;
static size_t unmapped, leftovers;

int munmap(void *start, size_t len);

int
munmap(void *start, size_t len)
{
    if (start == watched) {
        unmapped = len;
        for (size_t i = 0; i < len; i++)
            leftovers += watched[i] != 0;
    }
    return (int)syscall(SYS_munmap, start, len);
}

static void
test_erased(void)
{
    static const size_t capacities[] = { 0, 1, 32, 1025, 4096, 4097, 20000 };
    for (size_t i = 0; i < G_N_ELEMENTS(capacities); i++) {
        struct secret *secret = secret_new(capacities[i]);
        g_assert_cmpuint(secret->capacity, >=, capacities[i]);
        g_assert_cmpuint(secret->len, ==, 0);
        for (size_t j = 0; j < secret->capacity; j++)
            g_assert_cmpuint(secret->data[j], ==, 0);
        memset(secret->data, 0xaa, secret->capacity);
        size_t capacity = secret->capacity;
        watched = secret->data;
        unmapped = leftovers = 0;
        secret_free(secret);
        watched = NULL;
        g_assert_cmpuint(unmapped, ==, capacity);
        g_assert_cmpuint(leftovers, ==, 0);
    }
    secret_free(NULL);
}

/* The VmFlags line of the mapping that starts at address. */
static char *
flags_of(const void *address)
{
    g_autofree char *smaps = NULL, *head = g_strdup_printf("%lx-", (unsigned long)address);
    g_assert_true(g_file_get_contents("/proc/self/smaps", &smaps, NULL, NULL));
    const char *mapping = strstr(smaps, head);
    const char *flags = mapping ? strstr(mapping, "VmFlags:") : NULL;
    if (!flags)
        return NULL;
    const char *end = strchr(flags, '\n');
    return g_strdup_printf("%.*s ", (int)(end - flags), flags);
}

static void
test_pages(void)
{
    g_autoptr(secret_auto) secret = secret_new(100);
    g_autofree char *flags = flags_of(secret->data);
    if (!flags) {
        g_test_skip("no VmFlags in /proc/self/smaps");
        return;
    }
    g_assert_nonnull(strstr(flags, " dd ")); /* not in core dumps */
    g_assert_nonnull(strstr(flags, " dc ")); /* not in children */
#ifndef __SANITIZE_ADDRESS__                 /* which makes mlock do nothing */
    g_assert_nonnull(strstr(flags, " lo ")); /* not in swap: a page fits into any RLIMIT_MEMLOCK */
#endif
}

/* ---- reading ---- */

static int
memfd_of(const void *bytes, size_t len)
{
    int fd = memfd_create("key", MFD_CLOEXEC);
    g_assert_cmpint(write(fd, bytes, len), ==, (ssize_t)len);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    return fd;
}

static void
test_read(void)
{
    uint8_t bytes[1025];
    static const size_t sizes[] = { 0, 1, 63, 1023, 1024 };
    memset(bytes, 0x5a, sizeof bytes);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;
        int fd = memfd_of(bytes, sizes[i]);
        g_autoptr(secret_auto) secret = secret_read_fd(fd, 1024, &error);
        close(fd);
        g_assert_no_error(error);
        g_assert_cmpmem(secret->data, secret->len, bytes, sizes[i]);
    }
    g_autoptr(GError) error = NULL;
    int fd = memfd_of(bytes, 1025);
    g_assert_null(secret_read_fd(fd, 1024, &error));
    close(fd);
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, "1024"));
}

/* A writer that sends byte by byte. */
static void
test_read_pieces(void)
{
    int ends[2];
    g_assert_cmpint(pipe(ends), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            if (write(ends[1], "k", 1) != 1)
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    g_autoptr(secret_auto) secret = secret_read_fd(ends[0], 1024, NULL);
    close(ends[0]);
    g_assert_nonnull(secret);
    g_assert_cmpuint(secret->len, ==, 100);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
}

static void
test_read_nothing(void)
{
    g_autoptr(GError) bad = NULL, folder = NULL;
    g_assert_null(secret_read_fd(-1, 1024, &bad));
    g_assert_error(bad, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_null(secret_read_fd(fd, 1024, &folder));
    close(fd);
    g_assert_error(folder, ERROR_DOMAIN, ERROR_INVALID_ARGUMENT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secret/erased", test_erased);
    g_test_add_func("/secret/pages", test_pages);
    g_test_add_func("/secret/read-nothing", test_read_nothing);
    g_test_add_func("/secret/read", test_read);
    g_test_add_func("/secret/read-pieces", test_read_pieces);
    return g_test_run();
}
