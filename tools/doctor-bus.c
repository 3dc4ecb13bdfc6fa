/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The bus: is it there, may hubkeyd be spoken to, does it run or can it be started, and is it hubkeyd at all.
 */
#include <config.h>

#include "tools/bus.h"
#include "tools/doctor.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <pwd.h>
#include <string.h>

#define CHECK "bus"
#define RESTART "systemctl restart hubkeyd"

static void
check_activation(struct doctor *doctor)
{
    g_autoptr(GError) error = NULL;
    DBusMessage *ask = dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS, DBUS_INTERFACE_DBUS,
                                                    "ListActivatableNames");
    g_autoptr(dbus_message_auto) reply = bus_call(doctor->bus, ask, "as", &error);
    char **names = NULL;
    int n = 0;
    if (!reply || !dbus_message_get_args(reply, NULL, DBUS_TYPE_ARRAY, DBUS_TYPE_STRING, &names, &n, DBUS_TYPE_INVALID))
        return;
    bool found = g_strv_contains((const char *const *)names, NAMES_BUS);
    dbus_free_string_array(names);
    if (found)
        doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "the bus starts hubkeyd when it is called");
    else
        doctor_say(doctor, DOCTOR_WARNING, CHECK,
                   "systemctl enable --now hubkeyd; reinstall hubkey's " NAMES_BUS ".service",
                   "the bus does not know how to start hubkeyd");
}

static void
check_owner(struct doctor *doctor)
{
    DBusError problem = DBUS_ERROR_INIT;
    unsigned long uid = dbus_bus_get_unix_user(doctor->bus, NAMES_BUS, &problem);
    const struct passwd *hubkey = getpwnam("hubkey");
    if (dbus_error_is_set(&problem))
        dbus_error_free(&problem);
    else if (hubkey && uid != hubkey->pw_uid)
        doctor_say(doctor, DOCTOR_BAD, CHECK, RESTART " && systemctl reload dbus",
                   NAMES_BUS " on the bus belongs to uid %lu, not to user hubkey: is the bus policy of hubkey "
                   "installed?", uid);
}

/* Everything that a call of hubkeyd can run into before it is there. */
static bool
check_answer(struct doctor *doctor)
{
    DBusError problem = DBUS_ERROR_INIT;
    DBusMessage *ping = bus_message(NAMES_ROOT, DBUS_INTERFACE_PEER, "Ping");
    DBusMessage *pong = dbus_connection_send_with_reply_and_block(doctor->bus, ping, 25000, &problem);
    dbus_message_unref(ping);
    if (pong) {
        dbus_message_unref(pong);
        return true;
    }
    bool denied = dbus_error_has_name(&problem, DBUS_ERROR_ACCESS_DENIED);
    doctor_say(doctor, DOCTOR_BAD, CHECK,
               denied ? "reinstall " NAMES_BUS ".conf into /usr/share/dbus-1/system.d, then: systemctl reload dbus"
                      : RESTART "; journalctl -u hubkeyd",
               "%s: %s", denied ? "the bus lets nobody speak to hubkeyd" : "hubkeyd does not answer", problem.message);
    dbus_error_free(&problem);
    return false;
}

void
doctor_bus(struct doctor *doctor, const char *socket)
{
    g_autoptr(GError) error = NULL;
    const struct context context = { .socket = socket };
    doctor->bus = socket ? bus_open(&context, &error) : loop_open_system_bus(&error);
    if (!doctor->bus) {
        doctor_say(doctor, DOCTOR_BAD, CHECK, socket ? RESTART : "systemctl start dbus", "%s", error->message);
        return;
    }
    if (!socket)
        check_activation(doctor);
    if (!check_answer(doctor)) {
        g_clear_pointer(&doctor->bus, loop_close);
        return;
    }
    if (!socket)
        check_owner(doctor);
    doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "hubkeyd answers");
}
