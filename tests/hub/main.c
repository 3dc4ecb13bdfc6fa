/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Options, start in order, the timer and accept loop, the same backwards.
 */
#include <config.h>

#include "tests/hub/admin.h"
#include "tests/hub/certificate.h"
#include "tests/hub/device.h"
#include "tests/hub/exchange.h"
#include "tests/hub/fault.h"
#include "tests/hub/hub.h"
#include "tests/hub/ledger.h"
#include "tests/hub/listener.h"
#include "tests/hub/refusal.h"
#include "tests/hub/server.h"
#include "tests/hub/waiting.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <glib.h>

#define DESCRIPTORS 5000

static char *listen_address;
static char *admin_address;
static char *host_name;
static char *state_dir;
static char *cert_dir;
static char *ready_file;
static char *pid_file;

static const GOptionEntry entries[] = {
    { "listen", 0, 0, G_OPTION_ARG_STRING, &listen_address, "where devices connect (127.0.0.1:0)", "ADDRESS:PORT" },
    { "admin", 0, 0, G_OPTION_ARG_STRING, &admin_address, "where tests connect (127.0.0.1:0)", "ADDRESS:PORT" },
    { "host-name", 0, 0, G_OPTION_ARG_STRING, &host_name, "the hub's name (testhub.azure-devices.net)", "NAME" },
    { "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir, "journal, ports and certificates", "DIR" },
    { "cert-dir", 0, 0, G_OPTION_ARG_FILENAME, &cert_dir, "certificates, if not in the state directory", "DIR" },
    { "ready-file", 0, 0, G_OPTION_ARG_FILENAME, &ready_file, "written when both ports answer", "FILE" },
    { "pid-file", 0, 0, G_OPTION_ARG_FILENAME, &pid_file, "holds the process id", "FILE" },
    { NULL },
};

static const char description[] =
    "A stand-in for Azure IoT Hub's device-facing REST over TLS, for tests on one machine.\n"
    "It accepts events, single and in batches, of devices and modules registered at its admin port, verifies them as "
    "the\n"
    "hub does, and keeps what it accepted in DIR/journal. A first start makes its certificates (clients trust "
    "DIR/ca.pem)\n"
    "and chooses free ports (DIR/ports); later starts keep both. The ready file has the lines\n"
    "  tls_port=N\n  admin_port=N\n  ca_file=PATH\n"
    "Admin port, JSON: GET /messages?device=&after=&limit=  DELETE /messages  GET /requests?after=&limit=  GET /stats\n"
    "  POST /devices {deviceId, moduleId?, primaryKey, secondaryKey?, enabled?}\n"
    "  POST /faults {kind: status (code, retryAfter?, errorCode?, shape?) | stall | delay (ms) | reset-before | "
    "reset-after |\n"
    "                close-between | truncate | date (offset) | late-accept (ms) | refuse-connect,\n"
    "                device?, skip?, onlyBatch?, count?, seconds?}  DELETE /faults\n"
    "In /requests, status 0 means that no answer was made, end 0 that the request has not ended. In /stats, requests,\n"
    "accepted and refused count requests, messages and duplicates count messages. DELETE /messages also forgets the "
    "ids\n"
    "by which duplicates are known. SIGTERM ends it; kill -9 loses nothing that was answered by 204.";

struct run {
    struct hub hub;
    struct certificate certificate;
    unsigned admin_port;
    int admin_fd;
    int signal_fd;
    struct MHD_Daemon *server;
    struct MHD_Daemon *admin;
};

static bool
parse_options(int *argc, char ***argv, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_description(context, description);
    if (!g_option_context_parse(context, argc, argv, error))
        return false;
    if (*argc > 1 || !state_dir) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--state-dir DIR is needed, and nothing but options");
        return false;
    }
    listen_address = listen_address ? listen_address : g_strdup("127.0.0.1:0");
    admin_address = admin_address ? admin_address : g_strdup("127.0.0.1:0");
    host_name = host_name ? host_name : g_strdup("testhub.azure-devices.net");
    cert_dir = cert_dir ? cert_dir : g_strdup(state_dir);
    return true;
}

static void
replay_device(void *user, const json_t *json)
{
    const char *why;

    if (!device_put(user, json, &why))
        g_printerr("hubkey-testhub: a device in the journal is left out: %s\n", why);
}

static bool
make_dirs(GError **error)
{
    if (g_mkdir_with_parents(state_dir, 0755) == 0 && g_mkdir_with_parents(cert_dir, 0755) == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot make %s or %s: %s", state_dir, cert_dir,
                g_strerror(errno));
    return false;
}

static bool
open_state(struct hub *hub, GError **error)
{
    g_autofree char *journal = g_build_filename(state_dir, "journal", NULL);

    g_mutex_init(&hub->lock);
    g_cond_init(&hub->ended);
    hub->host = host_name;
    hub->devices = device_table_new();
    hub->faults = fault_list_new();
    hub->connections = g_hash_table_new(NULL, NULL);
    hub->exchanges = g_hash_table_new(NULL, NULL);
    g_queue_init(&hub->waiting);
    hub->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hub->ledger = ledger_open(journal, replay_device, hub->devices, error);
    return hub->ledger;
}

static unsigned
known_port(const char *text, const char *name)
{
    const char *line = text ? strstr(text, name) : NULL;

    return line ? (unsigned)strtoul(line + strlen(name), NULL, 10) : 0;
}

static bool
open_ports(struct run *run, GError **error)
{
    g_autofree char *path = g_build_filename(state_dir, "ports", NULL);
    g_autofree char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    run->hub.listen_fd = listener_open(listen_address, known_port(text, "tls_port="), &run->hub.port, error);
    if (run->hub.listen_fd < 0)
        return false;
    run->admin_fd = listener_open(admin_address, known_port(text, "admin_port="), &run->admin_port, error);
    if (run->admin_fd < 0)
        return false;
    g_free(text);
    text = g_strdup_printf("tls_port=%u\nadmin_port=%u\n", run->hub.port, run->admin_port);
    return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0644,
                                    error);
}

static bool
start_servers(struct run *run, GError **error)
{
    run->server = server_start(&run->hub, run->certificate.chain, run->certificate.key);
    run->admin = run->server ? admin_start(&run->hub, run->admin_fd) : NULL;
    if (run->admin)
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                "libmicrohttpd does not start: it needs TLS, epoll and suspending");
    return false;
}

static bool
say_ready(const struct run *run, GError **error)
{
    g_autofree char *pid = g_strdup_printf("%ld\n", (long)getpid());
    g_autofree char *text = g_strdup_printf("tls_port=%u\nadmin_port=%u\nca_file=%s\n", run->hub.port, run->admin_port,
                                            run->certificate.ca_file);

    g_printerr("hubkey-testhub: %s on port %u, admin port %u\n", run->hub.host, run->hub.port, run->admin_port);
    return (!pid_file || g_file_set_contents_full(pid_file, pid, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, error)) &&
           (!ready_file || g_file_set_contents_full(ready_file, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, error));
}

/* Each connection is a descriptor. */
static void
raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = MAX(limit.rlim_cur, MIN(limit.rlim_max, DESCRIPTORS));
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Blocked before any thread starts, so that all threads leave these to the loop. */
static void
take_signals(struct run *run)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
}

static bool
start(struct run *run, GError **error)
{
    take_signals(run);
    raise_limit();
    if (ready_file)
        unlink(ready_file);
    return make_dirs(error) && certificate_load(&run->certificate, cert_dir, host_name, error) &&
           open_state(&run->hub, error) && open_ports(run, error) && start_servers(run, error) && say_ready(run, error);
}

/* What to poll, and until when: signal, wake-up, listener (unless refusing), held connections. */
static int
prepare(struct run *run, GArray *fds)
{
    const struct pollfd fixed[] = {
        { .fd = run->signal_fd, .events = POLLIN },
        { .fd = run->hub.wake_fd, .events = POLLIN },
        { .fd = run->hub.refusing ? -1 : run->hub.listen_fd, .events = POLLIN },
    };
    const int64_t next = MIN(waiting_next(&run->hub), fault_next_end(run->hub.faults));
    const int64_t left_us = next - g_get_monotonic_time();

    g_array_set_size(fds, 0);
    g_array_append_vals(fds, fixed, G_N_ELEMENTS(fixed));
    waiting_watch(&run->hub, fds);
    return next == INT64_MAX ? -1 : (int)CLAMP((left_us + 999) / 1000, 0, 60000);
}

static void
loop(struct run *run)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    uint64_t ignored;

    for (;;) {
        g_mutex_lock(&run->hub.lock);
        refusal_apply(&run->hub, g_get_monotonic_time());
        waiting_run(&run->hub, g_get_monotonic_time(), false);
        const int timeout = prepare(run, fds);
        g_mutex_unlock(&run->hub.lock);
        if (poll((struct pollfd *)(void *)fds->data, fds->len, timeout) < 0 && errno != EINTR)
            return;
        if (g_array_index(fds, struct pollfd, 0).revents)
            return;
        if (g_array_index(fds, struct pollfd, 1).revents && read(run->hub.wake_fd, &ignored, sizeof ignored) < 0)
            g_printerr("hubkey-testhub: cannot read the wake-up: %s\n", g_strerror(errno));
        if (g_array_index(fds, struct pollfd, 2).revents)
            server_accept(run->server, run->hub.listen_fd);
    }
}

static void
stop(struct run *run)
{
    if (run->admin)
        admin_stop(run->admin);
    if (run->server) {
        g_mutex_lock(&run->hub.lock);
        waiting_run(&run->hub, g_get_monotonic_time(), true);
        g_mutex_unlock(&run->hub.lock);
        server_stop(run->server);
    }
    ledger_close(run->hub.ledger);
    certificate_clear(&run->certificate);
    g_clear_pointer(&run->hub.devices, g_hash_table_unref);
    g_clear_pointer(&run->hub.faults, g_ptr_array_unref);
    g_clear_pointer(&run->hub.connections, g_hash_table_unref);
    g_clear_pointer(&run->hub.exchanges, g_hash_table_unref);
    if (ready_file)
        unlink(ready_file);
    if (pid_file)
        unlink(pid_file);
}

int
main(int argc, char **argv)
{
    struct run run = { .admin_fd = -1, .hub.listen_fd = -1 };
    g_autoptr(GError) error = NULL;
    bool ok;

    if (!parse_options(&argc, &argv, &error)) {
        g_printerr("hubkey-testhub: %s\n", error->message);
        return 2;
    }
    ok = start(&run, &error);
    if (ok)
        loop(&run);
    else
        g_printerr("hubkey-testhub: %s\n", error->message);
    stop(&run);
    return ok ? 0 : 1;
}
