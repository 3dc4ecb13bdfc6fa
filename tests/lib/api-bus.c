/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/api-bus.h"
#include "common/error.h"
#include "daemon/admin.h"
#include "daemon/api-objects.h"
#include "daemon/clock-step.h"
#include "daemon/config.h"
#include "daemon/health.h"
#include "daemon/limits.h"
#include "daemon/polkit.h"
#include "daemon/rate.h"
#include "daemon/reload.h"
#include "daemon/sharing.h"
#include "daemon/worker.h"
#include "dbus/caller.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "tests/lib/await.h"
#include "tests/lib/fake-clock.h"
#include "tests/lib/folder.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <sys/mman.h>
#include <unistd.h>

#include <glib-unix.h>

#define CALL_LIMIT_MS 10000
#define OUTPUT_MAX 8192 /* bytes that a caller of another user may say */

/* ---- the log ---- */

static GPtrArray *records; /* of "\nKEY=value\nKEY=value\n" */
static GMutex records_lock;

static GLogWriterOutput
keep_record(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
    GString *record = g_string_new("\n");
    for (gsize i = 0; i < n_fields; i++) {
        g_string_append_printf(record, "%s=", fields[i].key);
        g_string_append_len(record, fields[i].value,
                            fields[i].length < 0 ? (gssize)strlen(fields[i].value) : (gssize)fields[i].length);
        g_string_append_c(record, '\n');
    }
    g_mutex_lock(&records_lock);
    g_ptr_array_add(records, g_string_free(record, FALSE));
    g_mutex_unlock(&records_lock);
    return level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? g_log_writer_default(level, fields, n_fields, NULL)
                                                              : G_LOG_WRITER_HANDLED;
}

void
api_bus_keep_log(void)
{
    records = g_ptr_array_new_with_free_func(g_free);
    g_log_set_writer_func(keep_record, NULL, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
}

bool
api_bus_has_record(const char *first, ...)
{
    bool found = false;
    g_mutex_lock(&records_lock);
    for (guint i = 0; i < records->len && !found; i++) {
        va_list rest;
        found = true;
        va_start(rest, first);
        for (const char *field = first; field && found; field = va_arg(rest, const char *)) {
            g_autofree char *line = g_strdup_printf("\n%s\n", field);
            found = strstr(records->pdata[i], line) != NULL;
        }
        va_end(rest);
    }
    g_mutex_unlock(&records_lock);
    return found;
}

bool
api_bus_log_contains(const char *text)
{
    bool found = false;
    g_mutex_lock(&records_lock);
    for (guint i = 0; i < records->len && !found; i++)
        found = strstr(records->pdata[i], text) != NULL;
    g_mutex_unlock(&records_lock);
    return found;
}

/* ---- signals ---- */

/* The names in a PropertiesChanged, after a '!' where it carries a value. */
static void
append_changes(GString *line, DBusMessage *message)
{
    DBusMessageIter iter, changed, names;
    const char *text;
    dbus_message_iter_init(message, &iter);
    dbus_message_iter_get_basic(&iter, &text);
    g_string_append_printf(line, " %s", text);
    dbus_message_iter_next(&iter);
    dbus_message_iter_recurse(&iter, &changed);
    if (dbus_message_iter_get_arg_type(&changed) != DBUS_TYPE_INVALID)
        g_string_append(line, " !");
    dbus_message_iter_next(&iter);
    for (dbus_message_iter_recurse(&iter, &names); dbus_message_iter_get_arg_type(&names) == DBUS_TYPE_STRING;
         dbus_message_iter_next(&names)) {
        dbus_message_iter_get_basic(&names, &text);
        g_string_append_printf(line, " %s", text);
    }
}

static DBusHandlerResult
on_signal(DBusConnection *connection, DBusMessage *message, void *user)
{
    struct api_bus *api = user;
    const char *path = dbus_message_get_path(message), *member = dbus_message_get_member(message);
    if (dbus_message_get_type(message) != DBUS_MESSAGE_TYPE_SIGNAL || !path || !g_str_has_prefix(path, NAMES_ROOT))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    GString *line = g_string_new(NULL);
    dbus_uint32_t slot;
    dbus_uint64_t generation;
    g_string_append_printf(line, "%s %s", member, path);
    if (dbus_message_get_args(message, NULL, DBUS_TYPE_UINT32, &slot, DBUS_TYPE_INVALID))
        g_string_append_printf(line, " %u", slot);
    else if (dbus_message_get_args(message, NULL, DBUS_TYPE_UINT64, &generation, DBUS_TYPE_INVALID))
        g_string_append_printf(line, " %" G_GUINT64_FORMAT, (guint64)generation);
    else if (strcmp(member, "PropertiesChanged") == 0)
        append_changes(line, message);
    g_ptr_array_add(api->signals, g_string_free(line, FALSE));
    return DBUS_HANDLER_RESULT_HANDLED;
}

/* ---- start and stop ---- */

static void
on_gone(const char *name, void *user)
{
    struct api_bus *api = user;
    api->gone++;
    admin_forget(api->api.admin, name);
    sharing_forget(api->api.sharing, name);
}

static void
on_surveyed(void *user)
{
}

/* On the worker thread. Tests change it while no look is under way. */
static bool
read_tpm_info(void *user, struct tpm_info *info, GError **error)
{
    struct api_bus *api = user;
    g_atomic_int_inc(&api->tpm_reads);
    *info = api->tpm;
    if (api->tpm_error)
        error_set(error, api->tpm_error, "the fake TPM fails");
    return api->tpm_error == 0;
}

static bool
is_idle(void *user)
{
    return worker_depth(((struct api_bus *)user)->api.worker) == 0;
}

static void
apply_config(struct config *config, void *user)
{
    struct api_bus *api = user;
    struct config *old = api->config;
    api->api.config = api->config = config;
    sharing_set_granularity(api->api.sharing, config->token_granularity);
    api_objects_config_changed(&api->api, old);
    config_free(old);
}

void
api_bus_write_config(struct api_bus *api, const char *configuration)
{
    g_free(folder_file(api->folder, "hubkeyd.conf", configuration, strlen(configuration)));
}

static void
load_config(struct api_bus *api, const char *configuration)
{
    g_autoptr(GPtrArray) complaints = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *file = folder_file(api->folder, "hubkeyd.conf", configuration, strlen(configuration));
    const struct passwd *self = getpwuid(getuid());
    if (getuid() != 0 && self) {
        g_autofree char *drop_ins = g_strconcat(file, ".d", NULL);
        g_autofree char *text = g_strdup_printf("[slots]\nAllowUsers=%s\n", self->pw_name);
        g_assert_cmpint(g_mkdir_with_parents(drop_ins, 0700), ==, 0);
        g_free(folder_file(drop_ins, "self.conf", text, strlen(text)));
    }
    api->config = config_load(file, complaints);
    g_assert_cmpuint(complaints->len, ==, 0);
    api->api.reload = reload_new(file, apply_config, api);
}

void
api_bus_start(struct api_bus *api, const char *configuration)
{
    static const struct slots_hooks hooks = {
        .changed = api_objects_slot_changed,
        .appeared = api_objects_slot_appeared,
        .invalidated = api_objects_slot_invalidated,
        .tpm_changed = api_objects_tpm_changed,
        .surveyed = on_surveyed,
    };
    g_autoptr(GError) error = NULL;
    *api = (struct api_bus){ .folder = folder_new(), .signals = g_ptr_array_new_with_free_func(g_free),
                             .tpm = { .manufacturer = "FAKE", .firmware = "1.2.3.4", .persistent_used = 3,
                                      .persistent_free = 4, .nv_used = 5, .nv_free = 6 } };
    fake_clock_install();
    load_config(api, configuration);
    api->bus = private_bus_start();
    api->service = private_bus_connect(api->bus);
    api->client = private_bus_connect(api->bus);
    api->name = g_strdup(dbus_bus_get_unique_name(api->service));
    api->storage = fake_storage_new();
    fake_storage_put(api->storage, 0, SLOT_READY, 3, API_BUS_HOST, "d", API_BUS_KEY);
    api->limits = limits_new();
    api->api.rate = rate_new();
    api->api.config = api->config;
    api->api.callers = caller_cache_new(api->service, on_gone, api, &error);
    g_assert_no_error(error);
    api->api.admin = admin_new(api->service, POLKIT_PERSON_LIMIT_MS);
    g_assert_true(api_objects_add(&api->api, api->service, NULL, &error));
    api->api.worker = worker_new(NULL);
    api->api.slots = slots_new(&fake_storage_ops, api->storage, api->api.worker, &hooks, &api->api, NULL);
    api->api.sharing = sharing_new(api->api.slots, api->api.worker, api->limits, api->config->token_granularity);
    api->api.health = health_new(api->api.worker, api->api.slots, api->limits, read_tpm_info, api,
                                 api_objects_health_changed, &api->api);
    api->clock_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    api->api.clock_step = clock_step_watch(dup(api->clock_fd), api_objects_clock_stepped, &api->api);
    g_assert_true(await(is_idle, api));
    dbus_bus_add_match(api->client, "type='signal',path_namespace='" NAMES_ROOT "'", NULL);
    g_assert_true(dbus_connection_add_filter(api->client, on_signal, api, NULL));
}

void
api_bus_stop(struct api_bus *api)
{
    fake_storage_release(api->storage);
    g_assert_true(worker_stop(api->api.worker, 20 * G_USEC_PER_SEC));
    reload_free(api->api.reload);
    sharing_free(api->api.sharing);
    audit_flush(); /* the next test's users begin anew */
    health_free(api->api.health);
    clock_step_free(api->api.clock_step);
    close(api->clock_fd);
    admin_free(api->api.admin);
    api_objects_remove(&api->api, api->service);
    caller_cache_free(api->api.callers);
    dbus_connection_remove_filter(api->client, on_signal, api);
    loop_close(api->client);
    loop_close(api->service);
    slots_free(api->api.slots);
    limits_free(api->limits);
    rate_free(api->api.rate);
    fake_storage_free(api->storage);
    config_free(api->config);
    private_bus_stop(api->bus);
    g_ptr_array_free(api->signals, TRUE);
    g_free(api->name);
    folder_remove(api->folder);
    fake_clock_remove();
}

void
api_bus_look(struct api_bus *api)
{
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++)
        slots_recheck(api->api.slots, slot);
    g_assert_true(await(is_idle, api));
}

/* ---- calls ---- */

DBusMessage *
api_bus_message(struct api_bus *api, const char *path, const char *interface, const char *member)
{
    DBusMessage *message = dbus_message_new_method_call(api->name, path, interface, member);
    g_assert_nonnull(message);
    return message;
}

void
api_bus_append_entries(DBusMessageIter *iter, const struct api_bus_entry *entries)
{
    DBusMessageIter dict;
    dbus_bool_t yes = TRUE;
    g_assert_true(dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, "{sv}", &dict));
    for (; entries && entries->name; entries++)
        api_append_entry(&dict, entries->name, entries->type,
                         entries->type == 's' ? (const void *)&entries->text : &yes);
    g_assert_true(dbus_message_iter_close_container(iter, &dict));
}

int
api_bus_memfd(const void *bytes, size_t len)
{
    int fd = memfd_create("key", MFD_CLOEXEC);
    g_assert_cmpint(write(fd, bytes, len), ==, (ssize_t)len);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    return fd;
}

static bool
is_completed(void *call)
{
    return dbus_pending_call_get_completed(call);
}

DBusMessage *
api_bus_send(struct api_bus *api, DBusMessage *message)
{
    DBusPendingCall *call = NULL;
    g_assert_true(dbus_connection_send_with_reply(api->client, message, &call, CALL_LIMIT_MS));
    dbus_message_unref(message);
    g_assert_true(await(is_completed, call));
    DBusMessage *reply = dbus_pending_call_steal_reply(call);
    dbus_pending_call_unref(call);
    return reply;
}

DBusMessage *
api_bus_call(struct api_bus *api, const char *path, const char *interface, const char *member, int first_type, ...)
{
    DBusMessage *message = api_bus_message(api, path, interface, member);
    va_list arguments;
    va_start(arguments, first_type);
    g_assert_true(dbus_message_append_args_valist(message, first_type, arguments));
    va_end(arguments);
    return api_bus_send(api, message);
}

static const char *
text_of(DBusMessage *error)
{
    const char *text = "";
    dbus_message_get_args(error, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID);
    return text;
}

void
api_bus_expect_error(DBusMessage *reply, const char *name, const char *words)
{
    g_autofree char *full = strchr(name, '.') ? g_strdup(name) : g_strconcat(NAMES_ERROR_PREFIX, name, NULL);
    g_assert_cmpstr(dbus_message_get_error_name(reply), ==, full);
    g_assert_cmpstr(dbus_message_get_signature(reply), ==, "s"); /* one sentence */
    if (!strstr(text_of(reply), words))
        g_error("\"%s\" does not say \"%s\"", text_of(reply), words);
    dbus_message_unref(reply);
}

void
api_bus_expect_reply(DBusMessage *reply, const char *signature)
{
    if (dbus_message_get_type(reply) == DBUS_MESSAGE_TYPE_ERROR)
        g_error("%s: %s", dbus_message_get_error_name(reply), text_of(reply));
    g_assert_cmpstr(dbus_message_get_signature(reply), ==, signature);
    dbus_message_unref(reply);
}

/* ---- callers of other users ---- */

/* In the child. Nothing of the parent is touched but the copy of the message. */
G_GNUC_NORETURN static void
call_and_say(const char *address, const struct passwd *user, DBusMessage *message, int out)
{
    DBusError error = DBUS_ERROR_INIT;
    if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
        _exit(1);
    DBusConnection *connection = dbus_connection_open_private(address, &error);
    if (connection && dbus_bus_register(connection, &error))
        dbus_connection_send_with_reply_and_block(connection, message, CALL_LIMIT_MS, &error);
    if (dbus_error_is_set(&error))
        dprintf(out, "%s: %s", error.name, error.message);
    else
        dprintf(out, "ok");
    _exit(0);
}

struct hearing {
    GString *said;
    bool over;
};

static gboolean
hear(gint fd, GIOCondition condition, gpointer data)
{
    struct hearing *hearing = data;
    char buffer[512];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0 && hearing->said->len < OUTPUT_MAX) {
        g_string_append_len(hearing->said, buffer, n);
        return G_SOURCE_CONTINUE;
    }
    hearing->over = true;
    return G_SOURCE_REMOVE;
}

static bool
is_over(void *user)
{
    return ((struct hearing *)user)->over;
}

char *
api_bus_call_as(struct api_bus *api, const char *user, const char *path, const char *interface, const char *member,
                int first_type, ...)
{
    int ends[2];
    DBusMessage *message = api_bus_message(api, path, interface, member);
    const struct passwd *entry = getpwnam(user);
    va_list arguments;
    va_start(arguments, first_type);
    g_assert_true(dbus_message_append_args_valist(message, first_type, arguments));
    va_end(arguments);
    g_assert_nonnull(entry);
    g_assert_true(g_unix_open_pipe(ends, FD_CLOEXEC, NULL));
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0)
        call_and_say(api->bus->address, entry, message, ends[1]);
    close(ends[1]);
    dbus_message_unref(message);
    struct hearing hearing = { .said = g_string_new(NULL) };
    g_unix_fd_add(ends[0], G_IO_IN | G_IO_HUP, hear, &hearing);
    g_assert_true(await(is_over, &hearing));
    close(ends[0]);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    return g_string_free(hearing.said, FALSE);
}
