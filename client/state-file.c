/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/state-file.h"
#include "client/hubkey.h"
#include "client/place.h"
#include "common/clock.h"
#include "common/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX ".state"
#define SIZE_MAX_BYTES 4096
#define PROGRESS_GAP_US 1000000

struct state_file {
    char *queue_path, *path, *made; /* made: under which name it is written first */
    struct pump_status told;
    int64_t told_us; /* 0: never */
};

struct state_file *
state_file_new(const char *queue_path)
{
    struct state_file *file = g_new0(struct state_file, 1);
    file->queue_path = g_strdup(queue_path);
    file->path = g_strconcat(queue_path, SUFFIX, NULL);
    file->made = g_strconcat(queue_path, SUFFIX, ".new", NULL);
    return file;
}

void
state_file_free(struct state_file *file)
{
    if (!file)
        return;
    g_free(file->queue_path);
    g_free(file->path);
    g_free(file->made);
    g_free(file);
}

/* ---- Writing */

static char *
format(const struct pump_status *status)
{
    return g_strdup_printf("pid=%d\nstate=%s\nreason=%s\nhttp_status=%d\nsince=%" G_GINT64_FORMAT
                           "\nnext_attempt=%" G_GINT64_FORMAT "\nlast_delivery=%" G_GINT64_FORMAT
                           "\nclock_skew=%" G_GINT64_FORMAT "\ntext=%s",
                           (int)getpid(), hubkey_state_name(status->state), hubkey_reason_name(status->reason),
                           status->http_status, status->since_ms, status->next_attempt_ms, status->last_delivery_ms,
                           status->clock_skew_s, status->text);
}

/* Without fsync: after a power cut nobody is sending anyway. What is there under the name is a leftover, or was put
 * there by somebody: it is not written to, nor waited for. */
static bool
replace(struct state_file *file, const char *text)
{
    size_t len = strlen(text);
    (void)unlink(file->made);
    int fd = open(file->made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    place_resemble(fd, file->queue_path);
    bool good = write(fd, text, len) == (ssize_t)len;
    good = close(fd) == 0 && good;
    if (good && rename(file->made, file->path) == 0)
        return true;
    (void)unlink(file->made);
    return false;
}

static bool
differs(const struct pump_status *a, const struct pump_status *b)
{
    return a->state != b->state || a->reason != b->reason || a->http_status != b->http_status ||
           a->since_ms != b->since_ms || a->next_attempt_ms != b->next_attempt_ms || strcmp(a->text, b->text) != 0;
}

int64_t
state_file_tell(struct state_file *file, const struct pump_status *status)
{
    int64_t now_us = clock_boot_us(), due_us = file->told_us + PROGRESS_GAP_US;
    bool changed = file->told_us == 0 || differs(&file->told, status);
    if (!changed && file->told.last_delivery_ms == status->last_delivery_ms)
        return INT64_MAX;
    if (!changed && now_us < due_us)
        return due_us;
    g_autofree char *text = format(status);
    g_strdelimit(strstr(text, "\ntext=") + 1, "\n", ' ');
    file->told = *status;
    file->told_us = MAX(now_us, 1);
    (void)replace(file, text); /* a full disk: the next change is another try */
    return INT64_MAX;
}

/* ---- Reading */

static int32_t
find_name(const char *name, const char *(*name_of)(int32_t), int32_t last)
{
    for (int32_t i = 0; i <= last; i++)
        if (strcmp(name_of(i), name) == 0)
            return i;
    return -1;
}

static void
read_line(char *line, struct pump_status *status, int32_t *pid)
{
    char *value = strchr(line, '=');
    if (!value)
        return;
    *value++ = '\0';
    int64_t number = g_ascii_strtoll(value, NULL, 10);
    if (strcmp(line, "pid") == 0)
        *pid = (int32_t)CLAMP(number, 0, INT32_MAX);
    else if (strcmp(line, "state") == 0)
        status->state = find_name(value, hubkey_state_name, HUBKEY_STATE_STOPPED);
    else if (strcmp(line, "reason") == 0)
        status->reason = find_name(value, hubkey_reason_name, HUBKEY_REASON_QUEUE);
    else if (strcmp(line, "http_status") == 0)
        status->http_status = (int32_t)CLAMP(number, 0, 999);
    else if (strcmp(line, "since") == 0)
        status->since_ms = number;
    else if (strcmp(line, "next_attempt") == 0)
        status->next_attempt_ms = number;
    else if (strcmp(line, "last_delivery") == 0)
        status->last_delivery_ms = number;
    else if (strcmp(line, "clock_skew") == 0)
        status->clock_skew_s = number;
    else if (strcmp(line, "text") == 0)
        text_copy(status->text, sizeof status->text, value);
}

bool
state_file_read(const char *queue_path, struct pump_status *status, int32_t *pid)
{
    g_autofree char *path = g_strconcat(queue_path, SUFFIX, NULL);
    char text[SIZE_MAX_BYTES];
    *status = (struct pump_status){ 0 };
    *pid = 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        read_line(*line, status, pid);
    if (*pid > 0 && status->state > 0 && status->reason >= 0)
        return true;
    *status = (struct pump_status){ 0 };
    *pid = 0;
    return false;
}
