/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A program with GLib's main loop, as desktops and many services have it: a timer takes a reading of how busy this
 * machine is, the client's descriptor is one more source, and Ctrl-C ends it all in order.
 *
 *     glib-loop [COUNT [INTERVAL-MS]]          COUNT 0: until Ctrl-C
 *
 * libhubkey never calls into the loop by itself. Its callbacks run where dispatch is called: here, in the loop, so they
 * may touch whatever the other handlers touch.
 *
 * Build it with: cc glib-loop.c $(pkg-config --cflags --libs hubkey glib-2.0) -o glib-loop
 */
#include <hubkey.h>

#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>

struct app {
    GMainLoop *loop;
    hubkey_client *client;
    gint64 left;    /* readings to take; below 0: no end */
    guint64 posted; /* the number of the last message that was accepted, and ... */
    guint64 gone;   /* ... of the last that left the queue */
};

static void
quit_when_done(struct app *app)
{
    if (app->left == 0 && app->gone >= app->posted)
        g_main_loop_quit(app->loop);
}

/* ---- What the loop calls */

static gboolean
on_client_readable(gint fd, GIOCondition condition, gpointer user)
{
    struct app *app = user;
    (void)fd;
    (void)condition;
    hubkey_client_dispatch(app->client);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_timer(gpointer user)
{
    static const struct hubkey_property kind = { "kind", "load" };
    struct app *app = user;
    struct hubkey_error error;
    double load[3] = { 0 };
    (void)getloadavg(load, 3);
    g_autofree char *json = g_strdup_printf("{\"load_1min\":%.2f,\"load_15min\":%.2f}", load[0], load[2]);
    struct hubkey_message message = { .size = sizeof message,
                                      .body = json,
                                      .len = strlen(json),
                                      .content_type = "application/json",
                                      .content_encoding = "utf-8",
                                      .n_properties = 1,
                                      .properties = &kind,
                                      .ttl_s = 24 * 3600 }; /* a day later nobody wants to know */
    if (hubkey_client_post(app->client, &message, 0, &app->posted, &error) != 0)
        g_printerr("glib-loop: %s\n", error.text);
    if (app->left > 0)
        app->left--;
    quit_when_done(app);
    return app->left != 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static gboolean
on_signal(gpointer user)
{
    g_main_loop_quit(((struct app *)user)->loop);
    return G_SOURCE_REMOVE;
}

/* ---- What the library tells, from within on_client_readable */

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    (void)user;
    g_print("-- %s %s %s\n", hubkey_state_name(state), hubkey_reason_name(reason), text);
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    struct app *app = user;
    g_print("%s up to %" G_GUINT64_FORMAT " %s\n", how == HUBKEY_GONE_DELIVERED ? "delivered" : "LOST", last, text);
    (void)first;
    app->gone = MAX(app->gone, last); /* what is refused leaves after what stood behind it */
    quit_when_done(app);
}

int
main(int argc, char **argv)
{
    struct hubkey_options options = { .size = sizeof options };
    struct hubkey_error error;
    gint64 count = argc > 1 ? g_ascii_strtoll(argv[1], NULL, 10) : 0;
    gint64 interval_ms = argc > 2 ? g_ascii_strtoll(argv[2], NULL, 10) : 1000;
    struct app app = { .loop = g_main_loop_new(NULL, FALSE), .left = count > 0 ? count : -1 };
    if (hubkey_client_open(&options, &app.client, &error) != 0) {
        g_printerr("glib-loop: %s\n", error.text);
        return 1;
    }
    hubkey_client_set_callbacks(app.client, on_state, on_gone, NULL, &app);
    g_unix_fd_add(hubkey_client_fd(app.client), G_IO_IN, on_client_readable, &app);
    g_unix_signal_add(SIGINT, on_signal, &app);
    g_unix_signal_add(SIGTERM, on_signal, &app);
    g_timeout_add((guint)interval_ms, on_timer, &app);
    g_main_loop_run(app.loop);
    g_main_loop_unref(app.loop);
    /* What is not delivered within a second is sent when the program runs again. */
    return hubkey_client_close(app.client, 1000) == 0 ? 0 : 1;
}
