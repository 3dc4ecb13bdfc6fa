/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/refuse.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

bool
refuse_getrandom(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { G_N_ELEMENTS(rules), rules };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Below the lowest that is free nothing is refused but poll, which wants no more entries than descriptors may be. */
unsigned
refuse_descriptors(unsigned from)
{
    struct rlimit limit;
    int lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    g_assert_true(lowest >= 0 || errno == EMFILE);
    if (lowest >= 0)
        close(lowest);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    rlim_t before = limit.rlim_cur, least = lowest >= 0 ? (rlim_t)lowest : before;
    limit.rlim_cur = MIN(MAX(from, least), limit.rlim_max);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    return (unsigned)MIN(before, UINT_MAX);
}

unsigned
refuse_count_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

bool
refuse_in_child(bool (*body)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(body() ? 0 : 1);
    return waitpid(child, &status, 0) == child && status == 0;
}
