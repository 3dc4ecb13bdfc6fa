/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/config.h"
#include "daemon/sas.h"
#include "dbus/names.h"
#include "common/error.h"
#include "common/text.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

/* Rules as the files give them: a key that no file sets is taken from [slots], then from the defaults. */
struct given_rules {
    bool users_set, groups_set, scopes_set, default_ttl_set, max_ttl_set;
    GArray *users, *groups;
    char **scopes;
    uint32_t default_ttl, max_ttl;
    char *ttl_at; /* "FILE:LINE" of the later of DefaultTtl and MaxTtl */
};

struct loading {
    struct config *config;
    struct given_rules all;
    GHashTable *slots; /* number -> struct given_rules */
    GPtrArray *complaints;
    const struct place *place; /* of the value that is being set */
};

/* Where a value stands, for complaints. */
struct place {
    const char *file;
    unsigned line;
};

G_GNUC_PRINTF(3, 4)
static void
complain(struct loading *loading, const struct place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_ptr_array_add(loading->complaints, g_strdup_printf("%s:%u: %s", place->file, place->line, text));
}

static void
clear_given(struct given_rules *rules)
{
    if (rules->users)
        g_array_unref(rules->users);
    if (rules->groups)
        g_array_unref(rules->groups);
    g_strfreev(rules->scopes);
    g_free(rules->ttl_at);
}

static void
free_given(gpointer data)
{
    clear_given(data);
    g_free(data);
}

/* ---- one setter a kind of value; each returns NULL or what is wrong ---- */

static char *
parse_number(const char *value, uint32_t min, uint32_t max, uint32_t *number)
{
    if (text_parse_u32(value, max, number) && *number >= min)
        return NULL;
    return g_strdup_printf("\"%s\" is not a whole number from %u to %u", value, min, max);
}

static char *
set_tcti(struct loading *loading, struct given_rules *rules, const char *value)
{
    if (!*value)
        return g_strdup("must name a TCTI, as in " CONFIG_DEFAULT_TCTI);
    g_free(loading->config->tcti);
    loading->config->tcti = g_strdup(value);
    return NULL;
}

static char *
set_owner_auth_file(struct loading *loading, struct given_rules *rules, const char *value)
{
    if (value[0] != '/')
        return g_strdup("must be an absolute path");
    g_free(loading->config->owner_auth_file);
    loading->config->owner_auth_file = g_strdup(value);
    return NULL;
}

static char *
set_granularity(struct loading *loading, struct given_rules *rules, const char *value)
{
    return parse_number(value, 1, CONFIG_GRANULARITY_MAX, &loading->config->token_granularity);
}

static char *
set_users(struct loading *loading, struct given_rules *rules, const char *value)
{
    g_auto(GStrv) names = g_strsplit(value, ";", -1);
    g_autoptr(GArray) users = g_array_new(FALSE, FALSE, sizeof(uid_t));
    for (char **name = names; *name; name++) {
        struct passwd *entry;
        if (!*g_strstrip(*name))
            continue;
        entry = getpwnam(*name);
        if (!entry)
            return g_strdup_printf("there is no user \"%s\"", *name);
        g_array_append_val(users, entry->pw_uid);
    }
    g_clear_pointer(&rules->users, g_array_unref);
    rules->users = g_steal_pointer(&users);
    rules->users_set = true;
    return NULL;
}

static char *
set_groups(struct loading *loading, struct given_rules *rules, const char *value)
{
    g_auto(GStrv) names = g_strsplit(value, ";", -1);
    g_autoptr(GArray) groups = g_array_new(FALSE, FALSE, sizeof(gid_t));
    for (char **name = names; *name; name++) {
        struct group *entry;
        if (!*g_strstrip(*name))
            continue;
        entry = getgrnam(*name);
        if (!entry)
            return g_strdup_printf("there is no group \"%s\"", *name);
        g_array_append_val(groups, entry->gr_gid);
    }
    g_clear_pointer(&rules->groups, g_array_unref);
    rules->groups = g_steal_pointer(&groups);
    rules->groups_set = true;
    return NULL;
}

static char *
set_scopes(struct loading *loading, struct given_rules *rules, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ";", -1);
    g_autoptr(GPtrArray) scopes = g_ptr_array_new_with_free_func(g_free);
    for (char **part = parts; *part; part++) {
        g_autoptr(GError) error = NULL;
        if (!*g_strstrip(*part))
            continue;
        if (strcmp(*part, "/") != 0 && !sas_check_scope(*part, &error))
            return g_strdup_printf("\"%s\": %s; \"/\" means the whole identity", *part, error->message);
        g_ptr_array_add(scopes, g_strdup(*part));
    }
    if (scopes->len == 0)
        return g_strdup("must list at least one scope; \"/\" means the whole identity");
    g_ptr_array_add(scopes, NULL);
    g_strfreev(rules->scopes);
    rules->scopes = (char **)g_ptr_array_free(g_steal_pointer(&scopes), FALSE);
    rules->scopes_set = true;
    return NULL;
}

static char *
set_ttl(struct loading *loading, struct given_rules *rules, const char *value, uint32_t *ttl, bool *set)
{
    char *wrong = parse_number(value, 1, ACCESS_TTL_CEILING, ttl);
    if (wrong)
        return wrong;
    *set = true;
    g_free(rules->ttl_at);
    rules->ttl_at = g_strdup_printf("%s:%u", loading->place->file, loading->place->line);
    return NULL;
}

static char *
set_default_ttl(struct loading *loading, struct given_rules *rules, const char *value)
{
    return set_ttl(loading, rules, value, &rules->default_ttl, &rules->default_ttl_set);
}

static char *
set_max_ttl(struct loading *loading, struct given_rules *rules, const char *value)
{
    return set_ttl(loading, rules, value, &rules->max_ttl, &rules->max_ttl_set);
}

enum { IN_HUBKEYD = 1, IN_SLOTS = 2 };

static const struct {
    const char *name;
    int where;
    char *(*set)(struct loading *, struct given_rules *, const char *value);
} keys[] = {
    { "Tcti", IN_HUBKEYD, set_tcti },
    { "OwnerAuthFile", IN_HUBKEYD, set_owner_auth_file },
    { "TokenGranularity", IN_HUBKEYD, set_granularity },
    { "AllowUsers", IN_SLOTS, set_users },
    { "AllowGroups", IN_SLOTS, set_groups },
    { "Scopes", IN_SLOTS, set_scopes },
    { "DefaultTtl", IN_SLOTS, set_default_ttl },
    { "MaxTtl", IN_SLOTS, set_max_ttl },
};

static char *
list_keys(int where)
{
    GString *list = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        if (keys[i].where == where)
            g_string_append_printf(list, "%s%s", list->len ? " " : "", keys[i].name);
    return g_string_free(list, FALSE);
}

/* ---- a file ---- */

/* What the lines of a file are read into: the group that a key stands in. */
struct section {
    int where;                /* 0: an unknown group, whose keys are passed over */
    char *name;               /* as in the file */
    struct given_rules *rules; /* of [slots] and [slot N] */
};

static struct given_rules *
rules_of_slot(struct loading *loading, uint32_t slot)
{
    struct given_rules *rules = g_hash_table_lookup(loading->slots, GUINT_TO_POINTER(slot));
    if (!rules) {
        rules = g_new0(struct given_rules, 1);
        g_hash_table_insert(loading->slots, GUINT_TO_POINTER(slot), rules);
    }
    return rules;
}

static void
enter_section(struct loading *loading, const struct place *place, struct section *section)
{
    uint32_t slot;
    section->where = 0;
    section->rules = NULL;
    if (strcmp(section->name, "hubkeyd") == 0) {
        section->where = IN_HUBKEYD;
    } else if (strcmp(section->name, "slots") == 0) {
        section->where = IN_SLOTS;
        section->rules = &loading->all;
    } else if (g_str_has_prefix(section->name, "slot ") &&
               text_parse_u32(section->name + strlen("slot "), NAMES_SLOT_MAX, &slot)) {
        section->where = IN_SLOTS;
        section->rules = rules_of_slot(loading, slot);
    } else {
        complain(loading, place, "[%s] is not a group; there are [hubkeyd], [slots] and [slot N] with N from 0 to %d",
                 section->name, NAMES_SLOT_MAX);
    }
}

static void
set_key(struct loading *loading, const struct place *place, const struct section *section, const char *key,
        const char *value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, key) != 0 || keys[i].where != section->where)
            continue;
        loading->place = place;
        g_autofree char *wrong = keys[i].set(loading, section->rules, value);
        if (wrong)
            complain(loading, place, "%s: %s", key, wrong);
        return;
    }
    g_autofree char *known = list_keys(section->where);
    complain(loading, place, "%s is not a key of [%s]; there are: %s", key, section->name, known);
}

/* One line, stripped. The grammar is GKeyFile's; GKeyFile itself has accepted the file already, and gives the values.
 * Walking the lines as well is what gives complaints their line, and what finds things that stand twice. */
static void
read_line(struct loading *loading, GKeyFile *file, const struct place *place, struct section *section, GHashTable *seen,
          const char *line)
{
    bool group = line[0] == '[';
    const char *end = strchr(line, group ? ']' : '=');
    if (line[0] == '\0' || line[0] == '#' || !end)
        return;
    g_autofree char *name = g_strndup(group ? line + 1 : line, (gsize)(end - line - group));
    if (!group)
        g_strchomp(name); /* as GKeyFile does; the name of a group is taken as it stands */
    g_autofree char *full = group ? g_strconcat("[", name, NULL) : g_strconcat("[", section->name, "]", name, NULL);
    if (!g_hash_table_add(seen, g_steal_pointer(&full))) {
        complain(loading, place, group ? "[%s] stands twice in this file" : "%s stands twice in its group", name);
        if (group)
            section->where = 0;
        return;
    }
    if (group) {
        g_free(section->name);
        section->name = g_steal_pointer(&name);
        enter_section(loading, place, section);
    } else if (section->where) {
        g_autoptr(GError) error = NULL;
        g_autofree char *value = g_key_file_get_string(file, section->name, name, &error);
        if (value)
            set_key(loading, place, section, name, value);
        else
            complain(loading, place, "%s: %s", name, error->message);
    }
}

static void
read_lines(struct loading *loading, GKeyFile *file, const char *path, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct section section = { 0 };
    for (unsigned i = 0; lines[i]; i++) {
        const struct place place = { path, i + 1 };
        read_line(loading, file, &place, &section, seen, g_strstrip(lines[i]));
    }
    g_free(section.name);
}

/* GKeyFile says what is wrong but not where; the first line that is no group, key or comment is it. */
static unsigned
find_bad_line(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    bool in_group = false;
    for (unsigned i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        if (line[0] == '\0' || line[0] == '#')
            continue;
        bool group = line[0] == '[' && line[strlen(line) - 1] == ']';
        if (!group && !(in_group && strchr(line, '=') && line[0] != '='))
            return i + 1;
        in_group = true;
    }
    return 1;
}

static void
load_file(struct loading *loading, const char *path, bool may_be_missing)
{
    struct place place = { path, 1 };
    struct stat info;
    g_autofree char *text = NULL;
    gsize len;
    g_autoptr(GError) error = NULL;
    bool there = stat(path, &info) == 0;
    if (there && !S_ISREG(info.st_mode)) {
        complain(loading, &place, S_ISDIR(info.st_mode) ? "this is a directory, not a file" : "this is not a regular file");
        return;
    }
    if (there && info.st_size > CONFIG_FILE_MAX) {
        complain(loading, &place, "the file is larger than %d bytes", CONFIG_FILE_MAX);
        return;
    }
    if (!g_file_get_contents(path, &text, &len, &error)) {
        if (!may_be_missing || !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            complain(loading, &place, "%s", error->message);
        return;
    }
    g_autoptr(GKeyFile) file = g_key_file_new();
    const char *bad;
    if (!g_utf8_validate(text, (gssize)len, &bad)) {
        for (const char *c = text; c < bad; c++)
            place.line += *c == '\n';
        complain(loading, &place, "the file is not UTF-8 text");
    } else if (!g_key_file_load_from_data(file, text, len, G_KEY_FILE_NONE, &error)) {
        place.line = find_bad_line(text);
        complain(loading, &place, "%s", error->message);
    } else {
        read_lines(loading, file, path, text);
    }
}

static int
compare_names(gconstpointer left, gconstpointer right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void
load_drop_ins(struct loading *loading, const char *file)
{
    g_autofree char *folder = g_strconcat(file, ".d", NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) directory = g_dir_open(folder, 0, &error);
    if (error && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        complain(loading, &(struct place){ folder, 1 }, "%s", error->message);
    for (const char *name; directory && (name = g_dir_read_name(directory));)
        if (g_str_has_suffix(name, ".conf") && name[0] != '.')
            g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    if (names->len > CONFIG_FILES_MAX) {
        complain(loading, &(struct place){ folder, 1 }, "more than %d drop-ins", CONFIG_FILES_MAX);
        return;
    }
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(folder, names->pdata[i], NULL);
        load_file(loading, path, false);
    }
}

/* ---- what comes of it ---- */

static GArray *
ref_array(GArray *array)
{
    return array ? g_array_ref(array) : NULL;
}

static struct access_rules
merge(const struct given_rules *own, const struct given_rules *all)
{
    const struct given_rules *users = own->users_set ? own : all, *groups = own->groups_set ? own : all;
    const struct given_rules *scopes = own->scopes_set ? own : all;
    const struct given_rules *default_ttl = own->default_ttl_set ? own : all, *max = own->max_ttl_set ? own : all;
    struct access_rules rules = {
        .named = users->users_set || groups->groups_set,
        .users = ref_array(users->users),
        .groups = ref_array(groups->groups),
        .scopes = g_strdupv(scopes->scopes),
        .max_ttl = max->max_ttl_set ? max->max_ttl : ACCESS_MAX_TTL,
    };
    rules.default_ttl = default_ttl->default_ttl_set ? default_ttl->default_ttl : MIN(ACCESS_DEFAULT_TTL, rules.max_ttl);
    return rules;
}

static void
clear_rules(struct access_rules *rules)
{
    if (rules->users)
        g_array_unref(rules->users);
    if (rules->groups)
        g_array_unref(rules->groups);
    g_strfreev(rules->scopes);
}

static void
free_rules(gpointer data)
{
    clear_rules(data);
    g_free(data);
}

/* given: the group that sets one of the two, or both. */
static void
check_ttls(struct loading *loading, const struct given_rules *given, const char *group, const struct access_rules *rules)
{
    if (given->ttl_at && rules->default_ttl > rules->max_ttl)
        g_ptr_array_add(loading->complaints, g_strdup_printf("%s: [%s]: DefaultTtl=%u is above MaxTtl=%u", given->ttl_at,
                                                             group, rules->default_ttl, rules->max_ttl));
}

static void
merge_all(struct loading *loading)
{
    static const struct given_rules none = { 0 };
    GHashTableIter iter;
    gpointer slot, own;
    loading->config->defaults = merge(&none, &loading->all);
    check_ttls(loading, &loading->all, "slots", &loading->config->defaults);
    g_hash_table_iter_init(&iter, loading->slots);
    while (g_hash_table_iter_next(&iter, &slot, &own)) {
        struct access_rules *rules = g_new(struct access_rules, 1);
        g_autofree char *group = g_strdup_printf("slot %u", GPOINTER_TO_UINT(slot));
        *rules = merge(own, &loading->all);
        check_ttls(loading, own, group, rules);
        g_hash_table_insert(loading->config->slots, slot, rules);
    }
}

static void
clear_loading(struct loading *loading)
{
    clear_given(&loading->all);
    g_hash_table_destroy(loading->slots);
}

struct config *
config_load(const char *file, GPtrArray *complaints)
{
    struct loading loading = { .config = g_new0(struct config, 1), .complaints = complaints };
    struct config *config = loading.config;
    struct group *group = getgrnam(ACCESS_DEFAULT_GROUP);
    guint before = complaints->len;
    loading.slots = g_hash_table_new_full(NULL, NULL, NULL, free_given);
    config->slots = g_hash_table_new_full(NULL, NULL, NULL, free_rules);
    config->tcti = g_strdup(CONFIG_DEFAULT_TCTI);
    config->token_granularity = 1;
    config->default_group = group ? group->gr_gid : (gid_t)-1;

    load_file(&loading, file, strcmp(file, CONFIG_DEFAULT_FILE) == 0);
    load_drop_ins(&loading, file);
    merge_all(&loading);
    clear_loading(&loading);
    if (complaints->len == before)
        return config;
    config_free(config);
    return NULL;
}

void
config_free(struct config *config)
{
    if (!config)
        return;
    g_free(config->tcti);
    g_free(config->owner_auth_file);
    clear_rules(&config->defaults);
    g_hash_table_destroy(config->slots);
    g_free(config);
}

const struct access_rules *
config_rules(const struct config *config, uint32_t slot)
{
    const struct access_rules *rules = g_hash_table_lookup(config->slots, GUINT_TO_POINTER(slot));
    return rules ? rules : &config->defaults;
}
