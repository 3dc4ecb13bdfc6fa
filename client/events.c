/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/events.h"
#include "client/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum kind { STATE, GONE, LOG };

struct event {
    enum kind kind;
    int32_t a, b; /* state and reason; how; level */
    uint64_t first, last;
    char *text;
};

struct events {
    GMutex mutex;
    GQueue waiting;    /* struct event */
    GList *last_state; /* in waiting; NULL: there is none */
    int fd;         /* an eventfd: readable while something waits */
    uint64_t lost;
    hubkey_state_fn state;
    hubkey_gone_fn gone;
    hubkey_log_fn log;
    void *user;
};

static void
event_free(gpointer data)
{
    struct event *event = data;
    g_free(event->text);
    g_free(event);
}

struct events *
events_new(GError **error)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        failure_set(error, HUBKEY_E_SYSTEM, "no descriptor for the events: %s", g_strerror(errno));
        return NULL;
    }
    struct events *events = g_new0(struct events, 1);
    g_mutex_init(&events->mutex);
    g_queue_init(&events->waiting);
    events->fd = fd;
    return events;
}

void
events_free(struct events *events)
{
    if (!events)
        return;
    g_queue_clear_full(&events->waiting, event_free);
    g_mutex_clear(&events->mutex);
    close(events->fd);
    g_free(events);
}

void
events_set_callbacks(struct events *events, hubkey_state_fn state, hubkey_gone_fn gone, hubkey_log_fn log, void *user)
{
    g_mutex_lock(&events->mutex);
    events->state = state;
    events->gone = gone;
    events->log = log;
    events->user = user;
    g_mutex_unlock(&events->mutex);
}

static void
signal_fd(struct events *events)
{
    uint64_t one = 1;
    ssize_t n = write(events->fd, &one, sizeof one);
    (void)n; /* a full counter is readable too */
}

/* Whether event is already said by the last one that waits, changed accordingly. */
static bool
merge(struct event *last, const struct event *event)
{
    if (!last || last->kind != event->kind || event->kind == LOG)
        return false;
    if (event->kind == STATE) {
        last->a = event->a;
        last->b = event->b;
        g_free(last->text);
        last->text = g_strdup(event->text);
        return true;
    }
    bool joins = last->a == event->a && last->last + 1 == event->first && g_strcmp0(last->text, event->text) == 0;
    if (joins)
        last->last = event->last;
    return joins;
}

/* The mutex is held. */
static struct event *
take_out(struct events *events, GList *link)
{
    struct event *event = link ? link->data : NULL;
    if (link && link == events->last_state)
        events->last_state = NULL;
    if (link)
        g_queue_delete_link(&events->waiting, link);
    return event;
}

/* The oldest goes, but never the last state. */
static void
lose_one(struct events *events)
{
    GList *oldest = events->waiting.head;
    event_free(take_out(events, oldest == events->last_state ? oldest->next : oldest));
    events->lost++;
}

/* The mutex is held. event's text is borrowed. */
static void
add(struct events *events, const struct event *event)
{
    if (merge(g_queue_peek_tail(&events->waiting), event))
        return;
    struct event *copy = g_memdup2(event, sizeof *event);
    copy->text = g_strdup(event->text);
    g_queue_push_tail(&events->waiting, copy);
    if (event->kind == STATE)
        events->last_state = events->waiting.tail;
    if (events->waiting.length > EVENTS_MAX)
        lose_one(events);
    signal_fd(events);
}

void
events_state(struct events *events, int32_t state, int32_t reason, const char *text)
{
    g_mutex_lock(&events->mutex);
    if (events->state)
        add(events, &(struct event){ .kind = STATE, .a = state, .b = reason, .text = (char *)text });
    g_mutex_unlock(&events->mutex);
}

void
events_gone(struct events *events, uint64_t first, uint64_t last, int32_t how, const char *text)
{
    g_mutex_lock(&events->mutex);
    if (events->gone)
        add(events, &(struct event){ .kind = GONE, .a = how, .first = first, .last = last, .text = (char *)text });
    g_mutex_unlock(&events->mutex);
}

void
events_log(struct events *events, int32_t level, const char *format, ...)
{
    g_mutex_lock(&events->mutex);
    if (events->log) {
        va_list arguments;
        va_start(arguments, format);
        g_autofree char *text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        add(events, &(struct event){ .kind = LOG, .a = level, .text = text });
    }
    g_mutex_unlock(&events->mutex);
}

int
events_fd(struct events *events)
{
    return events->fd;
}

uint64_t
events_lost(struct events *events)
{
    g_mutex_lock(&events->mutex);
    uint64_t lost = events->lost;
    g_mutex_unlock(&events->mutex);
    return lost;
}

/* The next one, and the descriptor quiet when none is left. */
static struct event *
take(struct events *events)
{
    struct event *event = take_out(events, events->waiting.head);
    uint64_t counter;
    if (g_queue_is_empty(&events->waiting)) {
        ssize_t n = read(events->fd, &counter, sizeof counter);
        (void)n;
    }
    return event;
}

bool
events_run_one(struct events *events)
{
    g_mutex_lock(&events->mutex);
    struct event *event = take(events);
    hubkey_state_fn state = events->state;
    hubkey_gone_fn gone = events->gone;
    hubkey_log_fn log = events->log;
    void *user = events->user;
    g_mutex_unlock(&events->mutex);
    if (!event)
        return false;

    if (event->kind == STATE && state)
        state(event->a, event->b, event->text, user);
    else if (event->kind == GONE && gone)
        gone(event->first, event->last, event->a, event->text, user);
    else if (event->kind == LOG && log)
        log(event->a, event->text, user);
    event_free(event);
    return true;
}
