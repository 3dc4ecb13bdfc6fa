/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A TCTI that makes a software TPM as slow as hardware: Tcti=/path/libtcti-chip.so:ms=20,counts=FILE,child=TCTI. No
 * command is answered before ms have passed since it was sent, however fast the TPM behind was. FILE tells how many
 * there were and how long the chip was at them; what the machine adds by waking us late is not the chip's time.
 */
#include "tests/lib/tcti-chip.h"

#include "tests/lib/tcti-child.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000

struct chip {
    struct tcti_child child; /* first */
    struct tcti_chip_counts *counts;
    int64_t command_ns;
    int64_t sent_ns; /* when the command under way was */
};

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void);

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS + now.tv_nsec;
}

static TSS2_RC
transmit(TSS2_TCTI_CONTEXT *context, size_t size, uint8_t const *command)
{
    struct chip *self = (struct chip *)context;
    self->sent_ns = now_ns();
    return Tss2_Tcti_Transmit(self->child.child, size, command);
}

static TSS2_RC
receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response, int32_t timeout)
{
    struct chip *self = (struct chip *)context;
    TSS2_RC rc = Tss2_Tcti_Receive(self->child.child, size, response, timeout);
    if (rc != TSS2_RC_SUCCESS || !response)
        return rc;
    int64_t took = now_ns() - self->sent_ns, due = self->sent_ns + self->command_ns;
    if (took < self->command_ns) {
        struct timespec until = { .tv_sec = due / NS, .tv_nsec = due % NS };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        took = self->command_ns;
    }
    __atomic_add_fetch(&self->counts->busy_ns, (uint64_t)took, __ATOMIC_RELAXED);
    __atomic_add_fetch(&self->counts->commands, 1, __ATOMIC_RELAXED);
    return rc;
}

static void
finalize(TSS2_TCTI_CONTEXT *context)
{
    struct chip *self = (struct chip *)context;
    tcti_child_close(&self->child);
    munmap(self->counts, sizeof *self->counts);
}

/* Another context of the same program counts on. */
static bool
map_counts(struct chip *self, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    void *map = ftruncate(fd, sizeof *self->counts) == 0
                    ? mmap(NULL, sizeof *self->counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    close(fd);
    self->counts = map;
    return map != MAP_FAILED;
}

static TSS2_RC
init(TSS2_TCTI_CONTEXT *context, size_t *size, const char *conf)
{
    static const struct tcti_child_functions functions = { transmit, receive, finalize };
    struct chip *self = (struct chip *)context;
    char ms[TCTI_CHILD_VALUE], counts[TCTI_CHILD_VALUE];
    TSS2_RC rc;
    if (tcti_child_sized(context, size, conf, sizeof *self, &rc))
        return rc;
    if (!tcti_child_take(&conf, "ms", ms) || !tcti_child_take(&conf, "counts", counts))
        return TSS2_TCTI_RC_BAD_VALUE;
    self->command_ns = strtol(ms, NULL, 10) * (NS / 1000);
    if (!map_counts(self, counts))
        return TSS2_TCTI_RC_IO_ERROR;
    rc = tcti_child_open(&self->child, &functions, conf);
    if (rc != TSS2_RC_SUCCESS)
        munmap(self->counts, sizeof *self->counts);
    return rc;
}

const TSS2_TCTI_INFO *
Tss2_Tcti_Info(void)
{
    static const TSS2_TCTI_INFO info = {
        .version = 2,
        .name = "tcti-chip",
        .description = "makes each command of another TCTI take as long as hardware does; for measuring",
        .config_help = "ms=N,counts=FILE,child=TCTI",
        .init = init,
    };
    return &info;
}
