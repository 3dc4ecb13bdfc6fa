/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/bench/ready.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

void
ready_tell(int ready)
{
    if (write(ready, "!", 1) != 1)
        _exit(1);
    close(ready);
}

void
ready_await(int ready, size_t n, const char *what)
{
    char byte;
    for (size_t i = 0; i < n; i++)
        if (read(ready, &byte, 1) != 1)
            g_error("%s did not start", what);
}

pid_t
ready_start(void (*serve)(int ready), const char *what)
{
    int ends[2];
    if (pipe(ends) != 0)
        g_error("pipe");
    pid_t pid = fork();
    if (pid < 0)
        g_error("fork");
    if (pid == 0) {
        close(ends[0]);
        serve(ends[1]);
        _exit(1);
    }
    close(ends[1]);
    ready_await(ends[0], 1, what);
    close(ends[0]);
    return pid;
}

void
ready_stop(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        g_error("process %d ended before its time", (int)pid);
}
