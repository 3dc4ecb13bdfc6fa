/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * dbus/object.c and its parts, asked over a bus by another connection.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/call.h"
#include "dbus/caller.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "dbus/object.h"
#include "tests/lib/await.h"
#include "tests/lib/private-bus.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define DEMO "org.hubkey.test.Demo1"
#define OTHER "org.hubkey.test.Other1"

enum { FREE, GUARDED, LATER };

struct fixture {
    struct private_bus *bus;
    DBusConnection *service, *client;
    const char *name; /* the service's */
    struct object *root, *slots;
    struct object_request *held;  /* by Hold */
    struct object_request *asked; /* by the permit hook, class LATER */
    int entered;                  /* rows entered */
    int left;                     /* callers that left */
    DBusMessage *answer; /* of Copy and WrongCopy */
    int signals;
    char *signal_path;
};

static int criticals; /* logged so far */

/* ---- the service ---- */

static void
on_echo(struct object_request *request, void *user)
{
    struct fixture *fixture = user;
    const char *text = NULL;
    fixture->entered++;
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    object_reply(request, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
}

static void
on_fail(struct object_request *request, void *user)
{
    dbus_uint32_t code = 0;
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_UINT32, &code, DBUS_TYPE_INVALID);
    g_autoptr(GError) error = code == 999 ? g_error_new(G_FILE_ERROR, 1, "not \xff UTF-8")
                                          : g_error_new(ERROR_DOMAIN, (int)code, "code %u", code);
    object_fail(request, error);
}

static void
on_hold(struct object_request *request, void *user)
{
    struct fixture *fixture = user;
    g_assert_null(fixture->held);
    fixture->held = request;
}

static void
on_path(struct object_request *request, void *user)
{
    const char *path = object_path(request), *sender = object_sender(request), *row = object_row(request)->name;
    g_assert_nonnull(object_connection(request));
    DBusMessage *reply = object_reply_new(request);
    dbus_message_append_args(reply, DBUS_TYPE_STRING, &path, DBUS_TYPE_STRING, &sender, DBUS_TYPE_STRING, &row,
                             DBUS_TYPE_INVALID);
    object_reply_message(request, reply);
}

static void
on_count(struct object_request *request, void *user)
{
    int fd = -1;
    char bytes[64];
    dbus_message_get_args(object_message(request), NULL, DBUS_TYPE_UNIX_FD, &fd, DBUS_TYPE_INVALID);
    dbus_uint32_t n = (dbus_uint32_t)read(fd, bytes, sizeof bytes);
    close(fd);
    object_reply(request, DBUS_TYPE_UINT32, &n, DBUS_TYPE_INVALID);
}

static void
on_copy(struct object_request *request, void *user)
{
    struct fixture *fixture = user;
    const char *text = "one for all";
    fixture->entered++;
    if (!fixture->answer)
        fixture->answer = object_answer_new(DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    object_reply_copy(request, fixture->answer);
}

static void
on_nothing(struct object_request *request, void *user)
{
    struct fixture *fixture = user;
    fixture->entered++;
    object_reply(request, DBUS_TYPE_INVALID);
}

static void
on_wrong_reply(struct object_request *request, void *user)
{
    dbus_bool_t yes = TRUE;
    object_reply(request, DBUS_TYPE_BOOLEAN, &yes, DBUS_TYPE_INVALID);
}

static void
get_path(const char *path, DBusMessageIter *iter, void *user)
{
    dbus_message_iter_append_basic(iter, DBUS_TYPE_STRING, &path);
}

static void
get_answer(const char *path, DBusMessageIter *iter, void *user)
{
    dbus_uint32_t answer = 42;
    dbus_message_iter_append_basic(iter, DBUS_TYPE_UINT32, &answer);
}

static const struct object_interface demo = {
    .name = DEMO,
    .methods =
        (const struct object_method[]){
            { "Echo", "s", "s", "text same", FREE, on_echo },
            { "Guarded", "s", "s", "text same", GUARDED, on_echo },
            { "Later", "s", "s", "text same", LATER, on_echo },
            { "Fail", "u", "", "code", FREE, on_fail },
            { "Hold", "", "u", "answer", FREE, on_hold },
            { "Path", "", "sss", "path sender row", FREE, on_path },
            { "Count", "h", "u", "fd bytes", FREE, on_count },
            { "Copy", "", "s", "text", FREE, on_copy },
            { "WrongCopy", "", "u", "number", FREE, on_copy },
            { "Nothing", "", "", "", FREE, on_nothing },
            { "Wrong", "", "s", "text", FREE, on_wrong_reply },
            { NULL },
        },
    .properties =
        (const struct object_property[]){
            { "Path", "s", get_path, true },
            { "Answer", "u", get_answer, false },
            { NULL },
        },
    .signals =
        (const struct object_signal[]){
            { "Changed", "us", "number text" },
            { NULL },
        },
};

static const struct object_interface other = {
    .name = OTHER,
    .properties =
        (const struct object_property[]){
            { "Answer", "u", get_answer, false },
            { NULL },
        },
};

static const struct object_interface *const root_interfaces[] = { &demo, &other, NULL };
static const struct object_interface *const slot_interfaces[] = { &demo, NULL };

static void
permit(struct object_request *request, int access, void *user)
{
    struct fixture *fixture = user;
    g_autoptr(GError) error = NULL;
    if (access == FREE) {
        object_enter(request);
    } else if (access == LATER) {
        fixture->asked = request;
    } else {
        error_set(&error, ERROR_NOT_AUTHORIZED, "not for you");
        object_fail(request, error);
    }
}

static bool
exists(const char *path, void *user, GError **error)
{
    if (!g_str_has_suffix(path, "/7"))
        return true;
    error_set(error, ERROR_NO_SUCH_SLOT, "there is no slot 7");
    return false;
}

static char **
children(const char *path, void *user)
{
    static const char *const names[] = { "0", "3", NULL };
    g_assert_cmpstr(path, ==, NAMES_SLOTS);
    return g_strdupv((char **)names);
}

static const struct object_hooks hooks = { .permit = permit, .exists = exists, .children = children };
static const struct object_hooks no_hooks = { 0 };

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    fixture->bus = private_bus_start();
    fixture->service = private_bus_connect(fixture->bus);
    fixture->client = private_bus_connect(fixture->bus);
    fixture->name = dbus_bus_get_unique_name(fixture->service);
    fixture->root = object_add(fixture->service, NAMES_ROOT, false, root_interfaces, &no_hooks, fixture, &error);
    g_assert_no_error(error);
    fixture->slots = object_add(fixture->service, NAMES_SLOTS, true, slot_interfaces, &hooks, fixture, &error);
    g_assert_no_error(error);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    object_remove(fixture->slots);
    object_remove(fixture->root);
    loop_close(fixture->client);
    loop_close(fixture->service);
    private_bus_stop(fixture->bus);
    g_free(fixture->signal_path);
    g_clear_pointer(&fixture->answer, dbus_message_unref);
}

/* ---- asking ---- */

static DBusMessage *
new_message(struct fixture *fixture, const char *path, const char *interface, const char *member, int type, ...)
{
    va_list args;
    DBusMessage *message = dbus_message_new_method_call(fixture->name, path, interface, member);
    va_start(args, type);
    g_assert_true(dbus_message_append_args_valist(message, type, args));
    va_end(args);
    return message;
}

/* Sends message (taken) and expects the raw error name. */
static void
expect_error(struct fixture *fixture, DBusMessage *message, const char *name, const char *part)
{
    DBusMessage *answer = NULL;
    dbus_uint32_t serial = 0;
    DBusPendingCall *pending = NULL;
    g_assert_true(dbus_connection_send_with_reply(fixture->client, message, &pending, 10000));
    serial = dbus_message_get_serial(message);
    g_assert_cmpuint(serial, !=, 0);
    while (!dbus_pending_call_get_completed(pending))
        g_main_context_iteration(NULL, TRUE);
    answer = dbus_pending_call_steal_reply(pending);
    const char *text = "";
    dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    g_assert_cmpstr(dbus_message_get_error_name(answer), ==, name);
    if (!strstr(text, part))
        g_error("\"%s\" does not say \"%s\"", text, part);
    dbus_message_unref(answer);
    dbus_message_unref(message);
    dbus_pending_call_unref(pending);
}

static DBusMessage *
expect_reply(struct fixture *fixture, DBusMessage *message, const char *signature)
{
    g_autoptr(GError) error = NULL;
    DBusMessage *reply = private_bus_call(fixture->client, message, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(dbus_message_get_signature(reply), ==, signature);
    return reply;
}

static void
expect_echo(struct fixture *fixture)
{
    const char *text = "hello", *same = NULL;
    g_autoptr(dbus_message_auto) reply = expect_reply(
        fixture, new_message(fixture, NAMES_ROOT, DEMO, "Echo", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID), "s");
    dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &same, DBUS_TYPE_INVALID);
    g_assert_cmpstr(same, ==, text);
}

/* ---- failures first ---- */

static void
test_wrong_arguments(struct fixture *fixture, gconstpointer unused)
{
    dbus_uint32_t number = 5;
    const char *invalid = NAMES_ERROR_PREFIX "InvalidArgument", *text = "x";
    expect_error(fixture, new_message(fixture, NAMES_ROOT, DEMO, "Echo", DBUS_TYPE_INVALID), invalid, "\"s\"");
    expect_error(fixture, new_message(fixture, NAMES_ROOT, DEMO, "Echo", DBUS_TYPE_UINT32, &number, DBUS_TYPE_INVALID),
                 invalid, "signature \"s\", not \"u\"");
    expect_error(fixture,
                 new_message(fixture, NAMES_ROOT, DEMO, "Echo", DBUS_TYPE_STRING, &text, DBUS_TYPE_STRING, &text,
                             DBUS_TYPE_INVALID),
                 invalid, "Echo takes");
    expect_error(fixture,
                 new_message(fixture, NAMES_ROOT, DEMO, "Echo", DBUS_TYPE_UNIX_FD, &(int){ 0 }, DBUS_TYPE_INVALID),
                 invalid, "Echo takes no file descriptor");
    expect_error(
        fixture,
        new_message(fixture, NAMES_ROOT, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID),
        invalid, "\"ss\"");
    g_assert_cmpint(fixture->entered, ==, 0);
    expect_echo(fixture);
}

static void
test_unknown(struct fixture *fixture, gconstpointer unused)
{
    const char *nothing = "org.hubkey.Nothing", *demo_name = DEMO, *no_name = "Missing";
    expect_error(fixture, new_message(fixture, NAMES_ROOT, DEMO, "Missing", DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_METHOD, "Missing");
    expect_error(fixture, new_message(fixture, NAMES_ROOT, NULL, "Missing", DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_METHOD, "Missing");
    expect_error(fixture, new_message(fixture, NAMES_ROOT, nothing, "Echo", DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_INTERFACE, nothing);
    expect_error(fixture,
                 new_message(fixture, NAMES_ROOT, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &demo_name,
                             DBUS_TYPE_STRING, &no_name, DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_PROPERTY, "Missing");
    expect_error(fixture,
                 new_message(fixture, NAMES_ROOT, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &nothing,
                             DBUS_TYPE_STRING, &no_name, DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_INTERFACE, nothing);
    expect_error(fixture,
                 new_message(fixture, NAMES_ROOT, DBUS_INTERFACE_PROPERTIES, "GetAll", DBUS_TYPE_STRING, &nothing,
                             DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_INTERFACE, nothing);
    /* The place where slots hang is no slot. */
    expect_error(fixture, new_message(fixture, NAMES_SLOTS, DEMO, "Nothing", DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_INTERFACE, NAMES_SLOTS);
    expect_error(fixture,
                 new_message(fixture, NAMES_SLOTS, DBUS_INTERFACE_PROPERTIES, "GetAll", DBUS_TYPE_STRING, &demo_name,
                             DBUS_TYPE_INVALID),
                 DBUS_ERROR_UNKNOWN_INTERFACE, NAMES_SLOTS);
    g_assert_cmpint(fixture->entered, ==, 0);
}

static void
test_every_error(struct fixture *fixture, gconstpointer unused)
{
    for (dbus_uint32_t code = ERROR_INVALID_ARGUMENT; code <= ERROR_INTERNAL; code++) {
        g_autofree char *name = g_strconcat(NAMES_ERROR_PREFIX, error_name((int)code), NULL);
        g_autofree char *text = g_strdup_printf("code %u", code);
        expect_error(fixture,
                     new_message(fixture, NAMES_ROOT, DEMO, "Fail", DBUS_TYPE_UINT32, &code, DBUS_TYPE_INVALID), name,
                     text);
    }
    dbus_uint32_t foreign = 999;
    expect_error(fixture, new_message(fixture, NAMES_ROOT, DEMO, "Fail", DBUS_TYPE_UINT32, &foreign, DBUS_TYPE_INVALID),
                 NAMES_ERROR_PREFIX "Internal", "UTF-8");
    expect_echo(fixture); /* the bus did not throw us out */
}

/* Who may not is told so before anything about the arguments. */
static void
test_permit(struct fixture *fixture, gconstpointer unused)
{
    const char *text = "x";
    const char *slot = NAMES_SLOTS "/0", *denied = NAMES_ERROR_PREFIX "NotAuthorized";
    expect_error(fixture, new_message(fixture, slot, DEMO, "Guarded", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID),
                 denied, "not for you");
    expect_error(fixture, new_message(fixture, slot, DEMO, "Guarded", DBUS_TYPE_INVALID), denied, "not for you");
    g_assert_cmpint(fixture->entered, ==, 0);
    /* Without a hook everything may. */
    g_autoptr(dbus_message_auto) reply = expect_reply(
        fixture, new_message(fixture, NAMES_ROOT, DEMO, "Guarded", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID), "s");
}

static bool
was_asked(void *user)
{
    return ((struct fixture *)user)->asked != NULL;
}

static bool
is_held(void *user)
{
    return ((struct fixture *)user)->held != NULL;
}

struct outcome {
    bool done;
    int code;
};

static void
on_outcome(DBusMessage *reply, const GError *error, void *user)
{
    struct outcome *outcome = user;
    outcome->done = true;
    outcome->code = error ? error->code : 0;
}

static bool
has_outcome(void *user)
{
    return ((struct outcome *)user)->done;
}

static void
test_permit_later(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    const char *text = "x";
    struct outcome outcome = { 0 };
    g_autoptr(dbus_message_auto)
        message = new_message(fixture, NAMES_SLOTS "/0", DEMO, "Later", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    g_assert_nonnull(call_send(fixture->client, message, 10000, on_outcome, &outcome, &error));
    g_assert_true(await(was_asked, fixture));
    expect_echo(fixture);
    g_assert_false(outcome.done);
    object_enter(fixture->asked);
    g_assert_true(await(has_outcome, &outcome));
    g_assert_cmpint(outcome.code, ==, 0);

    /* Wrong arguments are found out then, too. */
    fixture->asked = NULL;
    outcome = (struct outcome){ 0 };
    g_autoptr(dbus_message_auto) wrong = new_message(fixture, NAMES_SLOTS "/0", DEMO, "Later", DBUS_TYPE_INVALID);
    g_assert_nonnull(call_send(fixture->client, wrong, 10000, on_outcome, &outcome, &error));
    g_assert_true(await(was_asked, fixture));
    object_enter(fixture->asked);
    g_assert_true(await(has_outcome, &outcome));
    g_assert_cmpint(outcome.code, ==, ERROR_INVALID_ARGUMENT);
}

static void
on_left(const char *name, void *user)
{
    struct fixture *fixture = user;
    fixture->left++;
}

static bool
has_left(void *user)
{
    return ((struct fixture *)user)->left > 0;
}

static void
test_caller_leaves(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct caller_cache *cache = caller_cache_new(fixture->service, on_left, fixture, &error);
    DBusConnection *passing = private_bus_connect(fixture->bus);
    g_autoptr(dbus_message_auto) message = new_message(fixture, NAMES_ROOT, DEMO, "Hold", DBUS_TYPE_INVALID);
    dbus_connection_send(passing, message, NULL);
    g_assert_true(await(is_held, fixture));
    loop_close(passing);
    g_assert_true(await(has_left, fixture));
    dbus_uint32_t answer = 1;
    object_reply(fixture->held, DBUS_TYPE_UINT32, &answer, DBUS_TYPE_INVALID);
    expect_echo(fixture);
    caller_cache_free(cache);
}

static void
test_removed_object(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    const char *text = "x";
    struct outcome held = { 0 }, asked = { 0 };
    g_autoptr(dbus_message_auto) hold = new_message(fixture, NAMES_SLOTS "/0", DEMO, "Hold", DBUS_TYPE_INVALID);
    g_autoptr(dbus_message_auto)
        later = new_message(fixture, NAMES_SLOTS "/0", DEMO, "Later", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    g_assert_nonnull(call_send(fixture->client, hold, 10000, on_outcome, &held, &error));
    g_assert_nonnull(call_send(fixture->client, later, 10000, on_outcome, &asked, &error));
    g_assert_true(await(was_asked, fixture));
    object_remove(fixture->slots);
    fixture->slots = NULL;
    dbus_uint32_t answer = 1;
    object_reply(fixture->held, DBUS_TYPE_UINT32, &answer, DBUS_TYPE_INVALID);
    object_enter(fixture->asked);
    g_assert_true(await(has_outcome, &asked));
    g_assert_true(held.done);
    g_assert_cmpint(held.code, ==, 0);
    g_assert_cmpint(asked.code, ==, ERROR_BUSY);
    g_assert_cmpint(fixture->entered, ==, 0);
}

static void
test_occupied_path(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(object_add(fixture->service, NAMES_ROOT, false, root_interfaces, NULL, fixture, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    object_remove(NULL);
}

static void
test_no_reply_wanted(struct fixture *fixture, gconstpointer unused)
{
    const char *members[] = { "Nothing", "Missing", "Fail", "Copy" };
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        g_autoptr(dbus_message_auto) message = new_message(fixture, NAMES_ROOT, DEMO, members[i], DBUS_TYPE_INVALID);
        dbus_message_set_no_reply(message, TRUE);
        dbus_connection_send(fixture->client, message, NULL);
    }
    expect_echo(fixture);
    g_assert_cmpint(fixture->entered, ==, 3);
}

static void
test_wrong_reply(struct fixture *fixture, gconstpointer unused)
{
    int before = criticals;
    expect_error(fixture, new_message(fixture, NAMES_ROOT, DEMO, "Wrong", DBUS_TYPE_INVALID),
                 NAMES_ERROR_PREFIX "Internal", "Wrong");
    expect_error(fixture, new_message(fixture, NAMES_ROOT, DEMO, "WrongCopy", DBUS_TYPE_INVALID),
                 NAMES_ERROR_PREFIX "Internal", "WrongCopy");
    g_assert_cmpint(criticals, ==, before + 2);
}

static bool
hold_is_over(void *user)
{
    return ((struct outcome *)user)->done;
}

static void
test_bus_dies(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct outcome outcome = { 0 };
    g_autoptr(dbus_message_auto) hold = new_message(fixture, NAMES_ROOT, DEMO, "Hold", DBUS_TYPE_INVALID);
    g_assert_nonnull(call_send(fixture->client, hold, 60000, on_outcome, &outcome, &error));
    g_assert_true(await(is_held, fixture));
    private_bus_kill(fixture->bus);
    g_assert_true(await(hold_is_over, &outcome));
    g_assert_cmpint(outcome.code, ==, ERROR_UNREACHABLE);
    dbus_uint32_t answer = 1;
    object_reply(fixture->held, DBUS_TYPE_UINT32, &answer, DBUS_TYPE_INVALID);
    object_signal(fixture->root, NAMES_ROOT, DEMO, "Changed", DBUS_TYPE_UINT32, &answer, DBUS_TYPE_STRING,
                  &(const char *){ "x" }, DBUS_TYPE_INVALID);
}

/* ---- what works ---- */

static void
test_calls(struct fixture *fixture, gconstpointer unused)
{
    const char *path = NULL, *sender = NULL, *row = NULL, *text = "x";
    expect_echo(fixture);
    g_autoptr(dbus_message_auto) reply = expect_reply(
        fixture, new_message(fixture, NAMES_SLOTS "/65535", DEMO, "Path", DBUS_TYPE_INVALID), "sss");
    dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &path, DBUS_TYPE_STRING, &sender, DBUS_TYPE_STRING, &row,
                          DBUS_TYPE_INVALID);
    g_assert_cmpstr(path, ==, NAMES_SLOTS "/65535");
    g_assert_cmpstr(sender, ==, dbus_bus_get_unique_name(fixture->client));
    g_assert_cmpstr(row, ==, "Path");

    g_autoptr(dbus_message_auto) bare = expect_reply(
        fixture, new_message(fixture, NAMES_ROOT, NULL, "Echo", DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID), "s");
    g_autoptr(dbus_message_auto) ping = expect_reply(
        fixture, new_message(fixture, NAMES_SLOTS, DBUS_INTERFACE_PEER, "Ping", DBUS_TYPE_INVALID), "");
}

static void
test_descriptor(struct fixture *fixture, gconstpointer unused)
{
    int ends[2];
    dbus_uint32_t n = 0;
    g_assert_cmpint(pipe(ends), ==, 0);
    g_assert_cmpint(write(ends[1], "12345", 5), ==, 5);
    close(ends[1]);
    g_autoptr(dbus_message_auto) reply = expect_reply(
        fixture, new_message(fixture, NAMES_ROOT, DEMO, "Count", DBUS_TYPE_UNIX_FD, &ends[0], DBUS_TYPE_INVALID), "u");
    close(ends[0]);
    dbus_message_get_args(reply, NULL, DBUS_TYPE_UINT32, &n, DBUS_TYPE_INVALID);
    g_assert_cmpuint(n, ==, 5);
}

static DBusMessage *
property_message(struct fixture *fixture, const char *path, const char *interface, const char *name)
{
    return new_message(fixture, path, DBUS_INTERFACE_PROPERTIES, "Get", DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING,
                       &name, DBUS_TYPE_INVALID);
}

/* The variant in reply; unrefs it. */
static dbus_uint32_t
take_u32(DBusMessage *reply)
{
    DBusMessageIter iter, variant;
    dbus_uint32_t value = 0;
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &variant);
    g_assert_cmpint(dbus_message_iter_get_arg_type(&variant), ==, DBUS_TYPE_UINT32);
    dbus_message_iter_get_basic(&variant, &value);
    dbus_message_unref(reply);
    return value;
}

static int
count_entries(struct fixture *fixture, const char *path, const char *interface)
{
    DBusMessageIter iter, dict;
    int n = 0;
    g_autoptr(dbus_message_auto) reply = expect_reply(fixture,
                                                      new_message(fixture, path, DBUS_INTERFACE_PROPERTIES, "GetAll",
                                                                  DBUS_TYPE_STRING, &interface, DBUS_TYPE_INVALID),
                                                      "a{sv}");
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &dict);
    for (; dbus_message_iter_get_arg_type(&dict) == DBUS_TYPE_DICT_ENTRY; dbus_message_iter_next(&dict))
        n++;
    return n;
}

static void
test_properties(struct fixture *fixture, gconstpointer unused)
{
    const char *interface = DEMO, *empty = "";
    expect_error(fixture, property_message(fixture, NAMES_SLOTS "/7", DEMO, "Answer"), NAMES_ERROR_PREFIX "NoSuchSlot",
                 "slot 7");
    expect_error(fixture,
                 new_message(fixture, NAMES_SLOTS "/7", DBUS_INTERFACE_PROPERTIES, "GetAll", DBUS_TYPE_STRING,
                             &interface, DBUS_TYPE_INVALID),
                 NAMES_ERROR_PREFIX "NoSuchSlot", "slot 7");
    g_assert_cmpuint(take_u32(expect_reply(fixture, property_message(fixture, NAMES_ROOT, DEMO, "Answer"), "v")), ==,
                     42);
    g_assert_cmpuint(take_u32(expect_reply(fixture, property_message(fixture, NAMES_ROOT, "", "Answer"), "v")), ==, 42);
    g_assert_cmpint(count_entries(fixture, NAMES_ROOT, DEMO), ==, 2);
    g_assert_cmpint(count_entries(fixture, NAMES_ROOT, OTHER), ==, 1);
    g_assert_cmpint(count_entries(fixture, NAMES_ROOT, empty), ==, 3);
    g_assert_cmpint(count_entries(fixture, NAMES_ROOT, DBUS_INTERFACE_PEER), ==, 0);
    g_assert_cmpint(count_entries(fixture, NAMES_SLOTS "/3", DEMO), ==, 2);
}

static void
set_property(struct fixture *fixture, const char *name, const char *error)
{
    DBusMessageIter iter, variant;
    const char *interface = DEMO;
    dbus_uint32_t value = 1;
    DBusMessage *message = dbus_message_new_method_call(fixture->name, NAMES_ROOT, DBUS_INTERFACE_PROPERTIES, "Set");
    dbus_message_iter_init_append(message, &iter);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &interface);
    dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &name);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_VARIANT, "u", &variant);
    dbus_message_iter_append_basic(&variant, DBUS_TYPE_UINT32, &value);
    dbus_message_iter_close_container(&iter, &variant);
    expect_error(fixture, message, error, name);
}

static void
test_set(struct fixture *fixture, gconstpointer unused)
{
    set_property(fixture, "Answer", DBUS_ERROR_PROPERTY_READ_ONLY);
    set_property(fixture, "Missing", DBUS_ERROR_UNKNOWN_PROPERTY);
}

static char *
introspect(struct fixture *fixture, const char *path)
{
    const char *xml = NULL;
    g_autoptr(dbus_message_auto) reply = expect_reply(
        fixture, new_message(fixture, path, DBUS_INTERFACE_INTROSPECTABLE, "Introspect", DBUS_TYPE_INVALID), "s");
    dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &xml, DBUS_TYPE_INVALID);
    return g_strdup(xml);
}

static void
test_introspect(struct fixture *fixture, gconstpointer unused)
{
    static const char *const expected[] = {
        "  <interface name=\"" DEMO "\">\n    <method name=\"Echo\">\n"
        "      <arg name=\"text\" type=\"s\" direction=\"in\"/>\n      <arg name=\"same\" type=\"s\" "
        "direction=\"out\"/>\n",
        "    <method name=\"Nothing\"/>\n",
        "      <arg name=\"path\" type=\"s\" direction=\"out\"/>\n      <arg name=\"sender\" type=\"s\" "
        "direction=\"out\"/>\n",
        "    <property name=\"Path\" type=\"s\" access=\"read\">\n"
        "      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\"/>\n",
        "      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"invalidates\"/>\n",
        "    <signal name=\"Changed\">\n      <arg name=\"number\" type=\"u\"/>\n      <arg name=\"text\" "
        "type=\"s\"/>\n",
        "org.freedesktop.DBus.Peer",
    };
    g_autofree char *slot = introspect(fixture, NAMES_SLOTS "/3");
    g_autofree char *tables = object_introspect(slot_interfaces);
    g_assert_cmpstr(slot, ==, tables);
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
        if (!strstr(slot, expected[i]))
            g_error("missing: %s", expected[i]);

    g_autofree char *root = introspect(fixture, NAMES_ROOT);
    g_assert_nonnull(strstr(root, OTHER));
    g_assert_nonnull(strstr(root, "  <node name=\"slot\"/>\n</node>\n"));
    g_autofree char *slots = introspect(fixture, NAMES_SLOTS);
    g_assert_null(strstr(slots, DEMO));
    g_assert_null(strstr(slots, DBUS_INTERFACE_PROPERTIES));
    g_assert_nonnull(strstr(slots, "  <node name=\"0\"/>\n  <node name=\"3\"/>\n</node>\n"));
    g_autofree char *top = introspect(fixture, "/");
    g_assert_nonnull(strstr(top, "\"org\""));
}

static DBusHandlerResult
on_signal(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct fixture *fixture = user;
    if (dbus_message_is_signal(message, DEMO, "Changed"))
        g_assert_true(dbus_message_has_signature(message, "us"));
    else if (dbus_message_is_signal(message, DBUS_INTERFACE_PROPERTIES, "PropertiesChanged"))
        g_assert_true(dbus_message_has_signature(message, "sa{sv}as"));
    else
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    g_free(fixture->signal_path);
    fixture->signal_path = g_strdup(dbus_message_get_path(message));
    fixture->signals++;
    return DBUS_HANDLER_RESULT_HANDLED;
}

static bool
two_signals(void *user)
{
    return ((struct fixture *)user)->signals == 2;
}

static void
test_signals(struct fixture *fixture, gconstpointer unused)
{
    static const char *const names[] = { "Answer", NULL };
    dbus_uint32_t number = 7;
    const char *text = "x";
    dbus_bus_add_match(fixture->client, "type='signal'", NULL);
    expect_echo(fixture); /* by then the bus has the match */
    dbus_connection_add_filter(fixture->client, on_signal, fixture, NULL);
    object_signal(fixture->slots, NAMES_SLOTS "/3", DEMO, "Changed", DBUS_TYPE_UINT32, &number, DBUS_TYPE_STRING, &text,
                  DBUS_TYPE_INVALID);
    object_changed(fixture->slots, NAMES_SLOTS "/3", DEMO, names);
    g_assert_true(await(two_signals, fixture));
    g_assert_cmpstr(fixture->signal_path, ==, NAMES_SLOTS "/3");

    /* What no row has is never sent. */
    int before = criticals;
    object_signal(fixture->slots, NAMES_SLOTS "/3", DEMO, "Missing", DBUS_TYPE_INVALID);
    object_signal(fixture->slots, NAMES_SLOTS "/3", DEMO, "Changed", DBUS_TYPE_UINT32, &number, DBUS_TYPE_INVALID);
    g_assert_cmpint(criticals, ==, before + 2);
    expect_echo(fixture);
    g_assert_cmpint(fixture->signals, ==, 2);
    dbus_connection_remove_filter(fixture->client, on_signal, fixture);
}

static void
test_copies(struct fixture *fixture, gconstpointer unused)
{
    for (int i = 0; i < 3; i++) {
        const char *text = NULL;
        g_autoptr(dbus_message_auto) reply =
            expect_reply(fixture, new_message(fixture, NAMES_ROOT, DEMO, "Copy", DBUS_TYPE_INVALID), "s");
        dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
        g_assert_cmpstr(text, ==, "one for all");
        g_assert_cmpstr(dbus_message_get_destination(reply), ==, dbus_bus_get_unique_name(fixture->client));
        expect_echo(fixture); /* whose answer is another one */
    }
}

struct flood {
    struct fixture *fixture;
    int sent, answered;
};

static void send_next(struct flood *flood);

static void
on_flood_answer(DBusMessage *reply, const GError *error, void *user)
{
    struct flood *flood = user;
    g_assert_no_error(error);
    flood->answered++;
    send_next(flood);
}

static void
send_next(struct flood *flood)
{
    if (flood->sent == 10000)
        return;
    g_autofree char *path = g_strdup_printf(NAMES_SLOTS "/%d", flood->sent++);
    g_autoptr(dbus_message_auto) message = new_message(flood->fixture, path, DEMO, "Nothing", DBUS_TYPE_INVALID);
    g_assert_nonnull(call_send(flood->fixture->client, message, 60000, on_flood_answer, flood, NULL));
}

static bool
flood_is_over(void *user)
{
    return ((struct flood *)user)->answered == 10000;
}

/* 10 000 calls, 100 of them under way at any time: more than a turn of the loop hands out. */
static void
test_many(struct fixture *fixture, gconstpointer unused)
{
    struct flood flood = { .fixture = fixture };
    for (int i = 0; i < 100; i++)
        send_next(&flood);
    g_assert_true(await(flood_is_over, &flood));
    g_assert_cmpint(fixture->entered, ==, 10000);
}

static GLogWriterOutput
on_log(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer user)
{
    if (level & G_LOG_LEVEL_CRITICAL) {
        criticals++;
        return G_LOG_WRITER_HANDLED;
    }
    return g_log_writer_default(level, fields, n, user);
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_writer_func(on_log, NULL, NULL);
    ADD("/object/wrong-arguments", test_wrong_arguments);
    ADD("/object/unknown", test_unknown);
    ADD("/object/every-error", test_every_error);
    ADD("/object/permit", test_permit);
    ADD("/object/permit-later", test_permit_later);
    ADD("/object/caller-leaves", test_caller_leaves);
    ADD("/object/removed", test_removed_object);
    ADD("/object/occupied-path", test_occupied_path);
    ADD("/object/no-reply-wanted", test_no_reply_wanted);
    ADD("/object/wrong-reply", test_wrong_reply);
    ADD("/object/bus-dies", test_bus_dies);
    ADD("/object/calls", test_calls);
    ADD("/object/copies", test_copies);
    ADD("/object/descriptor", test_descriptor);
    ADD("/object/properties", test_properties);
    ADD("/object/set", test_set);
    ADD("/object/introspect", test_introspect);
    ADD("/object/signals", test_signals);
    ADD("/object/many", test_many);
    int failed = g_test_run();
    dbus_shutdown();
    return failed;
}
