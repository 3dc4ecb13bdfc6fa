/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The rows that hubkeyd serves, the interface file that is installed and the man page say the same. Each is brought
 * into one form, a line a member: "INTERFACE KIND NAME (ins) (outs)".
 */
#include <config.h>

#include "daemon/api-manager.h"
#include "daemon/api-slot.h"
#include "dbus/names.h"
#include "dbus/object.h"

#include <string.h>

static char *
read_source(const char *name)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;
    const char *top = g_getenv("HUBKEY_SRCDIR");
    g_autofree char *path = g_build_filename(top ? top : ".", name, NULL);
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

/* ---- from XML ---- */

struct reading {
    GPtrArray *lines;
    char *interface, *kind, *name;
    GString *in, *out;
};

static const char *
attribute(const char **names, const char **values, const char *name)
{
    for (; *names; names++, values++)
        if (strcmp(*names, name) == 0)
            return *values;
    return "";
}

static void
add_word(GString *list, const char *word, const char *more)
{
    g_string_append_printf(list, "%s%s%s%s", list->len ? ", " : "", word, more[0] ? " " : "", more);
}

static void
on_start(GMarkupParseContext *context, const char *element, const char **names, const char **values, gpointer user,
         GError **error)
{
    struct reading *reading = user;
    const char *name = attribute(names, values, "name"), *type = attribute(names, values, "type");
    if (strcmp(element, "interface") == 0) {
        g_free(reading->interface);
        reading->interface = g_strdup(name);
    } else if (strcmp(element, "arg") == 0) {
        bool out = strcmp(attribute(names, values, "direction"), "out") == 0;
        add_word(out ? reading->out : reading->in, type, name);
    } else if (strcmp(element, "annotation") == 0) {
        g_assert_cmpstr(name, ==, "org.freedesktop.DBus.Property.EmitsChangedSignal");
        add_word(reading->in, attribute(names, values, "value"), "");
    } else if (strcmp(element, "node") != 0) {
        g_free(reading->name);
        g_free(reading->kind);
        reading->name = g_strdup(name);
        reading->kind = g_strdup(element);
        g_string_truncate(reading->in, 0);
        g_string_truncate(reading->out, 0);
        if (strcmp(element, "property") == 0) {
            g_assert_cmpstr(attribute(names, values, "access"), ==, "read");
            add_word(reading->in, type, "");
        }
    }
}

static void
on_end(GMarkupParseContext *context, const char *element, gpointer user, GError **error)
{
    struct reading *reading = user;
    if ((strcmp(element, "method") != 0 && strcmp(element, "property") != 0 && strcmp(element, "signal") != 0) ||
        !g_str_has_prefix(reading->interface, NAMES_BUS "."))
        return;
    GString *line = g_string_new(NULL);
    g_string_printf(line, "%s %s %s (%s)", reading->interface, reading->kind, reading->name, reading->in->str);
    if (reading->out->len > 0)
        g_string_append_printf(line, " (%s)", reading->out->str);
    g_ptr_array_add(reading->lines, g_string_free(line, FALSE));
}

static gint
compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *
take_sorted(GPtrArray *lines)
{
    g_ptr_array_sort(lines, compare);
    g_ptr_array_add(lines, NULL);
    char *text = g_strjoinv("\n", (char **)lines->pdata);
    g_ptr_array_unref(lines);
    return text;
}

static char *
lines_of_xml(const char *xml)
{
    static const GMarkupParser parser = { .start_element = on_start, .end_element = on_end };
    g_autoptr(GError) error = NULL;
    struct reading reading = { .lines = g_ptr_array_new_with_free_func(g_free),
                               .in = g_string_new(NULL),
                               .out = g_string_new(NULL) };
    GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &reading, NULL);
    g_assert_true(g_markup_parse_context_parse(context, xml, -1, &error));
    g_assert_true(g_markup_parse_context_end_parse(context, &error));
    g_markup_parse_context_free(context);
    g_string_free(reading.in, TRUE);
    g_string_free(reading.out, TRUE);
    g_free(reading.interface);
    g_free(reading.kind);
    g_free(reading.name);
    return take_sorted(reading.lines);
}

/* ---- from the man page ---- */

/* ".Ss Methods of org.hubkey.Slot1", and below it ".It Sy GetToken No (s scope, u ttl) \(-> (s token, t expires)". */
static char *
lines_of_page(const char *page)
{
    static const char *const kinds[][2] = { { "Methods", "method" },
                                            { "Properties", "property" },
                                            { "Signals", "signal" } };
    GPtrArray *found = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) lines = g_strsplit(page, "\n", -1);
    const char *interface = NULL, *kind = NULL;
    for (size_t i = 0; lines[i]; i++) {
        g_auto(GStrv) words = g_strsplit(lines[i], " ", 5);
        if (g_str_has_prefix(lines[i], ".Ss ") || g_str_has_prefix(lines[i], ".Sh ")) {
            interface = kind = NULL;
            for (size_t k = 0; k < G_N_ELEMENTS(kinds) && words[1] && words[2] && words[3]; k++)
                if (strcmp(words[1], kinds[k][0]) == 0) {
                    kind = kinds[k][1];
                    interface = strstr(lines[i], words[3]);
                }
        } else if (kind && g_str_has_prefix(lines[i], ".It Sy ")) {
            g_assert_cmpstr(words[3], ==, "No");
            g_auto(GStrv) halves = g_strsplit(words[4], " \\(-> ", 2);
            g_ptr_array_add(found, g_strdup_printf("%s %s %s %s%s%s", interface, kind, words[2], halves[0],
                                                   halves[1] ? " " : "", halves[1] ? halves[1] : ""));
        }
    }
    return take_sorted(found);
}

/* ---- the comparison ---- */

static void
test_file_and_page(void)
{
    g_autofree char *xml = read_source("dbus/org.hubkey.xml");
    g_autofree char *page = read_source("docs/org.hubkey.5");
    g_autofree char *from_xml = lines_of_xml(xml);
    g_autofree char *from_page = lines_of_page(page);
    g_assert_nonnull(strstr(from_xml, "org.hubkey.Slot1 method GetToken (s scope, u ttl) (s token, t expires)"));
    g_assert_nonnull(strstr(from_xml, "org.hubkey.Slot1 property Slot (u, const)"));
    g_assert_nonnull(strstr(from_xml, "org.hubkey.Manager1 signal SlotAdded (u slot)"));
    g_assert_cmpstr(from_xml, ==, from_page);
}

static void
test_file_and_rows(void)
{
    static const struct object_interface *const interfaces[] = { &api_manager_interface, &api_slot_interface, NULL };
    g_autofree char *xml = read_source("dbus/org.hubkey.xml");
    g_autofree char *rows = object_introspect(interfaces);
    g_autofree char *from_xml = lines_of_xml(xml);
    g_autofree char *from_rows = lines_of_xml(rows);
    g_assert_cmpstr(from_xml, ==, from_rows);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/interface/file-and-page", test_file_and_page);
    g_test_add_func("/interface/file-and-rows", test_file_and_rows);
    return g_test_run();
}
