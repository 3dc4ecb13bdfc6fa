/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/private-bus.h"
#include "tests/lib/await.h"
#include "dbus/call.h"
#include "dbus/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define PATIENCE_MS 20000

static const char configuration[] =
    "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
    " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
    "<busconfig><type>session</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>\n"
    "<policy context=\"default\"><allow user=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/>"
    "<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>\n";

static void
die_with_parent(gpointer unused)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The line that dbus-daemon prints once it listens. */
static char *
read_address(int fd)
{
    GString *line = g_string_new(NULL);
    gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * 1000;
    char c = 0;
    while (line->len < 512 && g_get_monotonic_time() < deadline) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        if (poll(&ready, 1, 100) == 1 && (read(fd, &c, 1) != 1 || c == '\n'))
            break;
        if (c)
            g_string_append_c(line, c);
        c = 0;
    }
    if (c != '\n')
        g_error("dbus-daemon did not come up; is it installed?");
    return g_string_free(line, FALSE);
}

struct private_bus *
private_bus_start(void)
{
    g_autoptr(GError) error = NULL;
    struct private_bus *bus = g_new0(struct private_bus, 1);
    bus->dir = g_dir_make_tmp("hk-bus-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(bus->dir, 0755), ==, 0); /* other users can be callers, too */
    g_autofree char *file = g_build_filename(bus->dir, "bus.conf", NULL);
    g_autofree char *text = g_strdup_printf(configuration, bus->dir);
    g_file_set_contents(file, text, -1, &error);
    g_assert_no_error(error);

    g_autofree char *option = g_strconcat("--config-file=", file, NULL);
    char *argv[] = {
        (char *)"dbus-daemon",       option, (char *)"--nofork", (char *)"--nopidfile", (char *)"--nosyslog",
        (char *)"--print-address=1", NULL
    };
    int out = -1;
    g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, die_with_parent, NULL,
                             &bus->pid, NULL, &out, NULL, &error);
    g_assert_no_error(error);
    bus->address = read_address(out);
    close(out);
    return bus;
}

void
private_bus_kill(struct private_bus *bus)
{
    if (bus->pid == 0)
        return;
    kill(bus->pid, SIGKILL);
    while (waitpid(bus->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    bus->pid = 0;
}

void
private_bus_stop(struct private_bus *bus)
{
    static const char *const files[] = { "bus.conf", "bus" };
    if (!bus)
        return;
    private_bus_kill(bus);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *file = g_build_filename(bus->dir, files[i], NULL);
        g_unlink(file);
    }
    g_rmdir(bus->dir);
    g_free(bus->dir);
    g_free(bus->address);
    g_free(bus);
}

DBusConnection *
private_bus_connect(struct private_bus *bus)
{
    g_autoptr(GError) error = NULL;
    DBusConnection *connection = loop_open_address(bus->address, &error);
    g_assert_no_error(error);
    g_assert_true(dbus_bus_register(connection, NULL));
    g_assert_true(loop_attach(connection, NULL));
    return connection;
}

struct answer {
    bool done;
    DBusMessage *reply;
    GError *error;
};

static void
on_answer(DBusMessage *reply, const GError *error, void *user)
{
    struct answer *answer = user;
    g_assert_true((reply == NULL) != (error == NULL));
    g_assert_false(answer->done);
    answer->done = true;
    answer->reply = reply ? dbus_message_ref(reply) : NULL;
    answer->error = error ? g_error_copy(error) : NULL;
}

static bool
is_answered(void *user)
{
    return ((struct answer *)user)->done;
}

DBusMessage *
private_bus_call(DBusConnection *connection, DBusMessage *message, GError **error)
{
    struct answer answer = { 0 };
    g_assert_nonnull(message);
    struct call *call = call_send(connection, message, PATIENCE_MS / 2, on_answer, &answer, error);
    dbus_message_unref(message);
    if (!call)
        return NULL;
    g_assert_true(await(is_answered, &answer));
    if (answer.error)
        g_propagate_error(error, answer.error);
    return answer.reply;
}
