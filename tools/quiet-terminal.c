/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/quiet-terminal.h"

#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include <glib.h>

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static struct sigaction former[G_N_ELEMENTS(signals)];
static struct termios loud;
static volatile sig_atomic_t is_quiet;

static void
on_signal(int number)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &loud);
    signal(number, SIG_DFL);
    raise(number);
}

void
quiet_terminal_begin(const char *what)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &loud) != 0)
        return;
    fprintf(stderr, "Paste the %s (it is not shown), then press Enter and Ctrl-D: ", what);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        sigaction(signals[i], &(struct sigaction){ .sa_handler = on_signal }, &former[i]);
    struct termios quiet = loud;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    is_quiet = 1;
}

void
quiet_terminal_end(void)
{
    if (!is_quiet)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &loud);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        sigaction(signals[i], &former[i], NULL);
    is_quiet = 0;
    fputc('\n', stderr);
}
