/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/reload.h"
#include "daemon/config.h"
#include "common/error.h"

struct waiter {
    reload_done_fn done;
    void *user;
};

/* One reading. The thread has it alone until it hands it to the main thread. */
struct reading {
    char *file;
    struct reload *reload; /* main thread only; NULL: nobody wants it any more */
    struct config *config; /* NULL: it is no good */
    GPtrArray *complaints;
};

struct reload {
    char *file;
    reload_apply_fn apply;
    void *user;
    struct reading *reading; /* under way; NULL: none */
    GArray *waiters;         /* for the reading that is under way */
    GArray *later;           /* who came after it had begun: it may have missed what they want */
};

static GArray *
new_waiters(void)
{
    return g_array_new(FALSE, FALSE, sizeof(struct waiter));
}

struct reload *
reload_new(const char *file, reload_apply_fn apply, void *user)
{
    struct reload *reload = g_new0(struct reload, 1);
    reload->file = g_strdup(file);
    reload->apply = apply;
    reload->user = user;
    reload->waiters = new_waiters();
    reload->later = new_waiters();
    return reload;
}

static void
tell(GArray *waiters, const GError *error)
{
    for (guint i = 0; i < waiters->len; i++) {
        const struct waiter *waiter = &g_array_index(waiters, struct waiter, i);
        if (waiter->done)
            waiter->done(error, waiter->user);
    }
    g_array_unref(waiters);
}

void
reload_free(struct reload *reload)
{
    g_autoptr(GError) error = NULL;
    if (!reload)
        return;
    if (reload->reading)
        reload->reading->reload = NULL;
    error_set(&error, ERROR_INTERNAL, "hubkeyd is shutting down");
    tell(reload->waiters, error);
    tell(reload->later, error);
    g_free(reload->file);
    g_free(reload);
}

static void
free_reading(struct reading *reading)
{
    config_free(reading->config);
    g_ptr_array_free(reading->complaints, TRUE);
    g_free(reading->file);
    g_free(reading);
}

static void begin(struct reload *reload);

/* The first complaint for who asked, all of them for the log. */
static GError *
refuse(const struct reading *reading)
{
    GError *error = NULL;
    const GPtrArray *complaints = reading->complaints;
    for (guint i = 0; i < complaints->len; i++)
        g_warning("%s", (const char *)complaints->pdata[i]);
    g_warning("the configuration has not been changed: see above");
    g_autofree char *more = complaints->len > 1 ? g_strdup_printf(" (and %u more)", complaints->len - 1) : g_strdup("");
    error_set(&error, ERROR_INVALID_ARGUMENT,
              "%s%s; nothing was changed, hubkeyd --check-config shows all that is wrong",
              (const char *)complaints->pdata[0], more);
    return error;
}

static gboolean
finish(gpointer data)
{
    struct reading *reading = data;
    struct reload *reload = reading->reload;
    g_autoptr(GError) error = NULL;
    if (!reload) {
        free_reading(reading);
        return G_SOURCE_REMOVE;
    }
    if (reading->config) {
        reload->apply(g_steal_pointer(&reading->config), reload->user);
        g_message("the configuration has been read anew");
    } else {
        error = refuse(reading);
    }
    GArray *waiters = reload->waiters;
    free_reading(reading);
    reload->reading = NULL;
    reload->waiters = reload->later;
    reload->later = new_waiters();
    if (reload->waiters->len > 0)
        begin(reload);
    tell(waiters, error);
    return G_SOURCE_REMOVE;
}

static gpointer
work(gpointer data)
{
    struct reading *reading = data;
    reading->config = config_load(reading->file, reading->complaints);
    g_idle_add_full(G_PRIORITY_DEFAULT, finish, reading, NULL);
    return NULL;
}

static void
begin(struct reload *reload)
{
    struct reading *reading = g_new0(struct reading, 1);
    reading->file = g_strdup(reload->file);
    reading->reload = reload;
    reading->complaints = g_ptr_array_new_with_free_func(g_free);
    reload->reading = reading;
    g_thread_unref(g_thread_new("configuration", work, reading));
}

void
reload_begin(struct reload *reload, reload_done_fn done, void *user)
{
    const struct waiter waiter = { done, user };
    g_array_append_val(reload->reading ? reload->later : reload->waiters, waiter);
    if (!reload->reading)
        begin(reload);
}
