/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyctl audit: who had what of which slot.
 */
#include <config.h>

#include "tools/audit-record.h"
#include "tools/command.h"
#include "tools/lines.h"
#include "tools/output.h"
#include "tools/since.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNIT "hubkeyd.service"
#define LINE_MAX_BYTES (64 << 10)

static char *since_text, *slot_text, *user_text, *file_name;

static const GOptionEntry entries[] = {
    { "since", 0, 0, G_OPTION_ARG_STRING, &since_text, "only from then on, as journalctl takes it", "TIME" },
    { "slot", 0, 0, G_OPTION_ARG_STRING, &slot_text, "only about this slot", "N" },
    { "user", 0, 0, G_OPTION_ARG_STRING, &user_text, "only callers of this user", "NAME|UID" },
    { "file", 0, 0, G_OPTION_ARG_FILENAME, &file_name, "read what hubkeyd wrote to stderr; - is stdin", "FILE" },
    { NULL },
};

/* What is asked for, and where it goes. */
struct audit {
    bool json;
    int64_t since_ms; /* -1: from the beginning */
    char *slot, *uid; /* NULL: all */
    struct table *table;
};

/* ---- what is asked for ---- */

static bool
read_user(const struct context *context, struct audit *audit)
{
    uint32_t uid;
    if (!user_text)
        return true;
    const struct passwd *user = getpwnam(user_text);
    if (user)
        uid = user->pw_uid;
    else if (!text_parse_u32(user_text, UINT32_MAX, &uid)) {
        command_usage(context, "there is no user \"%s\"", user_text);
        return false;
    }
    audit->uid = g_strdup_printf("%u", uid);
    return true;
}

static bool
read_options(const struct context *context, struct audit *audit)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    uint32_t slot;
    audit->since_ms = -1;
    if (since_text && !since_parse(since_text, now, &audit->since_ms, &error)) {
        command_usage(context, "--since: %s", error->message);
        return false;
    }
    if (slot_text && !command_slot(context, slot_text, &slot))
        return false;
    if (slot_text)
        audit->slot = g_strdup_printf("%u", slot);
    return read_user(context, audit);
}

static bool
is_wanted(const struct audit *audit, const struct audit_entry *entry)
{
    return entry->time_ms >= audit->since_ms &&
           (!audit->slot || g_strcmp0(entry->fields[AUDIT_SLOT], audit->slot) == 0) &&
           (!audit->uid || g_strcmp0(entry->fields[AUDIT_UID], audit->uid) == 0);
}

/* ---- printing ---- */

static const char *
or_dash(const char *text)
{
    return text && *text ? text : "-";
}

/* The last one asked for is kept: the same user stands in most rows. */
static const char *
user_name(const char *uid)
{
    static char *of, *name;
    uint32_t number;
    if (g_strcmp0(uid, of) != 0) {
        const struct passwd *user = uid && text_parse_u32(uid, UINT32_MAX, &number) ? getpwuid(number) : NULL;
        g_free(of);
        g_free(name);
        of = g_strdup(uid);
        name = g_strdup(user ? user->pw_name : or_dash(uid));
    }
    return name;
}

static void
add_row(const struct audit *audit, const struct audit_entry *entry)
{
    char *const *fields = entry->fields;
    g_autofree char *time = entry->time_ms < 0 ? g_strdup("-") : output_time(entry->time_ms);
    g_autofree char *event = fields[AUDIT_COUNT]
                                 ? g_strdup_printf("%s more %s", fields[AUDIT_COUNT], fields[AUDIT_EVENT])
                                 : g_strdup(fields[AUDIT_EVENT]);
    const char *scope = fields[AUDIT_SCOPE] && !*fields[AUDIT_SCOPE] ? "/" : or_dash(fields[AUDIT_SCOPE]);
    table_add(audit->table, (const char *const[]){
        time, event, fields[AUDIT_DECISION], or_dash(fields[AUDIT_SLOT]), user_name(fields[AUDIT_UID]), scope,
        or_dash(fields[AUDIT_TTL]), or_dash(fields[AUDIT_RULE]),
        or_dash(fields[AUDIT_TOKEN_ID] ? fields[AUDIT_TOKEN_ID] : fields[AUDIT_ERROR]) });
}

static void
take_line(struct audit *audit, const struct line *line)
{
    struct audit_entry entry;
    if (!line->text || !audit_entry_read(line->text, line->len, &entry))
        return;
    if (is_wanted(audit, &entry) && audit->json)
        output_json(audit_entry_json(&entry));
    else if (is_wanted(audit, &entry))
        add_row(audit, &entry);
    audit_entry_clear(&entry);
}

/* 0 or an error number. */
static int
read_all(struct audit *audit, int fd)
{
    struct lines *lines = lines_new(fd, LINE_MAX_BYTES);
    struct line line;
    ssize_t n;
    do {
        n = lines_fill(lines);
        if (n < 0 && errno != EINTR)
            break;
        while (lines_next(lines, n == 0, &line))
            take_line(audit, &line);
    } while (n != 0);
    int code = n < 0 ? errno : 0;
    lines_free(lines);
    return code;
}

/* ---- where it comes from ---- */

static int
read_file(struct audit *audit)
{
    bool is_stdin = strcmp(file_name, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(file_name, O_RDONLY | O_CLOEXEC);
    int problem = fd < 0 ? errno : read_all(audit, fd);
    if (fd >= 0 && !is_stdin)
        close(fd);
    return problem == 0 ? EXIT_DONE : command_failed(EXIT_FAILED, "cannot read %s: %s", file_name, g_strerror(problem));
}

static int
read_journal(struct audit *audit)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *fields = audit_entry_journal_fields();
    g_autofree char *output = g_strconcat("--output-fields=", fields, NULL);
    g_autofree char *since = g_strdup_printf("--since=@%" G_GINT64_FORMAT, (gint64)MAX(audit->since_ms, 0) / 1000);
    /* Whatever is named otherwise can be written by anybody; the unit is the journal's own word. */
    char *argv[] = { (char *)"journalctl", (char *)"--unit=" UNIT, (char *)"--output=json", (char *)"--no-pager",
                     (char *)"--quiet", output, audit->since_ms < 0 ? NULL : since, NULL };
    int fd, status = 0;
    GPid pid;
    if (!g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                                  NULL, &fd, NULL, &error))
        return command_failed(EXIT_FAILED, "cannot run journalctl: %s; where there is no journal, --file reads what "
                              "hubkeyd wrote to stderr", error->message);
    int problem = read_all(audit, fd);
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (problem == 0 && g_spawn_check_wait_status(status, NULL))
        return EXIT_DONE;
    return command_failed(EXIT_FAILED, "journalctl failed; the journal is for root and the groups adm and "
                          "systemd-journal");
}

static int
run(const struct context *context, char **arguments, int n)
{
    static const char *const titles[] = { "TIME", "EVENT", "DECISION", "SLOT", "USER", "SCOPE", "TTL", "RULE",
                                          "TOKEN ID OR ERROR" };
    struct audit audit = { .json = context->json };
    int code = EXIT_USAGE;
    if (read_options(context, &audit)) {
        audit.table = table_new(G_N_ELEMENTS(titles), titles);
        code = file_name ? read_file(&audit) : read_journal(&audit);
        bool is_empty = table_rows(audit.table) == 0;
        if (code == EXIT_DONE && !context->json && is_empty)
            fputs("hubkeyctl: no decision is recorded there\n", stderr);
        (context->json || is_empty ? table_free : table_print)(audit.table);
    }
    g_free(audit.slot);
    g_free(audit.uid);
    return code;
}

const struct command command_audit = {
    .name = "audit",
    .arguments = "[--since TIME] [--slot N] [--user NAME|UID] [--file FILE]",
    .summary = "show what hubkeyd decided, for whom, and why",
    .details = "Reads the journal of " UNIT ", or the lines that hubkeyd wrote to stderr. TIME is \"-1h\", \"today\",\n"
               "\"2026-11-24 10:00\" and the like.",
    .entries = entries,
    .run = run,
};
