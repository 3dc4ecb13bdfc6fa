/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/output.h"
#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#define COLUMNS_MAX 9
#define GREEN "\033[32m"
#define RED "\033[31m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

struct table {
    size_t n_columns;
    bool has_head;
    GPtrArray *cells; /* row after row */
};

void
output_json(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!text)
        g_error("out of memory: JSON");
    puts(text);
    free(text);
    json_decref(object);
}

json_t *
output_json_text(const char *text)
{
    g_autofree char *valid = text ? g_utf8_make_valid(text, -1) : NULL;
    return valid ? json_string(valid) : json_null();
}

void
output_json_add(json_t *object, json_t *part)
{
    if (json_object_update_new(object, part) != 0)
        g_error("out of memory: JSON");
}

char *
output_snake_case(const char *name)
{
    GString *out = g_string_new(NULL);
    for (const char *p = name; *p; p++) {
        if (g_ascii_isupper(*p) && p > name && !g_ascii_isupper(p[-1]))
            g_string_append_c(out, '_');
        g_string_append_c(out, g_ascii_tolower(*p));
    }
    return g_string_free(out, FALSE);
}

static bool
has_colour(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

static const char *
colour_of(const char *word)
{
    static const struct {
        const char *word;
        const char *colour;
    } words[] = {
        { "allowed", GREEN },     { "denied", RED },
        { "ready", GREEN },       { "found", YELLOW }, { "pending", YELLOW }, { "starting", YELLOW },
        { "auth-required", RED }, { "tampered", RED }, { "damaged", RED },    { "foreign", RED },
        { "absent", RED },        { "failed", RED },   { "cleared", RED },    { "lockout", RED },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        if (strcmp(word, words[i].word) == 0)
            return words[i].colour;
    return NULL;
}

struct table *
table_new(size_t n_columns, const char *const *titles)
{
    g_assert(n_columns <= COLUMNS_MAX);
    struct table *table = g_new(struct table, 1);
    *table = (struct table){ .n_columns = n_columns,
                             .has_head = titles != NULL,
                             .cells = g_ptr_array_new_with_free_func(g_free) };
    if (titles)
        table_add(table, titles);
    return table;
}

void
table_add(struct table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->n_columns; i++)
        g_ptr_array_add(table->cells, text_printable(cells[i]));
}

size_t
table_rows(const struct table *table)
{
    return table->cells->len / table->n_columns - table->has_head;
}

static void
print_cell(const char *text, long width, bool is_head, bool is_last, bool colours)
{
    const char *colour = !colours ? NULL : is_head ? BOLD : colour_of(text);
    printf("%s%s%s", colour ? colour : "", text, colour ? PLAIN : "");
    if (!is_last)
        printf("%*s", (int)(width - g_utf8_strlen(text, -1) + 2), "");
}

void
table_print(struct table *table)
{
    long widths[COLUMNS_MAX] = { 0 };
    bool colours = has_colour();
    char **cells = (char **)table->cells->pdata;
    for (guint i = 0; i < table->cells->len; i++)
        widths[i % table->n_columns] = MAX(widths[i % table->n_columns], g_utf8_strlen(cells[i], -1));
    for (guint i = 0; i < table->cells->len; i++) {
        bool is_last = i % table->n_columns == table->n_columns - 1;
        print_cell(cells[i], widths[i % table->n_columns], table->has_head && i < table->n_columns, is_last, colours);
        if (is_last)
            putchar('\n');
    }
    table_free(table);
}

void
table_free(struct table *table)
{
    g_ptr_array_unref(table->cells);
    g_free(table);
}

struct table *
fields_new(void)
{
    return table_new(2, NULL);
}

void
fields_add(struct table *table, const char *title, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *value = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *label = g_strconcat(title, ":", NULL);
    table_add(table, (const char *const[]){ label, value });
}

char *
output_time(int64_t ms)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(ms / 1000);
    return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
}
