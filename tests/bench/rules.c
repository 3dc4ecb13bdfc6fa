/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/bench/rules.h"

#include "tests/bench/calls.h"
#include "dbus/call.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <glib/gstdio.h>

static char *
in_sandbox(const char *folder, const char *name)
{
    const char *sandbox = g_getenv("HUBKEY_SANDBOX");
    if (!sandbox)
        g_error("HUBKEY_SANDBOX is not set: this runs in ./run bench");
    return g_build_filename(sandbox, folder, name, NULL);
}

static void
write_or_remove(const char *path, const char *text)
{
    g_autoptr(GError) error = NULL;
    if (text ? !g_file_set_contents(path, text, -1, &error) : g_unlink(path) != 0 && errno != ENOENT)
        g_error("%s: %s", path, error ? error->message : g_strerror(errno));
    if (text)
        g_chmod(path, 0644);
}

static void
reload(const char *destination, const char *path, const char *interface, const char *method)
{
    g_autoptr(GError) error = NULL;
    DBusConnection *connection = calls_open_bus();
    g_autoptr(dbus_message_auto) message = dbus_message_new_method_call(destination, path, interface, method);
    g_autoptr(dbus_message_auto) reply = call_wait(connection, message, CALLS_TIMEOUT_MS, &error);
    if (!reply)
        g_error("%s: %s", method, error->message);
    loop_close(connection);
}

void
rules_set(const char *text)
{
    g_autofree char *path = in_sandbox("hubkeyd.conf.d", "bench-rules.conf");
    write_or_remove(path, text);
    reload(NAMES_BUS, NAMES_ROOT, NAMES_MANAGER, "Reload");
}

/* The folder of the bus's policies, as its configuration names it. */
static char *
policies(void)
{
    static const char tag[] = "<includedir>";
    g_autofree char *path = in_sandbox("bus.conf", NULL), *text = NULL;
    g_autoptr(GError) error = NULL;
    if (!g_file_get_contents(path, &text, NULL, &error))
        g_error("%s", error->message);
    const char *begin = strstr(text, tag);
    const char *end = begin ? strchr(begin + 1, '<') : NULL;
    if (!end)
        g_error("%s has no %s", path, tag);
    return g_strndup(begin + strlen(tag), (gsize)(end - begin) - strlen(tag));
}

void
rules_open_bus(bool open)
{
    g_autofree char *folder = policies();
    g_autofree char *path = g_build_filename(folder, "org.hubkey.test.conf", NULL);
    write_or_remove(path, open ? "<busconfig><policy context=\"default\">"
                                 "<allow send_destination_prefix=\"org.hubkey.test\"/></policy></busconfig>\n"
                               : NULL);
    reload(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS, "ReloadConfig");
}

void
rules_become(const char *user)
{
    const struct passwd *entry = getpwnam(user);
    if (!entry || initgroups(user, entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0)
        g_error("cannot become %s", user);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}
