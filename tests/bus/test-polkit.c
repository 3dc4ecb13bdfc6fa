/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/polkit.c and daemon/admin.c against a polkit of our own that answers as told; the real one is asked in
 * tests/system/test-polkit.py.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/admin.h"
#include "daemon/api.h"
#include "daemon/api-manager.h"
#include "daemon/api-slot.h"
#include "daemon/polkit.h"
#include "dbus/caller.h"
#include "dbus/loop.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"
#include "tests/lib/private-bus.h"

#include <string.h>
#include <sys/types.h>

#define NAME "org.freedesktop.PolicyKit1"
#define SOMEBODY 1234
#define SHORT_MS 200 /* a person's time in tests */

/* What our polkit was asked, and how it answers. */
struct fixture {
    struct private_bus *bus;
    DBusConnection *authority, *connection;
    struct polkit *polkit;
    const char *reply; /* "yes", "no", "challenge", "nonsense", "error"; NULL: none */
    char *asked;       /* "KIND NAME ACTION FLAGS ID" of the last question */
    char *cancelled;   /* the ID */
    int n_asked, n_cancelled;
    int answers[POLKIT_GONE + 1];
    int n_answers;
};

/* ---- the authority ---- */

/* " NAME=VALUE" of each. */
static char *
read_details(DBusMessageIter *iter)
{
    DBusMessageIter entries, entry;
    GString *text = g_string_new(NULL);
    for (dbus_message_iter_recurse(iter, &entries); dbus_message_iter_get_arg_type(&entries) == DBUS_TYPE_DICT_ENTRY;
         dbus_message_iter_next(&entries)) {
        const char *name, *value;
        dbus_message_iter_recurse(&entries, &entry);
        dbus_message_iter_get_basic(&entry, &name);
        dbus_message_iter_next(&entry);
        dbus_message_iter_get_basic(&entry, &value);
        g_string_append_printf(text, " %s=%s", name, value);
    }
    return g_string_free(text, FALSE);
}

static void
note_question(struct fixture *fixture, DBusMessage *message)
{
    DBusMessageIter iter, subject, entries, entry, value;
    const char *kind, *key, *name, *action, *id;
    dbus_uint32_t flags;
    g_assert_cmpstr(dbus_message_get_signature(message), ==, "(sa{sv})sa{ss}us");
    dbus_message_iter_init(message, &iter);
    dbus_message_iter_recurse(&iter, &subject);
    dbus_message_iter_get_basic(&subject, &kind);
    dbus_message_iter_next(&subject);
    dbus_message_iter_recurse(&subject, &entries);
    dbus_message_iter_recurse(&entries, &entry);
    dbus_message_iter_get_basic(&entry, &key);
    g_assert_cmpstr(key, ==, "name");
    dbus_message_iter_next(&entry);
    dbus_message_iter_recurse(&entry, &value);
    dbus_message_iter_get_basic(&value, &name);
    g_assert_false(dbus_message_iter_next(&entries)); /* nothing beside the name: no process ID above all */
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &action);
    dbus_message_iter_next(&iter);
    g_autofree char *details = read_details(&iter);
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &flags);
    dbus_message_iter_next(&iter);
    dbus_message_iter_get_basic(&iter, &id);
    g_free(fixture->asked);
    fixture->asked = g_strdup_printf("%s %s %s%s %u %s", kind, name, action, details, flags, id);
    fixture->n_asked++;
}

static void
reply_result(struct fixture *fixture, DBusMessage *message)
{
    dbus_bool_t yes = strcmp(fixture->reply, "yes") == 0, challenge = strcmp(fixture->reply, "challenge") == 0;
    DBusMessageIter iter, result, details;
    DBusMessage *reply = dbus_message_new_method_return(message);
    dbus_message_iter_init_append(reply, &iter);
    dbus_message_iter_open_container(&iter, DBUS_TYPE_STRUCT, NULL, &result);
    dbus_message_iter_append_basic(&result, DBUS_TYPE_BOOLEAN, &yes);
    dbus_message_iter_append_basic(&result, DBUS_TYPE_BOOLEAN, &challenge);
    dbus_message_iter_open_container(&result, DBUS_TYPE_ARRAY, "{ss}", &details);
    dbus_message_iter_close_container(&result, &details);
    dbus_message_iter_close_container(&iter, &result);
    dbus_connection_send(fixture->authority, reply, NULL);
    dbus_message_unref(reply);
}

static void
answer_question(struct fixture *fixture, DBusMessage *message)
{
    g_autoptr(dbus_message_auto) other = NULL;
    if (!fixture->reply)
        return;
    if (strcmp(fixture->reply, "nonsense") == 0)
        other = dbus_message_new_method_return(message);
    else if (strcmp(fixture->reply, "error") == 0)
        other = dbus_message_new_error(message, NAME ".Error.NotAuthorized", "only trusted callers may ask");
    if (other)
        dbus_connection_send(fixture->authority, other, NULL);
    else
        reply_result(fixture, message);
}

static DBusHandlerResult
on_message(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct fixture *fixture = user;
    const char *id;
    if (dbus_message_is_method_call(message, NAME ".Authority", "CheckAuthorization")) {
        note_question(fixture, message);
        answer_question(fixture, message);
    } else if (dbus_message_is_method_call(message, NAME ".Authority", "CancelCheckAuthorization")) {
        g_assert_true(dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &id, DBUS_TYPE_INVALID));
        g_free(fixture->cancelled);
        fixture->cancelled = g_strdup(id);
        fixture->n_cancelled++;
    } else {
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    }
    return DBUS_HANDLER_RESULT_HANDLED;
}

static void
set_up(struct fixture *fixture, gconstpointer no_authority)
{
    fixture->bus = private_bus_start();
    fixture->connection = private_bus_connect(fixture->bus);
    fixture->authority = private_bus_connect(fixture->bus);
    dbus_connection_add_filter(fixture->authority, on_message, fixture, NULL);
    if (!no_authority)
        g_assert_cmpint(dbus_bus_request_name(fixture->authority, NAME, 0, NULL), ==,
                        DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER);
    fixture->polkit = polkit_new(fixture->connection, POLKIT_PERSON_LIMIT_MS);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    polkit_free(fixture->polkit);
    dbus_connection_remove_filter(fixture->authority, on_message, fixture);
    loop_close(fixture->authority);
    loop_close(fixture->connection);
    private_bus_stop(fixture->bus);
    g_free(fixture->asked);
    g_free(fixture->cancelled);
}

/* ---- asking ---- */

static void
on_answer(enum polkit_answer answer, void *user)
{
    struct fixture *fixture = user;
    fixture->answers[answer]++;
    fixture->n_answers++;
}

static void
ask(struct fixture *fixture, const char *caller, uid_t uid, bool interactive)
{
    static const char *const details[] = { "method", "Clear", "slot", "5", NULL };
    polkit_ask(fixture->polkit, caller, uid, "org.hubkey.clear", details, interactive, on_answer, fixture);
}

static void
test_answers(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *reply;
        enum polkit_answer answer;
    } rows[] = {
        { "yes", POLKIT_YES },        { "no", POLKIT_NO },       { "challenge", POLKIT_PASSWORD },
        { "nonsense", POLKIT_ERROR }, { "error", POLKIT_ERROR },
    };
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        fixture->reply = rows[i].reply;
        memset(fixture->answers, 0, sizeof fixture->answers);
        ask(fixture, ":1.77", SOMEBODY, i % 2);
        g_assert_true(await_count(&fixture->n_answers, (int)i + 1));
        g_assert_cmpint(fixture->answers[rows[i].answer], ==, 1);
        g_autofree char *wanted = g_strdup_printf(
            "system-bus-name :1.77 org.hubkey.clear method=Clear slot=5 %zu hubkey-%zu", i % 2, i + 1);
        g_assert_cmpstr(fixture->asked, ==, wanted);
    }
}

static void
test_absent(struct fixture *fixture, gconstpointer unused)
{
    ask(fixture, ":1.77", SOMEBODY, false);
    g_assert_true(await_count(&fixture->answers[POLKIT_ABSENT], 1));
}

/* polkit that hangs: the answer comes all the same, and the question is taken back. */
static void
test_silent(struct fixture *fixture, gconstpointer unused)
{
    gint64 start = g_get_monotonic_time();
    ask(fixture, ":1.77", SOMEBODY, false);
    g_assert_true(await_count(&fixture->answers[POLKIT_ABSENT], 1));
    g_assert_cmpint((g_get_monotonic_time() - start) / 1000, >=, POLKIT_LIMIT_MS - 100);
    g_assert_true(await_count(&fixture->n_cancelled, 1));
    g_assert_cmpstr(fixture->cancelled, ==, "hubkey-1");
}

/* A dialog that nobody answers: told apart from polkit that hangs, or is not there, or ends meanwhile. */
static void
test_unanswered(struct fixture *fixture, gconstpointer unused)
{
    polkit_free(fixture->polkit);
    fixture->polkit = polkit_new(fixture->connection, SHORT_MS);
    ask(fixture, ":1.77", SOMEBODY, true);
    g_assert_true(await_count(&fixture->n_answers, 1));
    g_assert_cmpint(fixture->answers[POLKIT_UNANSWERED], ==, 1);
    g_assert_true(await_count(&fixture->n_cancelled, 1));
    g_assert_cmpstr(fixture->cancelled, ==, "hubkey-1");
}

static void
test_ending(struct fixture *fixture, gconstpointer unused)
{
    ask(fixture, ":1.77", SOMEBODY, true);
    g_assert_true(await_count(&fixture->n_asked, 1));
    dbus_connection_remove_filter(fixture->authority, on_message, fixture);
    loop_close(fixture->authority);
    g_assert_true(await_count(&fixture->n_answers, 1));
    g_assert_cmpint(fixture->answers[POLKIT_ABSENT], ==, 1);
    fixture->authority = private_bus_connect(fixture->bus);
    dbus_connection_add_filter(fixture->authority, on_message, fixture, NULL);
}

static void
test_leaving(struct fixture *fixture, gconstpointer unused)
{
    ask(fixture, ":1.77", SOMEBODY, true);
    ask(fixture, ":1.78", SOMEBODY, true);
    g_assert_true(await_count(&fixture->n_asked, 2));
    polkit_forget(fixture->polkit, ":1.99");
    g_assert_cmpint(fixture->n_answers, ==, 0);
    polkit_forget(fixture->polkit, ":1.78");
    g_assert_cmpint(fixture->answers[POLKIT_GONE], ==, 1);
    g_assert_true(await_count(&fixture->n_cancelled, 1));
    g_assert_cmpstr(fixture->cancelled, ==, "hubkey-2");
    polkit_free(fixture->polkit); /* as when hubkeyd ends */
    fixture->polkit = NULL;
    g_assert_cmpint(fixture->answers[POLKIT_GONE], ==, 2);
}

static void
test_bounds(struct fixture *fixture, gconstpointer unused)
{
    for (int i = 0; i < POLKIT_QUESTIONS_OF_ONE_MAX; i++)
        ask(fixture, ":1.77", SOMEBODY, true);
    g_assert_cmpint(fixture->n_answers, ==, 0);
    ask(fixture, ":1.78", SOMEBODY, true); /* another connection of the same user */
    g_assert_cmpint(fixture->answers[POLKIT_BUSY], ==, 1);
    for (int i = POLKIT_QUESTIONS_OF_ONE_MAX; i < POLKIT_QUESTIONS_MAX; i++)
        ask(fixture, ":1.79", SOMEBODY + (uid_t)i, true);
    g_assert_cmpint(fixture->n_answers, ==, 1);
    ask(fixture, ":1.80", SOMEBODY - 1, true);
    g_assert_cmpint(fixture->answers[POLKIT_BUSY], ==, 2);
    polkit_forget(fixture->polkit, ":1.77");
    ask(fixture, ":1.78", SOMEBODY, true);
    g_assert_cmpint(fixture->answers[POLKIT_BUSY], ==, 2);
}

/* ---- the log ---- */

static GPtrArray *warnings;

static GLogWriterOutput
keep_warning(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer unused)
{
    for (gsize i = 0; (level & G_LOG_LEVEL_WARNING) && i < n; i++)
        if (strcmp(fields[i].key, "MESSAGE") == 0)
            g_ptr_array_add(warnings, g_strdup(fields[i].value));
    return g_log_writer_default(level, fields, n, NULL);
}

/* polkit that answers with errors only, and somebody who asks on and on: its words once a minute, and how often. */
static void
test_complaints(struct fixture *fixture, gconstpointer unused)
{
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    fake_clock_install();
    g_ptr_array_set_size(warnings, 0);
    for (int i = 0; i < 40; i++) {
        fixture->reply = i % 2 ? "nonsense" : "error";
        ask(fixture, ":1.77", SOMEBODY, false);
        g_assert_true(await_count(&fixture->answers[POLKIT_ERROR], i + 1));
    }
    g_assert_cmpuint(warnings->len, ==, 1);
    g_assert_nonnull(strstr(warnings->pdata[0], "only trusted callers may ask"));
    fake_clock_pass((int64_t)60 * G_USEC_PER_SEC);
    ask(fixture, ":1.77", SOMEBODY, false);
    g_assert_true(await_count(&fixture->answers[POLKIT_ERROR], 41));
    g_assert_cmpuint(warnings->len, ==, 2);
    g_assert_nonnull(strstr(warnings->pdata[1], "(and 39 times since this was last told)"));
    fake_clock_remove();
}

/* ---- decisions ---- */

struct decision {
    int n;
    char *rule, *text;
};

static void
on_decided(const GError *error, const char *rule, void *user)
{
    struct decision *decision = user;
    g_free(decision->rule);
    g_free(decision->text);
    decision->n++;
    decision->rule = g_strdup(rule);
    decision->text = g_strdup(error ? error->message : "");
    g_assert_true(!error || error->code == ERROR_NOT_AUTHORIZED);
}

static void
test_decisions(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *reply;
        uid_t uid;
        bool at_socket, socket_allowed, interactive;
        const char *rule, *words; /* "" where it is allowed */
    } rows[] = {
        { "no", 0, false, false, false, "root", "" },
        { "yes", SOMEBODY, false, false, false, "polkit", "" },
        { "no", SOMEBODY, false, false, false, "polkit",
          "does not let you do org.hubkey.rotate: run the command as root" },
        { "challenge", SOMEBODY, false, false, false, "polkit", "without an administrator's password" },
        { "error", SOMEBODY, false, false, false, "polkit", "is org.hubkey.policy installed?" },
        { NULL, SOMEBODY, false, false, true, "polkit", "nobody answered the password question" },
        { "yes", 0, true, false, false, "AdminOnSocket", "refused at the private socket" },
        { "yes", SOMEBODY, true, false, false, "AdminOnSocket", "set AdminOnSocket=yes in [hubkeyd]" },
        { "no", 0, true, true, false, "root", "" },
        { "yes", SOMEBODY, true, true, false, "not-root", "for root at the private socket" },
    };
    struct admin *admin = admin_new(fixture->connection, SHORT_MS);
    struct decision decision = { 0 };
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct caller *caller = caller_new(":1.77", rows[i].uid, NULL, 0);
        const struct admin_question question = { .caller = caller, .method = "UndoRotate",
                                                 .at_socket = rows[i].at_socket,
                                                 .socket_allowed = rows[i].socket_allowed,
                                                 .interactive = rows[i].interactive };
        fixture->reply = rows[i].reply;
        admin_ask(admin, &question, on_decided, &decision);
        g_assert_true(await_count(&decision.n, (int)i + 1));
        g_assert_cmpstr(decision.rule, ==, rows[i].rule);
        g_assert_true(rows[i].words[0] ? strstr(decision.text, rows[i].words) != NULL : decision.text[0] == '\0');
        caller_unref(caller);
    }
    g_assert_cmpint(fixture->n_asked, ==, 5); /* never about root, never about the socket */
    g_free(decision.rule);
    g_free(decision.text);
    admin_free(admin);
}

static void
test_alone(struct fixture *fixture, gconstpointer unused)
{
    struct admin *admin = admin_new(fixture->connection, SHORT_MS);
    struct decision decision = { 0 };
    struct caller *caller = caller_new(":1.77", SOMEBODY, NULL, 0);
    const struct admin_question question = { .caller = caller, .method = "UndoRotate", .interactive = true };
    admin_ask(admin, &question, on_decided, &decision);
    g_assert_true(await_count(&decision.n, 1));
    g_assert_cmpstr(decision.rule, ==, "not-root");
    g_assert_nonnull(strstr(decision.text, "UndoRotate is for root, as polkit does not answer"));
    caller_unref(caller);
    g_free(decision.rule);
    g_free(decision.text);
    admin_free(admin);
}

/* ---- actions ---- */

static void
check_rows(const struct object_interface *interface, const char *policy)
{
    for (const struct object_method *row = interface->methods; row->name; row++) {
        if (row->access != API_ADMIN)
            continue;
        g_autofree char *element = g_strdup_printf("<action id=\"%s\">", admin_action(row->name));
        if (!admin_action(row->name) || !strstr(policy, element))
            g_error("%s is for administrators, but org.hubkey.policy has no %s", row->name, element);
    }
}

static unsigned
count(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

/* Each method for administrators has its action, and each action says that hubkeyd may ask about it. */
static void
test_policy(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *policy = NULL;
    const char *top = g_getenv("HUBKEY_SRCDIR");
    g_autofree char *path = g_build_filename(top ? top : ".", "daemon/org.hubkey.policy", NULL);
    g_file_get_contents(path, &policy, NULL, &error);
    g_assert_no_error(error);
    check_rows(&api_manager_interface, policy);
    check_rows(&api_slot_interface, policy);
    g_assert_cmpuint(count(policy, "<action "), ==, 5);
    g_assert_cmpuint(count(policy, "key=\"org.freedesktop.policykit.owner\">unix-user:hubkey</annotate>"), ==, 5);
    g_assert_null(admin_action("GetToken"));
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    warnings = g_ptr_array_new_with_free_func(g_free);
    g_log_set_writer_func(keep_warning, NULL, NULL);
    ADD("/polkit/answers", test_answers);
    g_test_add("/polkit/absent", struct fixture, "", set_up, test_absent, tear_down);
    ADD("/polkit/silent", test_silent);
    ADD("/polkit/unanswered", test_unanswered);
    ADD("/polkit/ending", test_ending);
    ADD("/polkit/leaving", test_leaving);
    ADD("/polkit/bounds", test_bounds);
    ADD("/polkit/complaints", test_complaints);
    ADD("/admin/decisions", test_decisions);
    g_test_add("/admin/alone", struct fixture, "", set_up, test_alone, tear_down);
    g_test_add_func("/admin/policy", test_policy);
    int failed = g_test_run();
    g_ptr_array_free(warnings, TRUE);
    dbus_shutdown();
    return failed;
}
