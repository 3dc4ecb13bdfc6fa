/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * org.freedesktop.PolicyKit1.Authority (polkit 0.105 and later). As we are not root, polkit lets us ask about others
 * and add details only because the actions name our user in org.freedesktop.policykit.owner.
 */
#include <config.h>

#include "daemon/polkit.h"
#include "common/error.h"
#include "common/seldom.h"
#include "dbus/call.h"
#include "dbus/loop.h"

#include <string.h>

#define NAME "org.freedesktop.PolicyKit1"
#define PATH "/org/freedesktop/PolicyKit1/Authority"
#define AUTHORITY "org.freedesktop.PolicyKit1.Authority"
#define ALLOW_USER_INTERACTION 1 /* CheckAuthorizationFlags */
#define COMPLAINT_GAP_US (60 * G_USEC_PER_SEC)

struct polkit {
    DBusConnection *connection;
    GQueue questions; /* struct question */
    int person_limit_ms;
    unsigned counted; /* questions ever asked, for what they are cancelled by */
    struct seldom complaint;
};

struct question {
    GList link;
    struct polkit *polkit;
    struct call *call; /* NULL once it is over */
    char *caller;
    uid_t uid;
    char id[24];
    gint64 person_until; /* monotonic; when a person has had time enough to answer, 0 where none may be asked */
    polkit_answered_fn answered;
    void *user;
};

/* ---- messages ---- */

static DBusMessage *
new_message(const char *member)
{
    DBusMessage *message = dbus_message_new_method_call(NAME, PATH, AUTHORITY, member);
    if (!message)
        g_error("out of memory: a D-Bus message");
    return message;
}

/* A subject is (sa{sv}). */
static void
append_subject(DBusMessageIter *iter, const char *caller)
{
    const char *kind = "system-bus-name", *key = "name";
    DBusMessageIter subject, entries, entry, value;
    if (!dbus_message_iter_open_container(iter, DBUS_TYPE_STRUCT, NULL, &subject) ||
        !dbus_message_iter_append_basic(&subject, DBUS_TYPE_STRING, &kind) ||
        !dbus_message_iter_open_container(&subject, DBUS_TYPE_ARRAY, "{sv}", &entries) ||
        !dbus_message_iter_open_container(&entries, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
        !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &key) ||
        !dbus_message_iter_open_container(&entry, DBUS_TYPE_VARIANT, "s", &value) ||
        !dbus_message_iter_append_basic(&value, DBUS_TYPE_STRING, &caller) ||
        !dbus_message_iter_close_container(&entry, &value) || !dbus_message_iter_close_container(&entries, &entry) ||
        !dbus_message_iter_close_container(&subject, &entries) || !dbus_message_iter_close_container(iter, &subject))
        g_error("out of memory: a D-Bus message");
}

static void
append_details(DBusMessageIter *iter, const char *const *details)
{
    DBusMessageIter entries, entry;
    if (!dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, "{ss}", &entries))
        g_error("out of memory: a D-Bus message");
    for (; details[0]; details += 2)
        if (!dbus_message_iter_open_container(&entries, DBUS_TYPE_DICT_ENTRY, NULL, &entry) ||
            !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &details[0]) ||
            !dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &details[1]) ||
            !dbus_message_iter_close_container(&entries, &entry))
            g_error("out of memory: a D-Bus message");
    if (!dbus_message_iter_close_container(iter, &entries))
        g_error("out of memory: a D-Bus message");
}

static DBusMessage *
check_message(const struct question *question, const char *action, const char *const *details, bool interactive)
{
    dbus_uint32_t flags = interactive ? ALLOW_USER_INTERACTION : 0;
    const char *id = question->id;
    DBusMessageIter iter;
    DBusMessage *message = new_message("CheckAuthorization");
    dbus_message_iter_init_append(message, &iter);
    append_subject(&iter, question->caller);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &action))
        g_error("out of memory: a D-Bus message");
    append_details(&iter, details);
    if (!dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT32, &flags) ||
        !dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &id))
        g_error("out of memory: a D-Bus message");
    return message;
}

/* So that no dialog stays behind that nobody waits for. */
static void
cancel_at_polkit(const struct question *question)
{
    const char *id = question->id;
    g_autoptr(dbus_message_auto) message = new_message("CancelCheckAuthorization");
    if (!dbus_message_append_args(message, DBUS_TYPE_STRING, &id, DBUS_TYPE_INVALID))
        g_error("out of memory: a D-Bus message");
    dbus_message_set_no_reply(message, TRUE);
    dbus_message_set_auto_start(message, FALSE);
    dbus_connection_send(question->polkit->connection, message, NULL);
}

/* Anybody can make us ask as often as he likes, and must not fill the log with what polkit answers. */
static void
complain(struct polkit *polkit, const char *what, const char *words)
{
    unsigned missed;
    if (!seldom_due(&polkit->complaint, COMPLAINT_GAP_US, &missed))
        return;
    g_autofree char *more = g_strdup_printf(" (and %u times since this was last told)", missed);
    g_warning("%s: %s%s", what, words, missed ? more : "");
}

/* The reply is (bba{ss}): is_authorized, is_challenge, details. */
static enum polkit_answer
read_reply(struct polkit *polkit, DBusMessage *reply)
{
    dbus_bool_t authorised = FALSE, challenge = FALSE;
    DBusMessageIter iter, result;
    if (!dbus_message_has_signature(reply, "(bba{ss})")) {
        complain(polkit, "polkit's answer has the wrong types", dbus_message_get_signature(reply));
        return POLKIT_ERROR;
    }
    dbus_message_iter_init(reply, &iter);
    dbus_message_iter_recurse(&iter, &result);
    dbus_message_iter_get_basic(&result, &authorised);
    dbus_message_iter_next(&result);
    dbus_message_iter_get_basic(&result, &challenge);
    return authorised ? POLKIT_YES : challenge ? POLKIT_PASSWORD : POLKIT_NO;
}

/* ---- questions ---- */

static void
finish(struct question *question, enum polkit_answer answer)
{
    g_queue_unlink(&question->polkit->questions, &question->link);
    question->answered(answer, question->user);
    g_free(question->caller);
    g_free(question);
}

/* Why there is no reply. Without a person in it, polkit that is silent is as good as none. */
static enum polkit_answer
read_failure(const struct question *question, const GError *error)
{
    if (error->code != ERROR_UNREACHABLE) {
        complain(question->polkit, "polkit does not say what it thinks", error->message);
        return POLKIT_ERROR;
    }
    bool timed_out = question->person_until != 0 && g_get_monotonic_time() >= question->person_until;
    return timed_out ? POLKIT_UNANSWERED : POLKIT_ABSENT;
}

static void
on_reply(DBusMessage *reply, const GError *error, void *user)
{
    struct question *question = user;
    question->call = NULL;
    if (reply) {
        finish(question, read_reply(question->polkit, reply));
        return;
    }
    cancel_at_polkit(question);
    finish(question, read_failure(question, error));
}

static void
drop(struct question *question)
{
    call_cancel(question->call);
    cancel_at_polkit(question);
    finish(question, POLKIT_GONE);
}

static bool
has_room(const struct polkit *polkit, uid_t uid)
{
    unsigned of_user = 0;
    for (const GList *link = polkit->questions.head; link; link = link->next)
        of_user += ((struct question *)link->data)->uid == uid;
    return polkit->questions.length < POLKIT_QUESTIONS_MAX && of_user < POLKIT_QUESTIONS_OF_ONE_MAX;
}

void
polkit_ask(struct polkit *polkit, const char *caller, uid_t uid, const char *action, const char *const *details,
           bool interactive, polkit_answered_fn answered, void *user)
{
    if (!has_room(polkit, uid)) {
        answered(POLKIT_BUSY, user);
        return;
    }
    struct question *question = g_new(struct question, 1);
    *question = (struct question){ .polkit = polkit, .caller = g_strdup(caller), .uid = uid, .answered = answered };
    question->user = user;
    question->link.data = question;
    g_snprintf(question->id, sizeof question->id, "hubkey-%u", ++polkit->counted);
    g_queue_push_tail_link(&polkit->questions, &question->link);
    g_autoptr(dbus_message_auto) message = check_message(question, action, details, interactive);
    int limit_ms = interactive ? polkit->person_limit_ms : POLKIT_LIMIT_MS;
    question->person_until = interactive ? g_get_monotonic_time() + (gint64)limit_ms * 1000 : 0;
    question->call = call_send(polkit->connection, message, limit_ms, on_reply, question, NULL);
    if (!question->call)
        finish(question, POLKIT_ABSENT);
}

void
polkit_forget(struct polkit *polkit, const char *caller)
{
    for (GList *link = polkit->questions.head, *next; link; link = next) {
        struct question *question = link->data;
        next = link->next;
        if (strcmp(question->caller, caller) == 0)
            drop(question);
    }
}

struct polkit *
polkit_new(DBusConnection *connection, int person_limit_ms)
{
    struct polkit *polkit = g_new0(struct polkit, 1);
    polkit->connection = dbus_connection_ref(connection);
    polkit->person_limit_ms = person_limit_ms;
    return polkit;
}

void
polkit_free(struct polkit *polkit)
{
    if (!polkit)
        return;
    while (polkit->questions.length > 0)
        drop(polkit->questions.head->data);
    dbus_connection_unref(polkit->connection);
    g_free(polkit);
}
