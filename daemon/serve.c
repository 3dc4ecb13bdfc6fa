/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/serve.h"
#include "daemon/admin.h"
#include "daemon/api-objects.h"
#include "daemon/api.h"
#include "daemon/audit.h"
#include "daemon/clock-step.h"
#include "daemon/config.h"
#include "daemon/health.h"
#include "daemon/limits.h"
#include "daemon/metrics.h"
#include "daemon/polkit.h"
#include "daemon/rate.h"
#include "daemon/reload.h"
#include "daemon/sharing.h"
#include "daemon/slot-storage.h"
#include "daemon/store.h"
#include "daemon/tpm-info.h"
#include "daemon/tpm.h"
#include "daemon/worker.h"
#include "dbus/caller.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "dbus/server.h"
#include "common/error.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#define STOP_LIMIT_US (5 * G_USEC_PER_SEC) /* a job inside the TPM may end within this when we are told to stop */
#define NAME_LIMIT_MS 500 /* the bus waits for us at most this long when the first look at the TPM takes its time */

struct hubkeyd {
    GMainLoop *loop;
    struct config *config;
    char *tcti; /* these two as they were at the start */
    bool protect_bus;
    struct store *store;
    struct tpm *tpm;
    struct slot_storage *storage;
    struct worker *worker;
    struct limits *limits;
    struct metrics *metrics;
    DBusConnection *bus;
    const char *runtime_dir;
    struct server *server;
    struct api api;
    guint name_timer; /* 0 once the name is asked for */
    int exit_code;
};

/* ---- the private socket ---- */

static void
caller_gone(const char *name, void *user)
{
    struct hubkeyd *hubkeyd = user;
    admin_forget(hubkeyd->api.admin, name);
    if (hubkeyd->api.sharing)
        sharing_forget(hubkeyd->api.sharing, name);
}

static void
peer_opened(DBusConnection *connection, struct caller *caller, void *user)
{
    struct hubkeyd *hubkeyd = user;
    g_autoptr(GError) error = NULL;
    if (!api_objects_add(&hubkeyd->api, connection, caller, &error))
        g_warning("%s", error->message);
}

static void
peer_closed(DBusConnection *connection, struct caller *caller, void *user)
{
    struct hubkeyd *hubkeyd = user;
    caller_gone(caller->name, hubkeyd);
    api_objects_remove(&hubkeyd->api, connection);
}

static bool
peer_busy(DBusConnection *connection, void *user)
{
    struct hubkeyd *hubkeyd = user;
    return api_objects_busy(&hubkeyd->api, connection);
}

static bool
peer_favoured(const struct caller *caller, void *user)
{
    struct hubkeyd *hubkeyd = user;
    const struct access_subject subject = { caller->uid, caller->groups, caller->n_groups };
    return config_allows_some(hubkeyd->config, &subject);
}

/* Containers mount the directory, so everybody may look into it whatever our umask. */
static bool
open_socket(struct hubkeyd *hubkeyd, GError **error)
{
    static const struct server_hooks hooks = { .opened = peer_opened, .closed = peer_closed, .busy = peer_busy,
                                               .favoured = peer_favoured };
    g_autofree char *path = g_build_filename(hubkeyd->runtime_dir, "socket", NULL);
    int made = mkdir(hubkeyd->runtime_dir, 0755);
    if ((made == 0 && chmod(hubkeyd->runtime_dir, 0755) != 0) || (made != 0 && errno != EEXIST)) {
        error_set(error, ERROR_INTERNAL, "cannot make %s: %s", hubkeyd->runtime_dir, g_strerror(errno));
        return false;
    }
    hubkeyd->server = server_new(path, NULL, &hooks, hubkeyd, error);
    return hubkeyd->server != NULL;
}

/* ---- the bus ---- */

/* The objects first, so that callers that come with our name find them; not sooner, because until then nobody can
 * listen, and ten thousand slots that were found would be told of. The socket last: who owns the name is the only
 * hubkeyd, and so may replace whatever stands there. */
static gboolean
request_name(gpointer data)
{
    struct hubkeyd *hubkeyd = data;
    g_autoptr(GError) problem = NULL;
    DBusError error = DBUS_ERROR_INIT;
    int answer = -1;
    hubkeyd->name_timer = 0;
    if (api_objects_add(&hubkeyd->api, hubkeyd->bus, NULL, &problem))
        answer = dbus_bus_request_name(hubkeyd->bus, NAMES_BUS, DBUS_NAME_FLAG_DO_NOT_QUEUE, &error);
    if (answer == DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER && open_socket(hubkeyd, &problem)) {
        g_message("ready: " NAMES_BUS " is on the bus");
        return G_SOURCE_REMOVE;
    }
    if (problem)
        g_critical("%s", problem->message);
    else if (dbus_error_is_set(&error))
        g_critical("cannot own " NAMES_BUS ": %s; is the bus policy installed, and does hubkeyd run as user hubkey?",
                   error.message);
    else
        g_critical(NAMES_BUS " is taken: another hubkeyd runs already");
    dbus_error_free(&error);
    hubkeyd->exit_code = 1;
    g_main_loop_quit(hubkeyd->loop);
    return G_SOURCE_REMOVE;
}

/* Slots are known as soon as the TPM has been looked at once; callers that come with our name find them. */
static void
surveyed(void *user)
{
    struct api *api = user;
    struct hubkeyd *hubkeyd = (struct hubkeyd *)((char *)api - offsetof(struct hubkeyd, api));
    if (hubkeyd->name_timer) {
        g_source_remove(hubkeyd->name_timer);
        request_name(hubkeyd);
    }
}

static DBusHandlerResult
watch_bus(DBusConnection *connection, DBusMessage *message, void *data)
{
    struct hubkeyd *hubkeyd = data;
    if (dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected")) {
        g_critical("the connection to the bus was lost; whoever supervises hubkeyd starts it again");
        hubkeyd->exit_code = 1;
        g_main_loop_quit(hubkeyd->loop);
    }
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static bool
join_bus(struct hubkeyd *hubkeyd, GError **error)
{
    hubkeyd->bus = loop_open_system_bus(error);
    if (!hubkeyd->bus)
        return false;
    /* No smaller limit on messages than the bus's own: libdbus drops the connection at one that is too long, so that
     * any user could end us. What a call may carry is checked where its arguments are read. */
    if (!loop_attach(hubkeyd->bus, NULL) || !dbus_connection_add_filter(hubkeyd->bus, watch_bus, hubkeyd, NULL))
        g_error("out of memory: the bus connection");
    hubkeyd->api.admin = admin_new(hubkeyd->bus, POLKIT_PERSON_LIMIT_MS);
    hubkeyd->api.callers = caller_cache_new(hubkeyd->bus, caller_gone, hubkeyd, error);
    return hubkeyd->api.callers != NULL;
}

static void
leave_bus(struct hubkeyd *hubkeyd)
{
    server_free(hubkeyd->server);
    g_clear_pointer(&hubkeyd->api.callers, caller_cache_free);
    g_clear_pointer(&hubkeyd->api.admin, admin_free);
    if (hubkeyd->bus) {
        api_objects_remove(&hubkeyd->api, hubkeyd->bus);
        dbus_connection_remove_filter(hubkeyd->bus, watch_bus, hubkeyd);
        loop_close(hubkeyd->bus);
    }
}

/* ---- a new configuration ---- */

/* How the TPM is reached is settled at the start, whatever has been read since. */
static void
warn_of_restart(const struct hubkeyd *hubkeyd, const struct config *config)
{
    if (strcmp(hubkeyd->tcti, config->tcti) != 0)
        g_warning("Tcti=%s will hold when hubkeyd is started again; until then it is %s", config->tcti, hubkeyd->tcti);
    if (hubkeyd->protect_bus != config->protect_bus)
        g_warning("ProtectBus=%s will hold when hubkeyd is started again",
                  config->protect_bus ? "always" : "provisioning");
}

/* What holds at once, and what cannot. Nobody keeps a pointer into the old one beyond a turn of the loop. */
static void
apply_config(struct config *config, void *user)
{
    struct hubkeyd *hubkeyd = user;
    g_autoptr(config_auto) old = hubkeyd->config;
    warn_of_restart(hubkeyd, config);
    hubkeyd->api.config = hubkeyd->config = config;
    tpm_set_owner_auth_file(hubkeyd->tpm, config->owner_auth_file);
    sharing_set_granularity(hubkeyd->api.sharing, config->token_granularity);
    api_objects_config_changed(&hubkeyd->api, old);
    slots_look(hubkeyd->api.slots); /* with another owner password, for a key that may be adopted now */
}

static gboolean
hang_up(gpointer data)
{
    struct hubkeyd *hubkeyd = data;
    reload_begin(hubkeyd->api.reload, NULL, NULL);
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

static const struct slots_hooks slots_hooks = {
    .changed = api_objects_slot_changed,
    .appeared = api_objects_slot_appeared,
    .invalidated = api_objects_slot_invalidated,
    .tpm_changed = api_objects_tpm_changed,
    .surveyed = surveyed,
    .adopted = api_objects_adopted,
    .wanted = api_objects_wanted,
};

static bool
read_tpm_info(void *tpm, struct tpm_info *info, GError **error)
{
    return tpm_info_read(tpm, info, error);
}

static bool
begin(struct hubkeyd *hubkeyd, const struct serve_places *places, GError **error)
{
    hubkeyd->runtime_dir = places->runtime_dir;
    hubkeyd->store = store_open(places->state_dir, error);
    if (!hubkeyd->store)
        return false;
    store_sweep(hubkeyd->store);
    hubkeyd->tpm = tpm_new(hubkeyd->config->tcti, hubkeyd->config->owner_auth_file);
    tpm_protect_bus(hubkeyd->tpm, hubkeyd->config->protect_bus);
    hubkeyd->tcti = g_strdup(hubkeyd->config->tcti);
    hubkeyd->protect_bus = hubkeyd->config->protect_bus;
    hubkeyd->storage = slot_storage_new(hubkeyd->tpm, hubkeyd->store);
    hubkeyd->limits = limits_new();
    hubkeyd->api.rate = rate_new();
    hubkeyd->api.config = hubkeyd->config;
    hubkeyd->api.tpm = hubkeyd->tpm;
    if (!join_bus(hubkeyd, error))
        return false;
    hubkeyd->worker = hubkeyd->api.worker = worker_new(NULL);
    hubkeyd->api.slots = slots_new(&slot_storage_ops, hubkeyd->storage, hubkeyd->worker, &slots_hooks, &hubkeyd->api,
                                   error);
    if (!hubkeyd->api.slots)
        return false;
    hubkeyd->api.health = health_new(hubkeyd->worker, hubkeyd->api.slots, hubkeyd->limits, read_tpm_info, hubkeyd->tpm,
                                     api_objects_health_changed, &hubkeyd->api);
    hubkeyd->api.clock_step = clock_step_new(api_objects_clock_stepped, &hubkeyd->api);
    hubkeyd->api.sharing = sharing_new(hubkeyd->api.slots, hubkeyd->worker, hubkeyd->limits,
                                       hubkeyd->config->token_granularity);
    hubkeyd->api.reload = reload_new(places->config_file, apply_config, hubkeyd);
    hubkeyd->metrics = metrics_new(&hubkeyd->api);
    /* From here, as what was read above takes its time too: where the TPM is quick nobody hears of ten thousand slots
     * that there is an SRK now. */
    hubkeyd->name_timer = g_timeout_add(NAME_LIMIT_MS, request_name, hubkeyd);
    return true;
}

/* A worker that is stuck inside the TPM is left behind: everything that must last is on disk. Calls that wait are
 * answered on the way, the last ones as their connections go, so what the log still owes comes after that. */
static void
end(struct hubkeyd *hubkeyd)
{
    g_clear_pointer(&hubkeyd->metrics, metrics_free);
    if (hubkeyd->worker && !worker_stop(hubkeyd->worker, STOP_LIMIT_US)) {
        audit_flush();
        g_warning("leaving while the TPM still does not answer");
        _exit(hubkeyd->exit_code);
    }
    if (hubkeyd->name_timer)
        g_source_remove(hubkeyd->name_timer);
    g_clear_pointer(&hubkeyd->api.reload, reload_free);
    g_clear_pointer(&hubkeyd->api.sharing, sharing_free);
    g_clear_pointer(&hubkeyd->api.clock_step, clock_step_free);
    g_clear_pointer(&hubkeyd->api.health, health_free);
    leave_bus(hubkeyd);
    audit_flush();
    slots_free(hubkeyd->api.slots);
    limits_free(hubkeyd->limits);
    rate_free(hubkeyd->api.rate);
    slot_storage_free(hubkeyd->storage);
    tpm_free(hubkeyd->tpm);
    store_close(hubkeyd->store);
    config_free(hubkeyd->config);
    g_free(hubkeyd->tcti);
}

static gboolean
stop(gpointer data)
{
    struct hubkeyd *hubkeyd = data;
    g_main_loop_quit(hubkeyd->loop);
    return G_SOURCE_CONTINUE;
}

int
serve(const struct serve_places *places, struct config *config)
{
    struct hubkeyd hubkeyd = { .config = config };
    g_autoptr(GError) error = NULL;
    hubkeyd.loop = g_main_loop_new(NULL, FALSE);
    guint term = g_unix_signal_add(SIGTERM, stop, &hubkeyd), interrupt = g_unix_signal_add(SIGINT, stop, &hubkeyd);
    guint hup = g_unix_signal_add(SIGHUP, hang_up, &hubkeyd);
    signal(SIGPIPE, SIG_IGN);
    if (begin(&hubkeyd, places, &error)) {
        g_main_loop_run(hubkeyd.loop);
    } else {
        g_critical("%s", error->message);
        hubkeyd.exit_code = 1;
    }
    end(&hubkeyd);
    g_source_remove(term);
    g_source_remove(interrupt);
    g_source_remove(hup);
    g_main_loop_unref(hubkeyd.loop);
    dbus_shutdown();
    return hubkeyd.exit_code;
}
