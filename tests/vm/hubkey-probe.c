/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stands in hubkeyd's place, with its user and inside its unit, and tries what a hubkeyd that somebody has taken over
 * would try. Prints one line an attempt: its name, and "works" or the error's name.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#define PROGRAM "/usr/bin/true" /* what is tried to be run */

static void
report(const char *name, bool works)
{
    printf("%s %s\n", name, works ? "works" : strerrorname_np(errno));
}

/* ---- network ---- */

static void
try_socket(const char *name, int family, int type)
{
    int fd = socket(family, type, 0);
    report(name, fd >= 0);
    if (fd >= 0)
        close(fd);
}

static void
try_network(void)
{
    char name[64] = "";
    try_socket("socket-unix", AF_UNIX, SOCK_STREAM);
    try_socket("socket-inet", AF_INET, SOCK_STREAM);
    try_socket("socket-inet-datagram", AF_INET, SOCK_DGRAM);
    try_socket("socket-inet6", AF_INET6, SOCK_STREAM);
    try_socket("socket-netlink", AF_NETLINK, SOCK_RAW);
    try_socket("socket-vsock", AF_VSOCK, SOCK_STREAM);
    if (readlink("/proc/self/ns/net", name, sizeof name - 1) > 0)
        printf("network-namespace %s\n", name);
}

/* ---- files and devices ---- */

static void
try_open(const char *name, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    report(name, fd >= 0);
    if (fd >= 0)
        close(fd);
}

static void
try_create(const char *name, const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "hubkey-probe", NULL);
    try_open(name, path, O_RDWR | O_CREAT | O_EXCL);
    unlink(path);
}

/* Folders of mode 01777, made for the test. */
static const char *const everybodys[] = {
    "/srv/hubkey-probe", "/etc/hubkey/hubkey-probe", "/run/hubkey-everybody", "/usr/lib/hubkey-probe"
};

static void
try_files(const char *state)
{
    try_create("create-state", state);
    for (size_t i = 0; i < G_N_ELEMENTS(everybodys); i++) {
        g_autofree char *name = g_strconcat("create-", everybodys[i], NULL);
        try_create(name, everybodys[i]);
    }
    try_create("create-/dev/shm", "/dev/shm");
    try_create("create-/tmp", "/tmp");
    try_create("create-/var/tmp", "/var/tmp");
    try_open("read-home", "/home", O_RDONLY | O_DIRECTORY);
    try_open("read-other-process", "/proc/1/status", O_RDONLY);
    try_open("read-kernel", "/proc/version", O_RDONLY);
    try_open("write-tunable", "/proc/sys/kernel/ns_last_pid", O_WRONLY);
    try_open("device-null", "/dev/null", O_RDWR);
    try_open("device-tpm", "/dev/tpmrm0", O_RDWR);
    try_open("device-other", "/dev/hubkey-probe", O_RDWR); /* a node of mode 0666 */
}

/* ---- running what is not hubkeyd ---- */

/* The child tells by its exit code how exec failed. */
static void
try_run(const char *name, int program)
{
    char *const arguments[] = { (char *)"probe", NULL };
    int status = 0;
    pid_t pid = program >= 0 ? fork() : -1;
    if (pid == 0) {
        fexecve(program, arguments, environ);
        _exit(errno);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    report(name, pid > 0 && status == 0);
    if (program >= 0)
        close(program);
}

static bool
copy_program(int to)
{
    g_autofree char *bytes = NULL;
    gsize length = 0;
    return to >= 0 && g_file_get_contents(PROGRAM, &bytes, &length, NULL) && write(to, bytes, length) == (gssize)length;
}

static void
try_run_copy(const char *name, const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "hubkey-probe-copy", NULL);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    bool copied = copy_program(to);
    if (to >= 0)
        close(to);
    if (copied)
        try_run(name, open(path, O_RDONLY));
    else
        report(name, false);
    unlink(path);
}

static void
try_running(const char *state, const char *runtime)
{
    try_run("run-program", open(PROGRAM, O_RDONLY));
    try_run_copy("run-own-file", state);
    try_run_copy("run-runtime-file", runtime);
    int memory = memfd_create("probe", 0);
    if (copy_program(memory))
        try_run("run-memory", memory);
    else
        report("run-memory", false);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    report("writable-code", page != MAP_FAILED);
}

/* The rule behind the attempts: what can be written cannot be run. */
static void
print_open_mounts(void)
{
    g_autofree char *text = NULL;
    struct statvfs info;
    if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
        return;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, " ", 6);
        if (g_strv_length(fields) == 6 && statvfs(fields[4], &info) == 0 && !(info.f_flag & (ST_RDONLY | ST_NOEXEC)))
            printf("open-mount %s\n", fields[4]);
    }
}

/* ---- more rights ---- */

static void
try_in_child(const char *name, bool (*attempt)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(attempt() ? 0 : errno);
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    report(name, pid > 0 && status == 0);
}

static bool
user_namespace(void)
{
    return unshare(CLONE_NEWUSER) == 0;
}

static bool
other_personality(void)
{
    return personality(READ_IMPLIES_EXEC) >= 0;
}

static bool
be_traced(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static void
try_setuid_file(const char *state)
{
    g_autofree char *path = g_build_filename(state, "hubkey-probe-setuid", NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    report("setuid-file", fd >= 0 && fchmod(fd, 04755) == 0);
    if (fd >= 0)
        close(fd);
    unlink(path);
}

static void
print_status(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/status", &text, NULL, NULL))
        return;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_has_prefix(*line, "CapBnd:") || g_str_has_prefix(*line, "CapEff:") ||
            g_str_has_prefix(*line, "NoNewPrivs:"))
            printf("%s\n", g_strdelimit(*line, ":\t", ' '));
}

int
main(void)
{
    const char *state = g_getenv("STATE_DIRECTORY"), *runtime = g_getenv("RUNTIME_DIRECTORY");
    if (!state || !runtime) {
        fprintf(stderr, "hubkey-probe: STATE_DIRECTORY or RUNTIME_DIRECTORY names no folder\n");
        return 2;
    }
    try_network();
    try_files(state);
    try_running(state, runtime);
    print_open_mounts();
    try_in_child("user-namespace", user_namespace);
    try_in_child("personality", other_personality);
    try_in_child("trace", be_traced);
    try_setuid_file(state);
    print_status();
    return 0;
}
