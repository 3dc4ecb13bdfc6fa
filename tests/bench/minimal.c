/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/bench/minimal.h"

#include "tests/bench/calls.h"
#include "tests/bench/ready.h"
#include "dbus/loop.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <glib-unix.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_sys.h>
#include <tss2/tss2_tctildr.h>

#define SERVICE "org.hubkey.test.Minimal"
#define SLOT_0_KEY 0x81000100
#define TOKEN_BYTES 167 /* of slot 0's in the sandbox */
#define NO ESYS_TR_NONE

static struct {
    ESYS_CONTEXT *esys;
    TSS2_SYS_CONTEXT *sys; /* of it */
    ESYS_TR key;
    GAsyncQueue *jobs, *finished; /* NULL before the first: a thread takes memory */
    int finished_fd;
} self;

struct job {
    DBusConnection *connection;
    DBusMessage *call;
    char answer[TOKEN_BYTES + 1];
};

static void
open_tpm(void)
{
    TSS2_TCTI_CONTEXT *tcti = NULL;
    if (Tss2_TctiLdr_Initialize(g_getenv("TPM2TOOLS_TCTI"), &tcti) != TSS2_RC_SUCCESS ||
        Esys_Initialize(&self.esys, tcti, NULL) != TSS2_RC_SUCCESS ||
        Esys_GetSysContext(self.esys, &self.sys) != TSS2_RC_SUCCESS ||
        Esys_TR_FromTPMPublic(self.esys, SLOT_0_KEY, NO, NO, NO, &self.key) != TSS2_RC_SUCCESS)
        g_error("no key of slot 0 through TPM2TOOLS_TCTI");
}

static void
sign_by_esys(const TPM2B_MAX_BUFFER *input, TPM2B_DIGEST *mac)
{
    TPM2B_DIGEST *given = NULL;
    if (Esys_HMAC(self.esys, self.key, ESYS_TR_PASSWORD, NO, NO, input, TPM2_ALG_SHA256, &given) != TSS2_RC_SUCCESS)
        g_error("TPM2_HMAC failed");
    *mac = *given;
    Esys_Free(given);
}

static void
sign_by_sys(const TPM2B_MAX_BUFFER *input, TPM2B_DIGEST *mac)
{
    static const TSS2L_SYS_AUTH_COMMAND password = { .count = 1, .auths = { { .sessionHandle = TPM2_RS_PW } } };
    TSS2L_SYS_AUTH_RESPONSE answered = { 0 };
    *mac = (TPM2B_DIGEST){ .size = sizeof mac->buffer };
    if (Tss2_Sys_HMAC(self.sys, SLOT_0_KEY, &password, input, TPM2_ALG_SHA256, mac, &answered) != TSS2_RC_SUCCESS)
        g_error("TPM2_HMAC failed");
}

static void
make_answer(DBusMessage *call, void (*sign)(const TPM2B_MAX_BUFFER *, TPM2B_DIGEST *), char answer[TOKEN_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    TPM2B_MAX_BUFFER input = { 0 };
    TPM2B_DIGEST mac;
    const char *text = "";
    dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    input.size = (UINT16)MIN(strlen(text), sizeof input.buffer);
    memcpy(input.buffer, text, input.size);
    sign(&input, &mac);
    memset(answer, 'x', TOKEN_BYTES);
    for (UINT16 i = 0; i < mac.size; i++) {
        answer[i * 2] = digits[mac.buffer[i] >> 4];
        answer[i * 2 + 1] = digits[mac.buffer[i] & 15];
    }
}

/* Arguments before the address: see answer_new of dbus/object.c. */
static DBusMessage *
new_reply(const char *answer)
{
    dbus_uint64_t expires = 1700000000;
    DBusMessage *reply = dbus_message_new(DBUS_MESSAGE_TYPE_METHOD_RETURN);
    dbus_message_append_args(reply, DBUS_TYPE_STRING, &answer, DBUS_TYPE_UINT64, &expires, DBUS_TYPE_INVALID);
    dbus_message_set_no_reply(reply, TRUE);
    return reply;
}

static void
send_reply(DBusConnection *connection, DBusMessage *call, DBusMessage *reply)
{
    dbus_message_set_reply_serial(reply, dbus_message_get_serial(call));
    dbus_message_set_destination(reply, dbus_message_get_sender(call));
    dbus_connection_send(connection, reply, NULL);
    dbus_message_unref(reply);
}

static DBusHandlerResult
answer_ready(DBusConnection *connection, DBusMessage *call, void *data)
{
    static DBusMessage *ready;
    const char *text = NULL;
    dbus_uint32_t ttl;
    if (!dbus_message_get_args(call, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (!ready) {
        g_autofree char *answer = g_strnfill(TOKEN_BYTES, 'x');
        ready = new_reply(answer);
    }
    send_reply(connection, call, dbus_message_copy(ready));
    return DBUS_HANDLER_RESULT_HANDLED;
}

static DBusHandlerResult
answer_inline(DBusConnection *connection, DBusMessage *call, void *data)
{
    char answer[TOKEN_BYTES + 1] = "";
    if (!dbus_message_has_signature(call, "su"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    make_answer(call, sign_by_esys, answer);
    send_reply(connection, call, new_reply(answer));
    return DBUS_HANDLER_RESULT_HANDLED;
}

/* ---- a thread for the TPM ---- */

static gboolean
reply_finished(gint fd, GIOCondition condition, gpointer data)
{
    eventfd_t count;
    (void)!eventfd_read(fd, &count);
    for (struct job *job; (job = g_async_queue_try_pop(self.finished)); g_free(job)) {
        send_reply(job->connection, job->call, new_reply(job->answer));
        dbus_message_unref(job->call);
    }
    return G_SOURCE_CONTINUE;
}

/* One event for all that are finished together, as daemon/worker.c does. */
static void
finish(struct job *job)
{
    g_async_queue_lock(self.finished);
    bool wake = g_async_queue_length_unlocked(self.finished) <= 0;
    g_async_queue_push_unlocked(self.finished, job);
    g_async_queue_unlock(self.finished);
    if (wake && eventfd_write(self.finished_fd, 1) != 0)
        g_error("eventfd");
}

static gpointer
work(gpointer unused)
{
    for (struct job *job; (job = g_async_queue_pop(self.jobs));) {
        make_answer(job->call, sign_by_sys, job->answer);
        finish(job);
    }
    return NULL;
}

static void
start_thread(void)
{
    self.jobs = g_async_queue_new();
    self.finished = g_async_queue_new();
    self.finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_unix_fd_add(self.finished_fd, G_IO_IN, reply_finished, NULL);
    g_thread_unref(g_thread_new("tpm", work, NULL));
}

static DBusHandlerResult
answer_thread(DBusConnection *connection, DBusMessage *call, void *data)
{
    if (!dbus_message_has_signature(call, "su"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    if (!self.jobs)
        start_thread();
    struct job *job = g_new0(struct job, 1);
    job->connection = connection;
    job->call = dbus_message_ref(call);
    g_async_queue_push(self.jobs, job);
    return DBUS_HANDLER_RESULT_HANDLED;
}

/* ---- the service ---- */

void
minimal_serve(int ready)
{
    static const struct {
        const char *path;
        DBusObjectPathVTable table;
    } objects[] = {
        { "/ready", { .message_function = answer_ready } },
        { "/inline", { .message_function = answer_inline } },
        { "/thread", { .message_function = answer_thread } },
    };
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    open_tpm();
    DBusConnection *connection = calls_open_bus();
    loop_attach(connection, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
        if (!dbus_connection_register_object_path(connection, objects[i].path, &objects[i].table, NULL))
            g_error("cannot register %s", objects[i].path);
    if (dbus_bus_request_name(connection, SERVICE, 0, NULL) != DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER)
        g_error("cannot own " SERVICE);
    if (ready >= 0)
        ready_tell(ready);
    g_main_loop_run(loop);
}

pid_t
minimal_start(void)
{
    return ready_start(minimal_serve, "the minimal service");
}

static DBusMessage *
new_call(const char *path, unsigned number)
{
    g_autofree char *text = g_strdup_printf("bench/%d/%u", (int)getpid(), number);
    dbus_uint32_t ttl = 600;
    DBusMessage *message = dbus_message_new_method_call(SERVICE, path, SERVICE, "GetToken");
    dbus_message_append_args(message, DBUS_TYPE_STRING, &text, DBUS_TYPE_UINT32, &ttl, DBUS_TYPE_INVALID);
    return message;
}

DBusMessage *
minimal_new_ready(unsigned number)
{
    return new_call("/ready", number);
}

DBusMessage *
minimal_new_inline(unsigned number)
{
    return new_call("/inline", number);
}

DBusMessage *
minimal_new_thread(unsigned number)
{
    return new_call("/thread", number);
}
