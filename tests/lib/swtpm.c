/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/swtpm.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define PATIENCE_US (20 * G_USEC_PER_SEC)

static void
die_with_parent(gpointer unused)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* TPM2_GetRandom of four bytes, answered with TPM_RC_SUCCESS. */
static bool
answers(const struct swtpm *swtpm)
{
    static const uint8_t get_random[] = { 0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 4 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    uint8_t answer[16];
    g_strlcpy(address.sun_path, swtpm->socket, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(fd, >=, 0);
    bool good = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                send(fd, get_random, sizeof get_random, MSG_NOSIGNAL) == sizeof get_random &&
                recv(fd, answer, sizeof answer, MSG_WAITALL) == sizeof answer && memcmp(answer + 6, "\0\0\0\0", 4) == 0;
    close(fd);
    return good;
}

static void
await_answer(struct swtpm *swtpm)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
    while (!answers(swtpm)) {
        if (g_get_monotonic_time() > deadline || waitpid(swtpm->pid, NULL, WNOHANG) != 0)
            g_error("swtpm does not come up in %s", swtpm->dir);
        g_usleep(1000);
    }
}

void
swtpm_give_power(struct swtpm *swtpm)
{
    g_autoptr(GError) error = NULL;
    /* The TCTI expects the control socket beside the other one. */
    g_autofree char *state = g_strconcat("dir=", swtpm->dir, NULL);
    g_autofree char *server = g_strdup_printf("type=unixio,path=%s", swtpm->socket);
    g_autofree char *control = g_strdup_printf("type=unixio,path=%s.ctrl", swtpm->socket);
    char *argv[] = { (char *)"swtpm", (char *)"socket", (char *)"--tpm2", (char *)"--tpmstate", state,
                     (char *)"--server", server, (char *)"--ctrl", control, (char *)"--flags",
                     (char *)"not-need-init,startup-clear", NULL };
    g_assert_cmpint(swtpm->pid, ==, 0);
    g_spawn_async(NULL, argv, NULL,
                  G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
                      G_SPAWN_STDERR_TO_DEV_NULL,
                  die_with_parent, NULL, &swtpm->pid, &error);
    g_assert_no_error(error);
    await_answer(swtpm);
}

void
swtpm_cut_power(struct swtpm *swtpm)
{
    g_assert_cmpint(swtpm->pid, !=, 0);
    kill(swtpm->pid, SIGKILL);
    while (waitpid(swtpm->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    swtpm->pid = 0;
}

static bool
is_installed(void)
{
    g_autofree char *program = g_find_program_in_path("swtpm");
    return program != NULL;
}

bool
swtpm_available(void)
{
    if (is_installed())
        return true;
    printf("1..0 # SKIP swtpm is not installed\n");
    return false;
}

struct swtpm *
swtpm_start(void)
{
    g_autoptr(GError) error = NULL;
    if (!is_installed())
        return NULL;
    struct swtpm *swtpm = g_new0(struct swtpm, 1);
    swtpm->dir = g_dir_make_tmp("hk-tpm-XXXXXX", &error);
    g_assert_no_error(error);
    swtpm->socket = g_build_filename(swtpm->dir, "socket", NULL);
    swtpm->tcti = g_strconcat("swtpm:path=", swtpm->socket, NULL);
    swtpm_give_power(swtpm);
    return swtpm;
}

void
swtpm_stop(struct swtpm *swtpm)
{
    static const char *const files[] = { "socket", "socket.ctrl", "tpm2-00.permall", "tpm2-00.volatilestate", ".lock" };
    if (!swtpm)
        return;
    if (swtpm->pid != 0)
        swtpm_cut_power(swtpm);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *file = g_build_filename(swtpm->dir, files[i], NULL);
        g_unlink(file);
    }
    g_rmdir(swtpm->dir);
    g_free(swtpm->dir);
    g_free(swtpm->socket);
    g_free(swtpm->tcti);
    g_free(swtpm);
}
