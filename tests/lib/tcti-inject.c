/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A TCTI that makes a healthy TPM misbehave. Tcti=/path/libtcti-inject.so:rules=FILE,child=TCTI. FILE, renamed into
 * place whenever a test likes, holds at most RULES_MAX lines
 *
 *     COMMAND FIRST COUNT VERB [VALUE]      "0x155 1 3 refuse 0x922"
 *
 * COMMAND is a command code or "any"; the rule holds for COUNT of them (0: all), from the FIRSTth on that come after
 * FILE was put there. The first rule that holds is what happens:
 *     refuse CODE   the TPM is not asked, CODE is the answer
 *     break         the TPM is not asked, the connection is broken
 *     lose          the TPM does it, but the connection breaks before the answer
 *     delay MS      the command waits so long
 *     flip OFFSET   the answer comes with one bit of that byte turned over; a negative OFFSET counts from the end
 * FILE.fired holds how often rules held since FILE was put there.
 */
#include "tests/lib/tcti-child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 8

struct rule {
    char command[12], verb[12];
    uint32_t code; /* of command; 0 for "any" */
    unsigned first, count, seen;
    long value;
};

/* One program, one line of counting, however often it opens the TPM anew. */
static struct {
    char path[TCTI_CHILD_VALUE];
    struct stat found;
    struct rule rules[RULES_MAX];
    unsigned used, fired;
} book;

struct injector {
    struct tcti_child child;  /* first */
    const struct rule *holds; /* for the command under way */
};

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void);

static bool
read_rule(FILE *file, struct rule *rule)
{
    char value[16] = "0", line[80];
    if (!fgets(line, sizeof line, file))
        return false;
    *rule = (struct rule){ 0 };
    if (sscanf(line, "%11s %u %u %11s %15s", rule->command, &rule->first, &rule->count, rule->verb, value) < 4)
        abort(); /* a test that asks for nothing proves nothing */
    rule->code = strcmp(rule->command, "any") == 0 ? 0 : (uint32_t)strtoul(rule->command, NULL, 0);
    rule->value = strtol(value, NULL, 0);
    return true;
}

static void
say_fired(void)
{
    char path[TCTI_CHILD_VALUE + 8], text[16];
    snprintf(path, sizeof path, "%s.fired", book.path);
    int len = snprintf(text, sizeof text, "%u\n", book.fired);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        abort();
    close(fd);
}

/* Another file is another inode, or the same one made anew. */
static void
look_for_rules(void)
{
    struct stat now = { 0 };
    if (stat(book.path, &now) == 0 && now.st_ino == book.found.st_ino &&
        memcmp(&now.st_ctim, &book.found.st_ctim, sizeof now.st_ctim) == 0)
        return;
    FILE *file = fopen(book.path, "re");
    book.found = now;
    book.used = book.fired = 0;
    while (file && book.used < RULES_MAX && read_rule(file, &book.rules[book.used]))
        book.used++;
    if (!file)
        return;
    fclose(file);
    say_fired();
}

static const struct rule *
match(uint32_t code)
{
    const struct rule *holds = NULL;
    for (unsigned i = 0; i < book.used; i++) {
        struct rule *rule = &book.rules[i];
        if (rule->code != 0 && rule->code != code)
            continue;
        rule->seen++;
        if (!holds && rule->seen >= rule->first && (rule->count == 0 || rule->seen < rule->first + rule->count))
            holds = rule;
    }
    return holds;
}

static bool
says(const struct rule *rule, const char *verb)
{
    return rule && strcmp(rule->verb, verb) == 0;
}

static TSS2_RC
transmit(TSS2_TCTI_CONTEXT *context, size_t size, uint8_t const *command)
{
    struct injector *self = (struct injector *)context;
    look_for_rules();
    self->holds = match(tcti_child_command(command, size));
    if (self->holds) {
        book.fired++;
        say_fired();
    }
    if (says(self->holds, "break"))
        return TSS2_TCTI_RC_IO_ERROR;
    if (says(self->holds, "refuse"))
        return TSS2_RC_SUCCESS;
    if (says(self->holds, "delay")) {
        long ms = self->holds->value;
        nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
    }
    return Tss2_Tcti_Transmit(self->child.child, size, command);
}

static TSS2_RC
receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response, int32_t timeout)
{
    struct injector *self = (struct injector *)context;
    if (says(self->holds, "refuse")) {
        tcti_child_refuse((uint32_t)self->holds->value, size, response);
        return TSS2_RC_SUCCESS;
    }
    TSS2_RC rc = Tss2_Tcti_Receive(self->child.child, size, response, timeout);
    if (rc != TSS2_RC_SUCCESS || !response)
        return rc;
    if (says(self->holds, "flip")) {
        long at = self->holds->value + (self->holds->value < 0 ? (long)*size : 0);
        if (at < 0 || at >= (long)*size)
            abort();
        response[at] ^= 0x10;
    }
    return says(self->holds, "lose") ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
}

static void
finalize(TSS2_TCTI_CONTEXT *context)
{
    tcti_child_close(&((struct injector *)context)->child);
}

static TSS2_RC
init(TSS2_TCTI_CONTEXT *context, size_t *size, const char *conf)
{
    static const struct tcti_child_functions functions = { transmit, receive, finalize };
    TSS2_RC rc;
    if (tcti_child_sized(context, size, conf, sizeof(struct injector), &rc))
        return rc;
    if (!tcti_child_take(&conf, "rules", book.path))
        return TSS2_TCTI_RC_BAD_VALUE;
    return tcti_child_open((struct tcti_child *)context, &functions, conf);
}

const TSS2_TCTI_INFO *
Tss2_Tcti_Info(void)
{
    static const TSS2_TCTI_INFO info = {
        .version = 2,
        .name = "tcti-inject",
        .description = "puts refusals, breaks, delays and wrong bits into the stream of another TCTI; for tests",
        .config_help = "rules=FILE,child=TCTI",
        .init = init,
    };
    return &info;
}
