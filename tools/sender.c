/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/sender.h"
#include "common/clock.h"
#include "common/uuid.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POST_TIMEOUT_MS 30000
#define ROOM_TIMEOUT_MS 200 /* how soon a signal is noticed while waiting for room in the queue */
#define COMPLAINTS_MAX 20 /* lines named one by one; the rest is counted */

struct range {
    uint64_t first, last;
};

void
sender_init(struct sender *sender, hubkey_client *client)
{
    *sender = (struct sender){ .client = client,
                               .form = { .size = sizeof(struct hubkey_message) },
                               .ranges = g_array_new(FALSE, FALSE, sizeof(struct range)) };
}

void
sender_clear(struct sender *sender)
{
    g_array_unref(sender->ranges);
}

static void
note_accepted(struct sender *sender, uint64_t first, size_t n)
{
    struct range range = { first, first + n - 1 };
    struct range *last = sender->ranges->len > 0 ? &g_array_index(sender->ranges, struct range, sender->ranges->len - 1)
                                                 : NULL;
    sender->accepted += n;
    if (last && last->last + 1 == first)
        last->last = range.last;
    else
        g_array_append_val(sender->ranges, range);
}

static void
print_acks(const struct sender *sender, uint64_t first, const char (*ids)[UUID_SIZE], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sender->json)
            output_json(json_pack("{s:I, s:s}", "seq", (json_int_t)(first + i), "id", ids[i]));
        else
            printf("%" PRIu64 " %s\n", first + i, ids[i]);
    fflush(stdout);
}

static void
refuse(struct sender *sender, uint64_t number, const char *why)
{
    sender->refused++;
    progress_clear(sender->progress);
    if (sender->refused <= COMPLAINTS_MAX)
        command_failed(EXIT_FAILED, "line %" PRIu64 " was not sent: %s", number, why);
    if (sender->refused == COMPLAINTS_MAX)
        fputs("hubkeyctl: further lines that are not sent are only counted\n", stderr);
}

/* What a line becomes. id: room for its id. */
static struct hubkey_message
message_of(const struct sender *sender, const struct line *line, char id[UUID_SIZE])
{
    struct hubkey_message message = sender->form;
    message.body = line->text;
    message.len = line->len;
    message.id = uuid_make(clock_wall_us() / 1000, id) ? id : NULL; /* the library says what is wrong then */
    return message;
}

/* One transaction, all or none. */
static int
post(struct sender *sender, const struct line *lines, size_t n, int32_t timeout_ms, struct hubkey_error *error)
{
    g_autofree struct hubkey_message *messages = g_new(struct hubkey_message, n);
    g_autofree const struct hubkey_message **pointers = g_new(const struct hubkey_message *, n);
    g_autofree char(*ids)[UUID_SIZE] = g_malloc_n(n, sizeof *ids);
    uint64_t first = 0;
    for (size_t i = 0; i < n; i++) {
        messages[i] = message_of(sender, &lines[i], ids[i]);
        pointers[i] = &messages[i];
    }
    int result = hubkey_client_post_many(sender->client, pointers, n, timeout_ms, &first, error);
    if (result != 0)
        return result;
    note_accepted(sender, first, n);
    if (sender->ack)
        print_acks(sender, first, (const char(*)[UUID_SIZE])ids, n);
    return 0;
}

/* Whether the line could be in the queue if nothing else were. */
static bool
fits_alone(const struct sender *sender, const struct line *line)
{
    char id[UUID_SIZE];
    uint32_t counted = 0;
    struct hubkey_message message = message_of(sender, line, id);
    return hubkey_message_check(&message, &counted, NULL) == 0 && counted <= sender->max_bytes;
}

/* Where lines are to wait for room, a single one does, in slices, so that a signal ends it; several are cut in halves
 * by the caller until some fit or one is left. */
static int
post_patiently(struct sender *sender, const struct line *lines, size_t n, struct hubkey_error *error)
{
    if (!sender->block)
        return post(sender, lines, n, POST_TIMEOUT_MS, error);
    bool patient = n == 1 && fits_alone(sender, lines);
    int result;
    do {
        result = post(sender, lines, n, patient && !stop_asked() ? ROOM_TIMEOUT_MS : 0, error);
        sender_show(sender, false);
    } while (result == HUBKEY_E_FULL && patient && !stop_asked());
    return result;
}

static bool
is_about_one_line(int result)
{
    return result == HUBKEY_E_TOO_LARGE || result == HUBKEY_E_FULL;
}

/* Lines of which none is too long for certain. What one of them spoils for all is tried again in halves. */
static bool
post_run(struct sender *sender, const struct line *lines, size_t n)
{
    struct hubkey_error error = { 0 };
    int result = post_patiently(sender, lines, n, &error);
    if (result == 0)
        return true;
    if (is_about_one_line(result) && n > 1)
        return post_run(sender, lines, n / 2) && post_run(sender, lines + n / 2, n - n / 2);
    if (is_about_one_line(result)) {
        refuse(sender, lines[0].number, error.text);
        return true;
    }
    progress_clear(sender->progress);
    sender->fatal = command_failed(command_client_code(result),
                                   "line %" PRIu64 " and those behind it were not sent: %s", lines[0].number,
                                   error.text);
    return false;
}

/* The same for a dry run. */
static bool
check_run(struct sender *sender, const struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char id[UUID_SIZE];
        uint32_t counted = 0;
        struct hubkey_error error = { 0 };
        struct hubkey_message message = message_of(sender, &lines[i], id);
        if (hubkey_message_check(&message, &counted, &error) == 0) {
            sender->accepted++;
            sender->bytes += counted;
        } else {
            refuse(sender, lines[i].number, error.text);
        }
    }
    return true;
}

bool
sender_post(struct sender *sender, const struct line *lines, size_t n)
{
    size_t begun = 0; /* of the run of lines that are not too long */
    for (size_t i = 0; i <= n; i++) {
        if (i < n && lines[i].text)
            continue;
        bool (*take)(struct sender *, const struct line *, size_t) = sender->client ? post_run : check_run;
        if (i > begun && !take(sender, &lines[begun], i - begun))
            return false;
        if (i < n) {
            g_autofree char *why = g_strdup_printf("it is longer than %d bytes", HUBKEY_MESSAGE_MAX);
            refuse(sender, lines[i].number, why);
        }
        begun = i + 1;
    }
    return true;
}

/* 0 once the line has left the queue, one way or another. */
static int
await_line(const struct sender *sender, uint64_t seq, int32_t timeout_ms)
{
    int result = hubkey_client_wait_seq(sender->client, seq, timeout_ms);
    return result == HUBKEY_E_GONE ? 0 : result;
}

/* Messages leave in the order of their numbers, but for one that waits aside until it is clear whether it alone is
 * refused: so the last is waited for, and only then each is looked at, once. */
int
sender_await(struct sender *sender, int32_t timeout_ms)
{
    if (sender->ranges->len == 0)
        return 0;
    const struct range *last = &g_array_index(sender->ranges, struct range, sender->ranges->len - 1);
    int result = await_line(sender, last->last, timeout_ms);
    for (; result == 0 && sender->settled_range < sender->ranges->len; sender->settled_range++) {
        const struct range *range = &g_array_index(sender->ranges, struct range, sender->settled_range);
        for (uint64_t seq = MAX(sender->settled_seq + 1, range->first); seq <= range->last; seq++) {
            result = await_line(sender, seq, timeout_ms);
            if (result != 0)
                return result;
            sender->settled_seq = seq;
        }
    }
    return result;
}

void
sender_count(const struct sender *sender, uint64_t fates[SENDER_FATES])
{
    memset(fates, 0, SENDER_FATES * sizeof *fates);
    for (guint i = 0; i < sender->ranges->len; i++) {
        const struct range *range = &g_array_index(sender->ranges, struct range, i);
        for (uint64_t seq = range->first; seq <= range->last; seq++) {
            int fate = hubkey_client_fate(sender->client, seq);
            fates[fate > 0 && fate < SENDER_FATES ? fate : 0]++; /* what could not be read is not known to be gone */
        }
    }
}

/* ---- how far it is ---- */

static bool
has_left(const struct sender *sender, uint64_t seq)
{
    return await_line(sender, seq, 0) == 0;
}

/* The accepted lines before the first that waits, by halving: messages leave in order, as good as always. */
static uint64_t
count_sent(const struct sender *sender)
{
    uint64_t sent = 0;
    for (guint i = 0; i < sender->ranges->len; i++) {
        const struct range *range = &g_array_index(sender->ranges, struct range, i);
        uint64_t low = range->first, high = range->last + 1; /* the first that waits is in [low, high] */
        if (has_left(sender, range->last))
            low = high;
        while (low < high) {
            uint64_t middle = low + (high - low) / 2;
            if (has_left(sender, middle))
                low = middle + 1;
            else
                high = middle;
        }
        sent += low - range->first;
        if (low <= range->last)
            break;
    }
    return sent;
}

void
sender_show(struct sender *sender, bool draining)
{
    int64_t now_us = clock_monotonic_us();
    if (sender->client && progress_is_due(sender->progress, now_us))
        progress_show(sender->progress, sender->accepted, count_sent(sender), draining, now_us);
}
