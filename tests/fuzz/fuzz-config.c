/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyd.conf, and behind a line "--drop-in" one of its drop-ins. Either it is loaded and every value is one that may
 * stand there, or each complaint says where; and what is loaded is all that GKeyFile sees in the file.
 */
#include <config.h>

#include "common/identity.h"
#include "daemon/config.h"
#include "daemon/sas.h"
#include "dbus/names.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/folder.h"

#include <string.h>
#include <sys/stat.h>

#include <glib/gstdio.h>

#define SEPARATOR "\n--drop-in\n"

static char *file, *drop_ins, *drop_in;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    file = folder_file(fuzz_folder(), "hubkeyd.conf", NULL, 0);
    drop_ins = g_strconcat(file, ".d", NULL);
    drop_in = g_build_filename(drop_ins, "one.conf", NULL);
    g_assert_cmpint(g_mkdir(drop_ins, 0700), ==, 0);
    return 0;
}

static void
write_file(const char *path, const char *data, size_t size)
{
    FILE *out = fopen(path, "we"); /* not g_file_set_contents, which takes its time to be safe */
    g_assert_nonnull(out);
    g_assert_cmpuint(fwrite(data, 1, size, out), ==, size);
    g_assert_cmpint(fclose(out), ==, 0);
}

static void
check_complaint(const char *complaint)
{
    const char *place = g_str_has_prefix(complaint, drop_in) ? complaint + strlen(drop_in) : complaint + strlen(file);
    g_assert_true(g_str_has_prefix(complaint, file));
    g_assert_cmpint(place[0], ==, ':');
    g_assert_true(g_ascii_isdigit(place[1]) && place[1] != '0');
    place += 1 + strspn(place + 1, "0123456789");
    g_assert_true(g_str_has_prefix(place, ": ") && place[2]);
    g_assert_true(g_utf8_validate(complaint, -1, NULL));
    g_assert_null(strpbrk(complaint, "\r\n")); /* one complaint is one line */
}

static void
check_rules(const struct access_rules *rules)
{
    g_assert_cmpuint(rules->default_ttl, >=, 1);
    g_assert_cmpuint(rules->default_ttl, <=, rules->max_ttl);
    g_assert_cmpuint(rules->max_ttl, <=, ACCESS_TTL_CEILING);
    g_assert_true(!rules->scopes || rules->scopes[0]);
    for (char **scope = rules->scopes; scope && *scope; scope++)
        g_assert_true(strcmp(*scope, "/") == 0 || (**scope && sas_check_scope(*scope, NULL)));
}

/* GKeyFile's own view of an accepted file. */
static void
check_file(const struct config *config, const char *path)
{
    g_autoptr(GKeyFile) seen = g_key_file_new();
    g_autoptr(GError) error = NULL;
    g_assert_true(g_key_file_load_from_file(seen, path, G_KEY_FILE_NONE, &error));
    g_auto(GStrv) groups = g_key_file_get_groups(seen, NULL);
    for (char **group = groups; *group; group++) {
        bool slot = g_str_has_prefix(*group, "slot ");
        g_assert_true(slot || strcmp(*group, "hubkeyd") == 0 || strcmp(*group, "slots") == 0);
        if (!slot)
            continue;
        guint64 number = g_ascii_strtoull(*group + strlen("slot "), NULL, 10);
        g_autofree char *canonical = g_strdup_printf("slot %u", (unsigned)number);
        g_assert_cmpstr(*group, ==, canonical);
        g_assert_cmpuint(number, <=, NAMES_SLOT_MAX);
        g_assert_true(config_rules(config, (uint32_t)number) != &config->defaults);
        g_autofree char *ttl = g_key_file_get_string(seen, *group, "MaxTtl", NULL);
        if (ttl && g_str_equal(path, drop_in)) /* the last file wins */
            g_assert_cmpuint(config_rules(config, (uint32_t)number)->max_ttl, ==, g_ascii_strtoull(ttl, NULL, 10));
    }
}

static void
check_adoptions(const struct config *config)
{
    for (uint32_t slot = 0; slot < CONFIG_ADOPTED_SLOTS + 2; slot++) {
        const struct identity *identity = config_adoption(config, slot);
        if (!identity)
            continue;
        g_autoptr(identity_auto) copy = identity_copy(identity);
        g_assert_cmpuint(slot, <, CONFIG_ADOPTED_SLOTS);
        g_assert_true(identity_check(copy, NULL));
        g_assert_true(identity_equal(copy, identity));
        g_assert_true(config_host_allowed(config, identity->host));
    }
    g_assert_false(config_host_allowed(config, ""));
}

static void
check_loaded(const struct config *config)
{
    GHashTableIter iter;
    gpointer slot, rules;
    g_assert_true(config->tcti && *config->tcti);
    g_assert_true(!config->owner_auth_file || config->owner_auth_file[0] == '/');
    g_assert_cmpuint(config->token_granularity, >=, 1);
    g_assert_cmpuint(config->token_granularity, <=, CONFIG_GRANULARITY_MAX);
    check_rules(&config->defaults);
    g_hash_table_iter_init(&iter, config->slots);
    while (g_hash_table_iter_next(&iter, &slot, &rules))
        check_rules(rules);
    check_adoptions(config);
    check_file(config, file);
    check_file(config, drop_in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *cut = memmem(data, size, SEPARATOR, strlen(SEPARATOR));
    size_t len = cut ? (size_t)(cut - text) + 1 : size, rest = cut ? size - len - (strlen(SEPARATOR) - 1) : 0;
    g_autoptr(GPtrArray) complaints = g_ptr_array_new_with_free_func(g_free);
    write_file(file, text, len);
    write_file(drop_in, text + size - rest, rest);
    struct config *config = config_load(file, complaints);
    g_assert_true((config != NULL) == (complaints->len == 0));
    if (config)
        check_loaded(config);
    for (guint i = 0; i < complaints->len; i++)
        check_complaint(complaints->pdata[i]);
    config_free(config);
    return 0;
}
