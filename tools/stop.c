/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/stop.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t before;
static int fd = -1;
static bool asked;

static bool
is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void
stop_catch(void)
{
    static const int numbers[] = { SIGINT, SIGTERM };
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!is_ignored(numbers[i]))
            sigaddset(&ours, numbers[i]);
    fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    sigprocmask(SIG_BLOCK, fd >= 0 ? &ours : NULL, &before);
}

int
stop_fd(void)
{
    return fd;
}

bool
stop_asked(void)
{
    struct signalfd_siginfo info;
    if (fd >= 0 && read(fd, &info, sizeof info) > 0)
        asked = true;
    return asked;
}

void
stop_release(void)
{
    if (fd < 0)
        return;
    close(fd);
    fd = -1;
    sigprocmask(SIG_SETMASK, &before, NULL);
}
