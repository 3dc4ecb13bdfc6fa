/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/audit.h"
#include "daemon/audit-fold.h"
#include "daemon/audit-limit.h"
#include "common/clock.h"

#include <glib.h>

#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define SCOPE_MAX_BYTES 256 /* longer ones are no scopes, and must not crowd out the fields behind them */

/* Values come from callers: what could start a new line or field is replaced. */
static void
append_value(GString *line, const char *value, gssize len)
{
    size_t n = len < 0 ? strlen(value) : (size_t)len;
    for (size_t i = 0; i < n; i++)
        g_string_append_c(line, g_ascii_isgraph(value[i]) ? value[i] : '?');
}

/* What somebody else has written may stand in it: it must look neither like a line nor like a field. */
static void
append_message(GString *line, const char *text)
{
    for (; *text; text++)
        if (g_str_has_prefix(text, "HUBKEY_")) {
            g_string_append(line, "HUBKEY?");
            text += strlen("HUBKEY_") - 1;
        } else {
            g_string_append_c(line, g_ascii_iscntrl(*text) ? '?' : *text);
        }
}

static const char *
level_name(GLogLevelFlags level)
{
    return level & G_LOG_LEVEL_ERROR      ? "fatal"
           : level & G_LOG_LEVEL_CRITICAL ? "error"
           : level & G_LOG_LEVEL_WARNING  ? "warning"
           : level & G_LOG_LEVEL_DEBUG    ? "debug"
                                          : "info";
}

/* One write a record, so that lines of two threads never mix. */
static GLogWriterOutput
write_line(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
    g_autoptr(GString) line = g_string_sized_new(256);
    g_string_append_printf(line, "hubkeyd: %s: ", level_name(level));
    for (gsize i = 0; i < n_fields; i++)
        if (strcmp(fields[i].key, "MESSAGE") == 0)
            append_message(line, fields[i].value);
    for (gsize i = 0; i < n_fields; i++) {
        if (strcmp(fields[i].key, "HUBKEY_EVENT") == 0) /* the journal has a time for every record */
            g_string_append_printf(line, " HUBKEY_TIME=%" G_GINT64_FORMAT, (gint64)(clock_wall_us() / 1000));
        if (g_str_has_prefix(fields[i].key, "HUBKEY_")) {
            g_string_append_printf(line, " %s=", fields[i].key);
            append_value(line, fields[i].value, fields[i].length);
        }
    }
    g_string_truncate(line, MIN(line->len, LINE_MAX_BYTES));
    g_string_append_c(line, '\n');
    return write(STDERR_FILENO, line->str, line->len) < 0 ? G_LOG_WRITER_UNHANDLED : G_LOG_WRITER_HANDLED;
}

static GLogWriterOutput
write_log(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
    if ((level & G_LOG_LEVEL_DEBUG) && !data)
        return G_LOG_WRITER_HANDLED;
    if (g_log_writer_is_journald(STDERR_FILENO) &&
        g_log_writer_journald(level, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
        return G_LOG_WRITER_HANDLED;
    return write_line(level, fields, n_fields, data);
}

void
audit_init_log(void)
{
    bool debug = g_getenv("G_MESSAGES_DEBUG") != NULL;
    g_log_set_writer_func(write_log, GINT_TO_POINTER(debug), NULL);
}

static void
write_record(const struct audit_record *record)
{
    char uid[16], slot[16], ttl[16], generation[24], count[16], message[128];
    GLogField fields[15];
    gsize n = 0;
    bool denied = strcmp(record->decision, "denied") == 0, about_slot = record->slot != AUDIT_NO_SLOT;
    g_autofree char *scope = g_strndup(record->scope, SCOPE_MAX_BYTES);
    g_snprintf(uid, sizeof uid, "%u", record->uid);
    g_snprintf(slot, sizeof slot, "%u", record->slot);
    g_snprintf(ttl, sizeof ttl, "%u", record->ttl);
    g_snprintf(generation, sizeof generation, "%" G_GUINT64_FORMAT, record->generation);
    g_snprintf(count, sizeof count, "%u", record->count);
    g_snprintf(message, sizeof message, "%s%s%s %s: %s%s, uid %u", record->count ? count : "",
               record->count ? " more " : "", record->event, record->decision, about_slot ? "slot " : "no slot",
               about_slot ? slot : "", record->uid);
    const struct {
        const char *key, *value;
    } rows[] = {
        { "MESSAGE", message },
        { "PRIORITY", denied ? "5" : "6" },
        { "HUBKEY_EVENT", record->event },
        { "HUBKEY_DECISION", record->decision },
        { "HUBKEY_SLOT", about_slot ? slot : NULL },
        { "HUBKEY_UID", uid },
        { "HUBKEY_CALLER", record->caller },
        { "HUBKEY_SCOPE", scope },
        { "HUBKEY_TTL", record->scope && !record->ttls_differ ? ttl : NULL },
        { "HUBKEY_RULE", record->rule },
        { "HUBKEY_ERROR", record->error },
        { "HUBKEY_TOKEN_ID", record->token_id },
        { "HUBKEY_GENERATION", record->generation ? generation : NULL },
        { "HUBKEY_TRACKING_ID", record->tracking_id },
        { "HUBKEY_COUNT", record->count ? count : NULL },
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(rows) == G_N_ELEMENTS(fields));
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        if (rows[i].value)
            fields[n++] = (GLogField){ rows[i].key, rows[i].value, -1 };
    g_log_structured_array(denied ? G_LOG_LEVEL_MESSAGE : G_LOG_LEVEL_INFO, fields, n);
}

/* What audit-limit has held back. */
static void
write_more(uid_t uid, unsigned count, void *unused)
{
    write_record(&(struct audit_record){ .event = "refusals", .decision = "denied", .slot = AUDIT_NO_SLOT, .uid = uid,
                                         .rule = "log-limit", .count = count });
}

void
audit_write(const struct audit_record *record)
{
    bool allowed = strcmp(record->decision, "allowed") == 0;
    if (allowed ? !audit_fold_take(record, write_record) : audit_limit_pass(record->uid, write_more, NULL))
        write_record(record);
}

void
audit_flush(void)
{
    audit_fold_flush();
    audit_limit_flush(write_more, NULL);
}
