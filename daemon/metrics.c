/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/metrics.h"
#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/health.h"
#include "daemon/slot.h"
#include "daemon/tpm.h"
#include "daemon/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct metrics {
    const struct api *api;
    guint timer;
    bool failing; /* said once */
};

/* ---- the text ---- */

static void
append_head(GString *text, const char *name, const char *type, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
append_counters(GString *text, const struct api *api)
{
    const struct tpm_counters tpm = api->tpm ? tpm_counters(api->tpm) : (struct tpm_counters){ 0 };
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        { "hubkey_tokens_issued_total", "Tokens given to callers.", api->stats.tokens_issued },
        { "hubkey_tokens_shared_total", "Of these, tokens made for somebody else as well.", api->stats.tokens_shared },
        { "hubkey_tokens_denied_total", "Requests for a token that were not allowed.", api->stats.tokens_denied },
        { "hubkey_tpm_operations_total", "Commands sent to the TPM.", tpm.operations },
        { "hubkey_tpm_retries_total", "Commands repeated because the TPM asked for it.", tpm.retries },
        { "hubkey_tpm_resets_total", "How often the TPM was lost and opened again.", tpm.resets },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        append_head(text, rows[i].name, "counter", rows[i].help);
        g_string_append_printf(text, "%s %" G_GUINT64_FORMAT "\n", rows[i].name, (guint64)rows[i].value);
    }
}

static void
append_latency(GString *text, const char *name, const char *help, uint64_t us)
{
    append_head(text, name, "gauge", help);
    g_string_append_printf(text, "%s %" G_GUINT64_FORMAT ".%06u\n", name, (guint64)(us / 1000000),
                           (unsigned)(us % 1000000));
}

static void
append_tpm_state(GString *text, const struct api *api)
{
    static const char *const states[] = {
        "ready", "starting", "absent", "failed", "cleared", "lockout", "auth-required"
    };
    const char *now = health_state(api->health);
    append_head(text, "hubkey_tpm_state", "gauge", "1 for the state that the TPM is in.");
    for (size_t i = 0; i < G_N_ELEMENTS(states); i++)
        g_string_append_printf(text, "hubkey_tpm_state{state=\"%s\"} %d\n", states[i], strcmp(states[i], now) == 0);
}

static void
append_slots(GString *text, const struct api *api)
{
    unsigned counts[SLOT_FOREIGN + 1] = { 0 };
    for (const struct slot *slot = slots_next(api->slots, 0); slot; slot = slots_next(api->slots, slot->number + 1))
        counts[slot->state]++;
    append_head(text, "hubkey_slots", "gauge", "Slots by state.");
    for (enum slot_state state = SLOT_READY; state < G_N_ELEMENTS(counts); state++)
        g_string_append_printf(text, "hubkey_slots{state=\"%s\"} %u\n", slot_state_name(state), counts[state]);
}

char *
metrics_text(const struct api *api)
{
    GString *text = g_string_new(NULL);
    append_counters(text, api);
    append_head(text, "hubkey_queue_depth", "gauge", "Jobs for the TPM that wait or run.");
    g_string_append_printf(text, "hubkey_queue_depth %u\n", worker_depth(api->worker));
    append_latency(text, "hubkey_latency_p50_seconds", "Median of the recent times from call to token.",
                   stats_latency_us(&api->stats, 500));
    append_latency(text, "hubkey_latency_p99_seconds",
                   "What 99 % of the recent times from call to token did not exceed.",
                   stats_latency_us(&api->stats, 990));
    append_tpm_state(text, api);
    append_slots(text, api);
    return g_string_free(text, FALSE);
}

/* ---- the file ---- */

/* Readers find the old text or the new one. 0 or an error number. */
static int
replace(const char *file, const char *text)
{
    g_autofree char *temporary = g_strconcat(file, ".new", NULL); /* the collector reads *.prom only */
    size_t len = strlen(text);
    (void)unlink(temporary); /* of one that was killed */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    errno = EIO; /* for a write that is cut short */
    bool good = write(fd, text, len) == (ssize_t)len && fchmod(fd, 0644) == 0;
    int problem = good ? 0 : errno;
    close(fd);
    if (good && rename(temporary, file) != 0)
        problem = errno;
    if (problem != 0)
        (void)unlink(temporary);
    return problem;
}

static gboolean
write_file(gpointer data)
{
    struct metrics *metrics = data;
    const char *file = metrics->api->config->metrics_file;
    if (!file)
        return G_SOURCE_CONTINUE;
    g_autofree char *text = metrics_text(metrics->api);
    int problem = replace(file, text);
    if (problem != 0 && !metrics->failing)
        g_warning("MetricsFile=%s cannot be written: %s; it is tried again every %d s", file, g_strerror(problem),
                  METRICS_INTERVAL_S);
    metrics->failing = problem != 0;
    return G_SOURCE_CONTINUE;
}

struct metrics *
metrics_new(const struct api *api)
{
    struct metrics *metrics = g_new0(struct metrics, 1);
    metrics->api = api;
    metrics->timer = g_timeout_add_seconds(METRICS_INTERVAL_S, write_file, metrics);
    write_file(metrics);
    return metrics;
}

void
metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    write_file(metrics);
    g_source_remove(metrics->timer);
    g_free(metrics);
}
