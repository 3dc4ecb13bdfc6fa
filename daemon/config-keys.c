/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/config-internal.h"
#include "daemon/hosts.h"
#include "daemon/sas.h"
#include "common/text.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

/* ---- one setter a kind of value; each returns NULL or what is wrong ---- */

static char *
parse_number(const char *value, uint32_t min, uint32_t max, uint32_t *number)
{
    if (text_parse_u32(value, max, number) && *number >= min)
        return NULL;
    return g_strdup_printf("\"%s\" is not a whole number from %u to %u", value, min, max);
}

static char *
set_tcti(struct config_loading *loading, struct config_given *given, const char *value)
{
    if (!*value)
        return g_strdup("must name a TCTI, as in " CONFIG_DEFAULT_TCTI);
    g_free(loading->config->tcti);
    loading->config->tcti = g_strdup(value);
    return NULL;
}

static char *
set_owner_auth_file(struct config_loading *loading, struct config_given *given, const char *value)
{
    if (value[0] != '/')
        return g_strdup("must be an absolute path");
    g_free(loading->config->owner_auth_file);
    loading->config->owner_auth_file = g_strdup(value);
    return NULL;
}

static char *
set_protect_bus(struct config_loading *loading, struct config_given *given, const char *value)
{
    loading->config->protect_bus = strcmp(value, "always") == 0;
    if (loading->config->protect_bus || strcmp(value, "provisioning") == 0)
        return NULL;
    return g_strdup_printf("\"%s\" is neither \"provisioning\" nor \"always\"", value);
}

static char *
set_metrics_file(struct config_loading *loading, struct config_given *given, const char *value)
{
    if (value[0] != '/')
        return g_strdup("must be an absolute path");
    g_free(loading->config->metrics_file);
    loading->config->metrics_file = g_strdup(value);
    return NULL;
}

static char *
set_granularity(struct config_loading *loading, struct config_given *given, const char *value)
{
    return parse_number(value, 1, CONFIG_GRANULARITY_MAX, &loading->config->token_granularity);
}

static char *
set_admin_on_socket(struct config_loading *loading, struct config_given *given, const char *value)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return g_strdup_printf("\"%s\" is neither yes nor no", value);
    loading->config->admin_on_socket = yes;
    return NULL;
}

static char *
set_allowed_hosts(struct config_loading *loading, struct config_given *given, const char *value)
{
    g_autoptr(GError) error = NULL;
    char **hosts = hosts_parse(value, &error);
    if (!hosts)
        return g_strdup(error->message);
    g_strfreev(loading->config->allowed_hosts);
    loading->config->allowed_hosts = hosts;
    return NULL;
}

static char *
set_users(struct config_loading *loading, struct config_given *given, const char *value)
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
    g_clear_pointer(&given->users, g_array_unref);
    given->users = g_steal_pointer(&users);
    given->users_set = true;
    return NULL;
}

static char *
set_groups(struct config_loading *loading, struct config_given *given, const char *value)
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
    g_clear_pointer(&given->groups, g_array_unref);
    given->groups = g_steal_pointer(&groups);
    given->groups_set = true;
    return NULL;
}

static char *
set_scopes(struct config_loading *loading, struct config_given *given, const char *value)
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
    g_strfreev(given->scopes);
    given->scopes = (char **)g_ptr_array_free(g_steal_pointer(&scopes), FALSE);
    given->scopes_set = true;
    return NULL;
}

static char *
set_ttl(struct config_loading *loading, struct config_given *given, const char *value, uint32_t *ttl, bool *set)
{
    char *wrong = parse_number(value, 1, ACCESS_TTL_CEILING, ttl);
    if (wrong)
        return wrong;
    *set = true;
    g_free(given->ttl_at);
    given->ttl_at = g_strdup_printf("%s:%u", loading->place->file, loading->place->line);
    return NULL;
}

static char *
set_default_ttl(struct config_loading *loading, struct config_given *given, const char *value)
{
    return set_ttl(loading, given, value, &given->default_ttl, &given->default_ttl_set);
}

static char *
set_max_ttl(struct config_loading *loading, struct config_given *given, const char *value)
{
    return set_ttl(loading, given, value, &given->max_ttl, &given->max_ttl_set);
}

static char *
set_rate(struct config_loading *loading, struct config_given *given, const char *value)
{
    char *wrong = parse_number(value, 1, ACCESS_RATE_MAX, &given->rate);
    given->rate_set = !wrong;
    return wrong;
}

/* Whether it is a good one is seen when both are known, see take_adoption in config.c. */
static char *
set_identity(struct config_loading *loading, struct config_given *given, const char *value, char **part)
{
    g_free(*part);
    *part = g_strdup(value);
    g_free(given->identity_at);
    given->identity_at = g_strdup_printf("%s:%u", loading->place->file, loading->place->line);
    return NULL;
}

static char *
set_host(struct config_loading *loading, struct config_given *given, const char *value)
{
    return set_identity(loading, given, value, &given->host);
}

static char *
set_device(struct config_loading *loading, struct config_given *given, const char *value)
{
    return set_identity(loading, given, value, &given->device);
}

/* ---- the keys ---- */

static const struct {
    const char *name;
    int where;
    char *(*set)(struct config_loading *, struct config_given *, const char *value);
} keys[] = {
    { "Tcti", CONFIG_IN_HUBKEYD, set_tcti },
    { "OwnerAuthFile", CONFIG_IN_HUBKEYD, set_owner_auth_file },
    { "AllowedHosts", CONFIG_IN_HUBKEYD, set_allowed_hosts },
    { "ProtectBus", CONFIG_IN_HUBKEYD, set_protect_bus },
    { "TokenGranularity", CONFIG_IN_HUBKEYD, set_granularity },
    { "MetricsFile", CONFIG_IN_HUBKEYD, set_metrics_file },
    { "AdminOnSocket", CONFIG_IN_HUBKEYD, set_admin_on_socket },
    { "AllowUsers", CONFIG_IN_SLOTS, set_users },
    { "AllowGroups", CONFIG_IN_SLOTS, set_groups },
    { "Scopes", CONFIG_IN_SLOTS, set_scopes },
    { "DefaultTtl", CONFIG_IN_SLOTS, set_default_ttl },
    { "MaxTtl", CONFIG_IN_SLOTS, set_max_ttl },
    { "RequestsPerMinute", CONFIG_IN_SLOTS, set_rate },
    { "HostName", CONFIG_IN_SLOT, set_host },
    { "DeviceId", CONFIG_IN_SLOT, set_device },
};

static char *
list_keys(int where)
{
    GString *list = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        if (keys[i].where & where)
            g_string_append_printf(list, "%s%s", list->len ? " " : "", keys[i].name);
    return g_string_free(list, FALSE);
}

void
config_set_key(struct config_loading *loading, const struct config_place *place, int where, const char *group,
               struct config_given *given, const char *key, const char *value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, key) != 0 || !(keys[i].where & where))
            continue;
        loading->place = place;
        g_autofree char *wrong = keys[i].set(loading, given, value);
        if (wrong)
            config_complain(loading, place, "%s: %s", key, wrong);
        return;
    }
    g_autofree char *known = list_keys(where);
    config_complain(loading, place, "%s is not a key of [%s]; there are: %s", key, group, known);
}
