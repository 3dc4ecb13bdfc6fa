/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A TCTI that stands between a program and its TPM. Tcti=/path/libtcti-spy.so:[KEY=VALUE,]…child=TCTI, where
 *   record=FILE   gets all that crosses: '>' or '<', four bytes of length (big-endian), the bytes
 *   orders=FILE   is looked at before each command (orders.h), each command being an event:
 *     kill-before, kill-after    SIGKILLs the program before the command is sent, or after its answer has come
 *     cut-before, cut-lost       power cut of the TPM before the command is sent, or after it was carried out but
 *                                before its answer is read; the program sees a broken connection
 *     reset-before               power cut before the command; the program notices nothing but what the TPM forgot
 *     inject … CODE              the TPM is not asked, CODE is the answer
 *   pid=FILE      names the TPM's process. After a power cut the spy waits until another one stands there.
 */
#include "tests/lib/orders.h"
#include "tests/lib/tcti-child.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POWER_PATIENCE_MS 20000

enum afterwards { NOTHING, KILL, CUT };

struct spy {
    struct tcti_child child; /* first */
    int record;
    char pid_file[TCTI_CHILD_VALUE];
    enum afterwards afterwards;
    bool injected;
    char command[16]; /* code of the one under way */
};

/* One program, one line of counting, however often it opens the TPM anew. */
static struct orders orders;

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void);

static void
put(struct spy *spy, char direction, const void *bytes, size_t size)
{
    uint32_t len = htobe32((uint32_t)size);
    if (spy->record < 0)
        return;
    if (write(spy->record, &direction, 1) != 1 || write(spy->record, &len, 4) != 4 ||
        write(spy->record, bytes, size) != (ssize_t)size)
        abort();
}

static void
die(struct spy *spy)
{
    orders_fired(&orders, spy->command);
    kill(getpid(), SIGKILL);
}

static pid_t
read_pid(const struct spy *spy)
{
    long pid = 0;
    FILE *file = fopen(spy->pid_file, "re");
    if (file && fscanf(file, "%ld", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return (pid_t)pid;
}

static void
power_cut(struct spy *spy)
{
    const struct timespec moment = { .tv_nsec = 1000000 };
    pid_t pid = read_pid(spy);
    orders_fired(&orders, spy->command);
    if (pid <= 1 || kill(pid, SIGKILL) != 0)
        abort();
    for (int ms = 0; ms < POWER_PATIENCE_MS; ms++) {
        pid_t now = read_pid(spy);
        if (now > 1 && now != pid)
            return;
        nanosleep(&moment, NULL);
    }
    abort();
}

static TSS2_RC
transmit(TSS2_TCTI_CONTEXT *context, size_t size, uint8_t const *command)
{
    struct spy *spy = (struct spy *)context;
    snprintf(spy->command, sizeof spy->command, "0x%08x", tcti_child_command(command, size));
    spy->afterwards = NOTHING;
    spy->injected = false;
    if (orders_next(&orders)) {
        if (orders_say(&orders, "kill-before"))
            die(spy);
        spy->afterwards = orders_say(&orders, "kill-after") ? KILL : orders_say(&orders, "cut-lost") ? CUT : NOTHING;
        spy->injected = orders_say(&orders, "inject");
        bool cut = orders_say(&orders, "cut-before"), reset = orders_say(&orders, "reset-before");
        if (cut || reset)
            power_cut(spy);
        if (cut)
            return TSS2_TCTI_RC_IO_ERROR;
    }
    put(spy, '>', command, size);
    if (!spy->injected)
        return Tss2_Tcti_Transmit(spy->child.child, size, command);
    orders_fired(&orders, spy->command);
    return TSS2_RC_SUCCESS;
}

static TSS2_RC
answer(struct spy *spy, size_t *size, uint8_t *response)
{
    tcti_child_refuse(orders.code, size, response);
    spy->injected = !response;
    return TSS2_RC_SUCCESS;
}

static TSS2_RC
receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response, int32_t timeout)
{
    struct spy *spy = (struct spy *)context;
    TSS2_RC rc = spy->injected ? answer(spy, size, response)
                               : Tss2_Tcti_Receive(spy->child.child, size, response, timeout);
    if (rc != TSS2_RC_SUCCESS || !response)
        return rc;
    put(spy, '<', response, *size);
    if (spy->afterwards == KILL)
        die(spy);
    if (spy->afterwards == CUT) {
        spy->afterwards = NOTHING;
        power_cut(spy);
        return TSS2_TCTI_RC_IO_ERROR;
    }
    return TSS2_RC_SUCCESS;
}

static void
finalize(TSS2_TCTI_CONTEXT *context)
{
    struct spy *spy = (struct spy *)context;
    tcti_child_close(&spy->child);
    if (spy->record >= 0)
        close(spy->record);
    spy->record = -1;
}

static TSS2_RC
init(TSS2_TCTI_CONTEXT *context, size_t *size, const char *conf)
{
    static const struct tcti_child_functions functions = { transmit, receive, finalize };
    struct spy *spy = (struct spy *)context;
    char record[TCTI_CHILD_VALUE] = "", path[TCTI_CHILD_VALUE] = "";
    TSS2_RC rc;
    if (tcti_child_sized(context, size, conf, sizeof *spy, &rc))
        return rc;
    while (tcti_child_take(&conf, "record", record) || tcti_child_take(&conf, "orders", path) ||
           tcti_child_take(&conf, "pid", spy->pid_file))
        continue;
    spy->record = -1;
    orders_init(&orders, path);
    rc = tcti_child_open(&spy->child, &functions, conf);
    if (rc == TSS2_RC_SUCCESS && record[0] &&
        (spy->record = open(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        abort();
    return rc;
}

const TSS2_TCTI_INFO *
Tss2_Tcti_Info(void)
{
    static const TSS2_TCTI_INFO info = {
        .version = 2,
        .name = "tcti-spy",
        .description = "records, kills, cuts power and injects answers on the way to another TCTI; for tests",
        .config_help = "record=FILE,orders=FILE,pid=FILE,child=TCTI",
        .init = init,
    };
    return &info;
}
