/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/bus.h"
#include "common/clock.h"
#include "common/error.h"
#include "dbus/call.h"
#include "dbus/loop.h"
#include "dbus/names.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX (64 << 10) /* bytes that somebody may make us hold; what hubkeyd says is far below */
#define TOKEN_MAX 4096         /* likewise of a token */
#define ANSWER_MS 30000 /* hubkeyd may wait for a slow TPM; it answers earlier when that fails */

struct bus {
    uint32_t slot;
    char *socket_path;
    char path[NAMES_SLOT_PATH_MAX];
    DBusConnection *connection; /* NULL: none */
    struct call *call;          /* NULL: none under way */
    int64_t deadline_us;
    uint32_t ttl_s;
    bool ready; /* an answer or an error to take */
    struct bus_answer answer;
    GError *error;
    unsigned news;
};

void
bus_answer_clear(struct bus_answer *answer)
{
    if (answer->token)
        explicit_bzero(answer->token, strlen(answer->token));
    g_free(answer->token);
    identity_free(answer->identity);
    *answer = (struct bus_answer){ 0 };
}

/* ---- Connections */

/* libdbus would make the whole process ignore SIGPIPE; it writes with MSG_NOSIGNAL and does not need that. */
static void
be_a_guest(void)
{
    dbus_connection_set_change_sigpipe(FALSE);
    dbus_threads_init_default();
}

static const char *
socket_in_use(const char *socket_path)
{
    if (socket_path)
        return socket_path;
    const char *given = secure_getenv("HUBKEY_SOCKET");
    return given ? given : NAMES_SOCKET;
}

static DBusConnection *
connect_hubkeyd(const char *socket_path, bool *is_bus, GError **error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, be_a_guest);
    DBusConnection *connection = socket_path[0] ? loop_open_socket(socket_path, NULL) : NULL;
    *is_bus = !connection;
    if (connection)
        (void)loop_shake_hands(connection); /* where it fails, the call that follows says so */
    else
        connection = loop_open_system_bus(error);
    if (connection)
        dbus_connection_set_max_message_size(connection, MESSAGE_MAX);
    return connection;
}

static void
disconnect(struct bus *bus)
{
    call_cancel(bus->call);
    bus->call = NULL;
    loop_close(bus->connection);
    bus->connection = NULL;
}

static DBusMessage *
new_call(const char *path, const char *interface, const char *method)
{
    DBusMessage *message = dbus_message_new_method_call(NAMES_BUS, path, interface, method);
    if (!message)
        g_error("out of memory");
    return message;
}

/* ---- Signals */

static bool
is_daemons_owner(DBusMessage *message)
{
    const char *name = NULL, *old_owner = NULL, *new_owner = NULL;
    return dbus_message_is_signal(message, DBUS_INTERFACE_DBUS, "NameOwnerChanged") &&
           dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &old_owner, DBUS_TYPE_STRING,
                                 &new_owner, DBUS_TYPE_INVALID) &&
           strcmp(name, NAMES_BUS) == 0;
}

/* A gateway's thousand other slots are no news. */
static bool
is_our_slot_added(const struct bus *bus, DBusMessage *message)
{
    dbus_uint32_t slot;
    return dbus_message_is_signal(message, NAMES_MANAGER, "SlotAdded") &&
           dbus_message_get_args(message, NULL, DBUS_TYPE_UINT32, &slot, DBUS_TYPE_INVALID) && slot == bus->slot;
}

static DBusHandlerResult
on_signal(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct bus *bus = user;
    /* Anybody may send a signal to us alone; what comes by our matches is from hubkeyd. */
    if (dbus_message_get_destination(message))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected") || is_daemons_owner(message))
        bus->news |= BUS_RESTARTED;
    else if (dbus_message_is_signal(message, NAMES_SLOT, "TokensInvalidated") &&
             dbus_message_has_path(message, bus->path))
        bus->news |= BUS_INVALIDATED;
    else if (is_our_slot_added(bus, message) ||
             (dbus_message_is_signal(message, DBUS_INTERFACE_PROPERTIES, "PropertiesChanged") &&
              dbus_message_has_path(message, bus->path)))
        bus->news |= BUS_CHANGED;
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

/* Asks the bus for the signals that matter; peers on the private socket get them anyway. Does not wait. */
static void
watch(struct bus *bus, bool is_bus)
{
    if (!dbus_connection_add_filter(bus->connection, on_signal, bus, NULL))
        g_error("out of memory");
    if (!is_bus)
        return;
    g_autofree char *of_slot = g_strdup_printf("type='signal',sender='" NAMES_BUS "',path='%s'", bus->path);
    const char *rules[] = {
        of_slot,
        "type='signal',sender='" NAMES_BUS "',interface='" NAMES_MANAGER "',member='SlotAdded'",
        "type='signal',sender='" DBUS_SERVICE_DBUS "',member='NameOwnerChanged',arg0='" NAMES_BUS "'",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
        dbus_bus_add_match(bus->connection, rules[i], NULL);
}

/* ---- Answers */

static void
set_malformed(GError **error)
{
    error_set(error, ERROR_INTERNAL,
              "hubkeyd's answer is malformed; are libhubkey %s and hubkeyd of the same release?", VERSION);
}

/* It goes into a header field, in which a line end would begin another one (RFC 9110 section 5.5). NULL where the
 * answer is malformed. */
static char *
take_token(const char *text, size_t len, dbus_uint64_t expires, int64_t *expires_s)
{
    bool good = len > 0 && len <= TOKEN_MAX && expires <= INT64_MAX;
    for (size_t i = 0; good && i < len; i++)
        good = g_ascii_isprint(text[i]);
    if (!good)
        return NULL;
    *expires_s = (int64_t)expires;
    return g_strndup(text, len);
}

/* ---- Asking */

static void
fail(struct bus *bus, const GError *error)
{
    bus_answer_clear(&bus->answer);
    g_clear_error(&bus->error);
    bus->error = g_error_copy(error);
    bus->ready = true;
}

static void
fail_malformed(struct bus *bus)
{
    g_autoptr(GError) error = NULL;
    set_malformed(&error);
    fail(bus, error);
}

static void
send_call(struct bus *bus, DBusMessage *message, call_done_fn done)
{
    g_autoptr(GError) error = NULL;
    bus->deadline_us = clock_monotonic_us() + ANSWER_MS * INT64_C(1000);
    bus->call = call_send(bus->connection, message, ANSWER_MS, done, bus, &error);
    if (!bus->call)
        fail(bus, error);
}

static void
on_connection_string(DBusMessage *reply, const GError *error, void *user)
{
    struct bus *bus = user;
    const char *text = NULL, *secret = NULL;
    size_t secret_len = 0;
    dbus_uint64_t expires = 0;
    bus->call = NULL;
    if (error) {
        fail(bus, error);
        return;
    }
    if (!dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_UINT64, &expires, DBUS_TYPE_INVALID)) {
        fail_malformed(bus);
        return;
    }
    bus->answer.identity = identity_parse_connection_string(text, strlen(text), &secret, &secret_len, NULL);
    if (bus->answer.identity)
        bus->answer.token = take_token(secret, secret_len, expires, &bus->answer.expires_s);
    if (bus->answer.token)
        bus->ready = true;
    else
        fail_malformed(bus);
}

/* Takes the numbers out of GetAll's a{sv}. */
static void
read_property(DBusMessageIter *entry, struct bus_answer *answer)
{
    DBusMessageIter value;
    const char *name;
    DBusBasicValue basic;
    dbus_message_iter_get_basic(entry, &name);
    dbus_message_iter_next(entry);
    dbus_message_iter_recurse(entry, &value);
    int type = dbus_message_iter_get_arg_type(&value);
    if (!dbus_type_is_basic(type))
        return;
    dbus_message_iter_get_basic(&value, &basic);
    if (type == DBUS_TYPE_UINT64 && strcmp(name, "Generation") == 0)
        answer->generation = basic.u64;
    else if (type == DBUS_TYPE_UINT32 && strcmp(name, "DefaultTtl") == 0)
        answer->default_ttl_s = basic.u32;
    else if (type == DBUS_TYPE_UINT32 && strcmp(name, "MaxTtl") == 0)
        answer->max_ttl_s = basic.u32;
}

static void
on_properties(DBusMessage *reply, const GError *error, void *user)
{
    struct bus *bus = user;
    DBusMessageIter arguments, properties, entry;
    bus->call = NULL;
    if (error) {
        fail(bus, error);
        return;
    }
    if (!dbus_message_has_signature(reply, "a{sv}")) {
        fail_malformed(bus);
        return;
    }
    dbus_message_iter_init(reply, &arguments);
    for (dbus_message_iter_recurse(&arguments, &properties);
         dbus_message_iter_get_arg_type(&properties) == DBUS_TYPE_DICT_ENTRY; dbus_message_iter_next(&properties)) {
        dbus_message_iter_recurse(&properties, &entry);
        read_property(&entry, &bus->answer);
    }
    g_autoptr(dbus_message_auto) message = new_call(bus->path, NAMES_SLOT, "GetConnectionString");
    dbus_message_append_args(message, DBUS_TYPE_UINT32, &bus->ttl_s, DBUS_TYPE_INVALID);
    send_call(bus, message, on_connection_string);
}

void
bus_ask(struct bus *bus, uint32_t ttl_s)
{
    g_autoptr(GError) error = NULL;
    const char *interface = NAMES_SLOT;
    bool is_bus = false;
    bus_answer_clear(&bus->answer);
    g_clear_error(&bus->error);
    bus->ready = false;
    bus->ttl_s = ttl_s;
    if (bus->connection && !dbus_connection_get_is_connected(bus->connection))
        disconnect(bus);
    if (!bus->connection) {
        bus->connection = connect_hubkeyd(bus->socket_path, &is_bus, &error);
        if (!bus->connection) {
            fail(bus, error);
            return;
        }
        watch(bus, is_bus);
    }
    g_autoptr(dbus_message_auto) message = new_call(bus->path, DBUS_INTERFACE_PROPERTIES, "GetAll");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID);
    send_call(bus, message, on_properties);
}

bool
bus_take(struct bus *bus, struct bus_answer *answer, GError **error)
{
    if (!bus->ready)
        return false;
    bus->ready = false;
    if (bus->error) {
        g_propagate_error(error, g_steal_pointer(&bus->error));
        return true;
    }
    *answer = bus->answer;
    bus->answer = (struct bus_answer){ 0 };
    return true;
}

void
bus_report_rejected(struct bus *bus, uint64_t generation, const char *tracking_id)
{
    if (!bus->connection)
        return;
    dbus_uint64_t number = generation;
    g_autoptr(dbus_message_auto) message = new_call(bus->path, NAMES_SLOT, "ReportRejected");
    dbus_message_append_args(message, DBUS_TYPE_UINT64, &number, DBUS_TYPE_STRING, &tracking_id, DBUS_TYPE_INVALID);
    dbus_message_set_no_reply(message, TRUE);
    dbus_connection_send(bus->connection, message, NULL);
}

void
bus_process(struct bus *bus)
{
    if (!bus->connection)
        return;
    dbus_connection_read_write(bus->connection, 0);
    while (dbus_connection_dispatch(bus->connection) == DBUS_DISPATCH_DATA_REMAINS)
        continue;
    if (bus->call && clock_monotonic_us() >= bus->deadline_us) {
        g_autoptr(GError) error = call_error(DBUS_ERROR_NO_REPLY, "30 s passed");
        disconnect(bus);
        fail(bus, error);
    } else if (!dbus_connection_get_is_connected(bus->connection) && !bus->call) {
        disconnect(bus);
    }
}

unsigned
bus_news(struct bus *bus)
{
    unsigned news = bus->news;
    bus->news = 0;
    return news;
}

int
bus_fd(struct bus *bus, bool *writable, int64_t *deadline_us)
{
    int fd = -1;
    *deadline_us = bus->call ? bus->deadline_us : INT64_MAX;
    /* Until the handshake is over there is nothing to write but answers to what was read. */
    *writable = bus->connection && dbus_connection_get_is_authenticated(bus->connection) &&
                dbus_connection_has_messages_to_send(bus->connection);
    if (!bus->connection || !dbus_connection_get_unix_fd(bus->connection, &fd))
        return -1;
    return fd;
}

struct bus *
bus_new(uint32_t slot, const char *socket_path)
{
    struct bus *bus = g_new0(struct bus, 1);
    bus->slot = slot;
    bus->socket_path = g_strdup(socket_in_use(socket_path));
    g_snprintf(bus->path, sizeof bus->path, NAMES_SLOTS "/%u", slot);
    return bus;
}

void
bus_free(struct bus *bus)
{
    if (!bus)
        return;
    disconnect(bus);
    bus_answer_clear(&bus->answer);
    g_clear_error(&bus->error);
    g_free(bus->socket_path);
    g_free(bus);
}

/* ---- One token, at once */

char *
bus_get_token(uint32_t slot, const char *socket_path, const char *scope, uint32_t ttl_s, int64_t *expires_s,
              GError **error)
{
    bool is_bus;
    char path[NAMES_SLOT_PATH_MAX];
    g_snprintf(path, sizeof path, NAMES_SLOTS "/%u", slot);
    DBusConnection *connection = connect_hubkeyd(socket_in_use(socket_path), &is_bus, error);
    if (!connection)
        return NULL;
    g_autoptr(dbus_message_auto) message = new_call(path, NAMES_SLOT, "GetToken");
    dbus_uint32_t ttl = ttl_s;
    dbus_message_append_args(message, DBUS_TYPE_STRING, &scope, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    g_autoptr(dbus_message_auto) reply = call_wait(connection, message, ANSWER_MS, error);

    const char *token = NULL;
    dbus_uint64_t expires = 0;
    char *copy = NULL;
    if (reply &&
        dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &token, DBUS_TYPE_UINT64, &expires, DBUS_TYPE_INVALID))
        copy = take_token(token, strlen(token), expires, expires_s);
    if (reply && !copy)
        set_malformed(error);
    loop_close(connection);
    return copy;
}
