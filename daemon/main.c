/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyd: its options, and a process that can keep a secret.
 */
#include <config.h>

#include "daemon/audit.h"
#include "daemon/config.h"
#include "daemon/serve.h"

#include <locale.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <glib.h>

#define DEFAULT_STATE_DIR "/var/lib/hubkey"
#define DEFAULT_RUNTIME_DIR "/run/hubkey"

struct options {
    struct serve_places places;
    gboolean check_config;
    gboolean version;
};

/* ---- options ---- */

static void
clear_options(struct options *options)
{
    g_free(options->places.config_file);
    g_free(options->places.state_dir);
    g_free(options->places.runtime_dir);
}

static bool
parse_options(int argc, char **argv, struct options *options)
{
    const GOptionEntry entries[] = {
        { "config", 0, 0, G_OPTION_ARG_FILENAME, &options->places.config_file,
          "Configuration (default " CONFIG_DEFAULT_FILE "); drop-ins are FILE.d/*.conf", "FILE" },
        { "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->places.state_dir,
          "Where records of slots are kept (default " DEFAULT_STATE_DIR ")", "DIR" },
        { "runtime-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->places.runtime_dir,
          "Directory for run-time files (default " DEFAULT_RUNTIME_DIR ")", "DIR" },
        { "check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
          "Check the configuration, say what is wrong, and exit 0 or 1",
          NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version and exit", NULL },
        { NULL },
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- keeps IoT device keys in the TPM and gives out tokens");
    g_option_context_set_summary(context,
                                 "The daemon behind org.hubkey on the system bus; see hubkeyd(8). It is started "
                                 "by systemd or by the bus, and keeps running in the foreground.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "hubkeyd: %s; see hubkeyd --help\n", error->message);
        return false;
    }
    if (argc > 1) {
        fprintf(stderr, "hubkeyd: \"%s\" is not an option; see hubkeyd --help\n", argv[1]);
        return false;
    }
    if (!options->places.config_file)
        options->places.config_file = g_strdup(CONFIG_DEFAULT_FILE);
    if (!options->places.state_dir)
        options->places.state_dir = g_strdup(DEFAULT_STATE_DIR);
    if (!options->places.runtime_dir)
        options->places.runtime_dir = g_strdup(DEFAULT_RUNTIME_DIR);
    return true;
}

static struct config *
load_config(const struct options *options)
{
    g_autoptr(GPtrArray) complaints = g_ptr_array_new_with_free_func(g_free);
    struct config *config = config_load(options->places.config_file, complaints);
    for (guint i = 0; i < complaints->len; i++)
        fprintf(stderr, "%s\n", (const char *)complaints->pdata[i]);
    return config;
}

/* ---- a process that keeps secrets ---- */

static void
harden(void)
{
    const struct rlimit no_core = { 0, 0 };
    struct rlimit files;
    umask(077);
    /* libdbus drops the connection when a descriptor that comes with a message finds no room. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_DUMPABLE, 0); /* no core, no ptrace, no /proc/PID/mem for others of our user */
    /* A long message goes back to the system when it is freed; glibc would keep the next ones on its heap. */
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_ARENA_MAX, 1); /* the worker needs no heap of its own, most of it empty */
    setenv("TSS2_LOG", "all+none", 0); /* tpm.c logs what matters, once */
}

int
main(int argc, char **argv)
{
    struct options options = { 0 };
    int code = 2;
    setlocale(LC_ALL, "");
    bool understood = parse_options(argc, argv, &options);
    if (understood && options.version) {
        printf("hubkeyd " VERSION "\n");
        code = 0;
    } else if (understood) {
        struct config *config = load_config(&options);
        code = config ? 0 : 1;
        if (config && !options.check_config) {
            harden();
            audit_init_log();
            code = serve(&options.places, g_steal_pointer(&config));
        }
        config_free(config);
    }
    clear_options(&options);
    return code;
}
