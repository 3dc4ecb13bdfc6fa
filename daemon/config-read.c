/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/config-internal.h"
#include "dbus/names.h"
#include "common/text.h"

#include <string.h>
#include <sys/stat.h>

void
config_complain(struct config_loading *loading, const struct config_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = '?'; /* a value may have escaped line feeds; a complaint is one line */
    g_ptr_array_add(loading->complaints, g_strdup_printf("%s:%u: %s", place->file, place->line, text));
}

/* ---- a file ---- */

/* What the lines of a file are read into: the group that a key stands in. */
struct section {
    int where;                  /* CONFIG_IN_*; 0: an unknown group, whose keys are passed over */
    char *name;                 /* as in the file */
    struct config_given *given; /* of [slots] and [slot N] */
};

static struct config_given *
given_of_slot(struct config_loading *loading, uint32_t slot)
{
    struct config_given *given = g_hash_table_lookup(loading->slots, GUINT_TO_POINTER(slot));
    if (!given) {
        given = g_new0(struct config_given, 1);
        g_hash_table_insert(loading->slots, GUINT_TO_POINTER(slot), given);
    }
    return given;
}

static void
enter_section(struct config_loading *loading, const struct config_place *place, struct section *section)
{
    uint32_t slot;
    section->where = 0;
    section->given = NULL;
    if (strcmp(section->name, "hubkeyd") == 0) {
        section->where = CONFIG_IN_HUBKEYD;
    } else if (strcmp(section->name, "slots") == 0) {
        section->where = CONFIG_IN_SLOTS;
        section->given = &loading->all;
    } else if (g_str_has_prefix(section->name, "slot ") &&
               text_parse_u32(section->name + strlen("slot "), NAMES_SLOT_MAX, &slot)) {
        section->where = CONFIG_IN_SLOTS | CONFIG_IN_SLOT;
        section->given = given_of_slot(loading, slot);
    } else {
        config_complain(loading, place,
                        "[%s] is not a group; there are [hubkeyd], [slots] and [slot N] with N from 0 to %d",
                        section->name, NAMES_SLOT_MAX);
    }
}

/* One line, stripped. The grammar is GKeyFile's; GKeyFile itself has accepted the file already, and gives the values.
 * Walking the lines as well is what gives complaints their line, and what finds things that stand twice. */
static void
read_line(struct config_loading *loading, GKeyFile *file, const struct config_place *place, struct section *section,
          GHashTable *seen, const char *line)
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
        config_complain(loading, place, group ? "[%s] stands twice in this file" : "%s stands twice in its group",
                        name);
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
            config_set_key(loading, place, section->where, section->name, section->given, name, value);
        else
            config_complain(loading, place, "%s: %s", name, error->message);
    }
}

static void
read_lines(struct config_loading *loading, GKeyFile *file, const char *path, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct section section = { 0 };
    for (unsigned i = 0; lines[i]; i++) {
        const struct config_place place = { path, i + 1 };
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
load_file(struct config_loading *loading, const char *path, bool may_be_missing)
{
    struct config_place place = { path, 1 };
    struct stat info;
    g_autofree char *text = NULL;
    gsize len;
    g_autoptr(GError) error = NULL;
    bool there = stat(path, &info) == 0;
    if (there && !S_ISREG(info.st_mode)) {
        config_complain(loading, &place,
                        S_ISDIR(info.st_mode) ? "this is a directory, not a file" : "this is not a regular file");
        return;
    }
    if (there && info.st_size > CONFIG_FILE_MAX) {
        config_complain(loading, &place, "the file is larger than %d bytes", CONFIG_FILE_MAX);
        return;
    }
    if (!g_file_get_contents(path, &text, &len, &error)) {
        if (!may_be_missing || !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            config_complain(loading, &place, "%s", error->message);
        return;
    }
    g_autoptr(GKeyFile) file = g_key_file_new();
    const char *bad;
    if (!g_utf8_validate(text, (gssize)len, &bad)) {
        for (const char *c = text; c < bad; c++)
            place.line += *c == '\n';
        config_complain(loading, &place, "the file is not UTF-8 text");
    } else if (!g_key_file_load_from_data(file, text, len, G_KEY_FILE_NONE, &error)) {
        place.line = find_bad_line(text);
        config_complain(loading, &place, "%s", error->message);
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
load_drop_ins(struct config_loading *loading, const char *file)
{
    g_autofree char *folder = g_strconcat(file, ".d", NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) directory = g_dir_open(folder, 0, &error);
    if (error && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        config_complain(loading, &(struct config_place){ folder, 1 }, "%s", error->message);
    for (const char *name; directory && (name = g_dir_read_name(directory));)
        if (g_str_has_suffix(name, ".conf") && name[0] != '.')
            g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    if (names->len > CONFIG_FILES_MAX) {
        config_complain(loading, &(struct config_place){ folder, 1 }, "more than %d drop-ins", CONFIG_FILES_MAX);
        return;
    }
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(folder, names->pdata[i], NULL);
        load_file(loading, path, false);
    }
}

void
config_read(struct config_loading *loading, const char *file)
{
    load_file(loading, file, strcmp(file, CONFIG_DEFAULT_FILE) == 0);
    load_drop_ins(loading, file);
}
