/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/audit-record.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#include <glib.h>

#define PREFIX "HUBKEY_"
#define TIME "HUBKEY_TIME"
#define JOURNAL_TIME "__REALTIME_TIMESTAMP" /* microseconds */

static const struct {
    const char *key; /* after HUBKEY_ */
    const char *name; /* in JSON */
    bool number;
} fields[AUDIT_FIELDS] = {
    [AUDIT_EVENT] = { "EVENT", "event", false },
    [AUDIT_DECISION] = { "DECISION", "decision", false },
    [AUDIT_SLOT] = { "SLOT", "slot", true },
    [AUDIT_UID] = { "UID", "uid", true },
    [AUDIT_CALLER] = { "CALLER", "caller", false },
    [AUDIT_SCOPE] = { "SCOPE", "scope", false },
    [AUDIT_TTL] = { "TTL", "ttl", true },
    [AUDIT_RULE] = { "RULE", "rule", false },
    [AUDIT_ERROR] = { "ERROR", "error", false },
    [AUDIT_TOKEN_ID] = { "TOKEN_ID", "token_id", false },
    [AUDIT_GENERATION] = { "GENERATION", "generation", true },
    [AUDIT_TRACKING_ID] = { "TRACKING_ID", "tracking_id", false },
    [AUDIT_COUNT] = { "COUNT", "count", true },
};

void
audit_entry_clear(struct audit_entry *entry)
{
    for (size_t i = 0; i < AUDIT_FIELDS; i++)
        g_free(entry->fields[i]);
    *entry = (struct audit_entry){ .time_ms = -1 };
}

static int64_t
parse_time(const char *text)
{
    guint64 value;
    return g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &value, NULL) ? (int64_t)value : -1;
}

static void
take(struct audit_entry *entry, const char *key, size_t key_len, const char *value, size_t len)
{
    for (size_t i = 0; i < AUDIT_FIELDS; i++)
        if (strlen(fields[i].key) == key_len && strncmp(fields[i].key, key, key_len) == 0 && !entry->fields[i])
            entry->fields[i] = g_strndup(value, len);
}

/* "hubkeyd: info: what happened HUBKEY_TIME=… HUBKEY_EVENT=…", perhaps behind what a supervisor puts before it. */
static void
read_line(const char *line, struct audit_entry *entry)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    for (char **word = words; *word; word++) {
        const char *equals = strchr(*word, '=');
        if (!equals || !g_str_has_prefix(*word, PREFIX))
            continue;
        if (g_str_has_prefix(*word, TIME "="))
            entry->time_ms = parse_time(equals + 1);
        else
            take(entry, *word + strlen(PREFIX), (size_t)(equals - *word) - strlen(PREFIX), equals + 1,
                 strlen(equals + 1));
    }
}

static void
read_object(const json_t *object, struct audit_entry *entry)
{
    const char *time = json_string_value(json_object_get(object, JOURNAL_TIME));
    entry->time_ms = time ? parse_time(time) / 1000 : -1;
    for (size_t i = 0; i < AUDIT_FIELDS; i++) {
        g_autofree char *key = g_strconcat(PREFIX, fields[i].key, NULL);
        const json_t *value = json_object_get(object, key);
        entry->fields[i] = g_strdup(json_string_value(value));
    }
}

bool
audit_entry_read(const char *line, size_t len, struct audit_entry *entry)
{
    *entry = (struct audit_entry){ .time_ms = -1 };
    if (len > 0 && line[0] == '{') {
        json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
        read_object(object, entry);
        json_decref(object);
    } else {
        g_autofree char *text = g_strndup(line, len);
        read_line(g_strchomp(text), entry);
    }
    if (entry->fields[AUDIT_EVENT] && entry->fields[AUDIT_DECISION])
        return true;
    audit_entry_clear(entry);
    return false;
}

json_t *
audit_entry_json(const struct audit_entry *entry)
{
    json_t *object = json_object();
    json_object_set_new(object, "time", entry->time_ms < 0 ? json_null() : json_integer(entry->time_ms));
    for (size_t i = 0; i < AUDIT_FIELDS; i++) {
        guint64 number;
        const char *value = entry->fields[i];
        if (!value)
            continue;
        bool is_number = fields[i].number && g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &number, NULL);
        json_t *json = is_number ? json_integer((json_int_t)number) : json_string(value);
        json_object_set_new(object, fields[i].name, json ? json : json_null());
    }
    return object;
}

char *
audit_entry_journal_fields(void)
{
    GString *list = g_string_new(NULL);
    for (size_t i = 0; i < AUDIT_FIELDS; i++)
        g_string_append_printf(list, "%s" PREFIX "%s", i > 0 ? "," : "", fields[i].key);
    return g_string_free(list, FALSE);
}
