/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/config-internal.h"
#include "daemon/hosts.h"
#include "common/identity.h"

#include <grp.h>

static void
clear_given(struct config_given *given)
{
    if (given->users)
        g_array_unref(given->users);
    if (given->groups)
        g_array_unref(given->groups);
    g_strfreev(given->scopes);
    g_free(given->ttl_at);
    g_free(given->host);
    g_free(given->device);
    g_free(given->identity_at);
}

static void
free_given(gpointer data)
{
    clear_given(data);
    g_free(data);
}

static GArray *
ref_array(GArray *array)
{
    return array ? g_array_ref(array) : NULL;
}

static struct access_rules
merge(const struct config_given *own, const struct config_given *all)
{
    const struct config_given *users = own->users_set ? own : all, *groups = own->groups_set ? own : all;
    const struct config_given *scopes = own->scopes_set ? own : all;
    const struct config_given *default_ttl = own->default_ttl_set ? own : all, *max = own->max_ttl_set ? own : all;
    const struct config_given *rate = own->rate_set ? own : all;
    struct access_rules rules = {
        .named = users->users_set || groups->groups_set,
        .users = ref_array(users->users),
        .groups = ref_array(groups->groups),
        .scopes = g_strdupv(scopes->scopes),
        .max_ttl = max->max_ttl_set ? max->max_ttl : ACCESS_MAX_TTL,
        .requests_per_minute = rate->rate,
    };
    rules.default_ttl = default_ttl->default_ttl_set ? default_ttl->default_ttl
                                                     : MIN(ACCESS_DEFAULT_TTL, rules.max_ttl);
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

static void
free_identity(gpointer data)
{
    identity_free(data);
}

/* given: the group that sets one of the two, or both. */
static void
check_ttls(struct config_loading *loading, const struct config_given *given, const char *group,
           const struct access_rules *rules)
{
    if (given->ttl_at && rules->default_ttl > rules->max_ttl)
        g_ptr_array_add(loading->complaints, g_strdup_printf("%s: [%s]: DefaultTtl=%u is above MaxTtl=%u",
                                                             given->ttl_at, group, rules->default_ttl, rules->max_ttl));
}

/* What may be adopted without hands: only what can stand in the TPM, and only for a hub that is allowed. */
static struct identity *
take_adoption(struct config_loading *loading, uint32_t slot, struct config_given *given)
{
    g_autoptr(identity_auto) identity = identity_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *wrong = NULL;
    identity->host = g_steal_pointer(&given->host);
    identity->device = g_steal_pointer(&given->device);
    if (!identity_check(identity, &error))
        wrong = g_strdup(error->message);
    else if (slot >= CONFIG_ADOPTED_SLOTS)
        wrong = g_strdup_printf(
            "HostName and DeviceId say whose key in the TPM is to be adopted, and only slots 0 to %d can be in the TPM",
            CONFIG_ADOPTED_SLOTS - 1);
    else if (!hosts_match(loading->config->allowed_hosts, identity->host))
        wrong = g_strdup_printf("HostName: AllowedHosts does not allow %s", identity->host);
    else
        return g_steal_pointer(&identity);
    g_ptr_array_add(loading->complaints, g_strdup_printf("%s: [slot %u]: %s", given->identity_at, slot, wrong));
    return NULL;
}

/* Everybody can connect to the private socket over and over: whom any of the rules lets in is gathered once. */
static void
note_subjects(struct config *config, const struct access_rules *rules)
{
    for (guint i = 0; rules->users && i < rules->users->len; i++)
        g_hash_table_add(config->users, GUINT_TO_POINTER(g_array_index(rules->users, uid_t, i)));
    for (guint i = 0; rules->groups && i < rules->groups->len; i++)
        g_hash_table_add(config->groups, GUINT_TO_POINTER(g_array_index(rules->groups, gid_t, i)));
    if (!rules->named && config->default_group != (gid_t)-1)
        g_hash_table_add(config->groups, GUINT_TO_POINTER(config->default_group));
}

static void
merge_slot(struct config_loading *loading, uint32_t slot, struct config_given *own)
{
    struct access_rules *rules = g_new(struct access_rules, 1);
    g_autofree char *group = g_strdup_printf("slot %u", slot);
    *rules = merge(own, &loading->all);
    note_subjects(loading->config, rules);
    check_ttls(loading, own, group, rules);
    g_hash_table_insert(loading->config->slots, GUINT_TO_POINTER(slot), rules);
    struct identity *adoption = own->identity_at ? take_adoption(loading, slot, own) : NULL;
    if (adoption)
        g_hash_table_insert(loading->config->adoptions, GUINT_TO_POINTER(slot), adoption);
}

static void
merge_all(struct config_loading *loading)
{
    static const struct config_given none = { 0 };
    GHashTableIter iter;
    gpointer slot, own;
    loading->config->defaults = merge(&none, &loading->all);
    note_subjects(loading->config, &loading->config->defaults);
    check_ttls(loading, &loading->all, "slots", &loading->config->defaults);
    g_hash_table_iter_init(&iter, loading->slots);
    while (g_hash_table_iter_next(&iter, &slot, &own))
        merge_slot(loading, GPOINTER_TO_UINT(slot), own);
}

static void
clear_loading(struct config_loading *loading)
{
    clear_given(&loading->all);
    g_hash_table_destroy(loading->slots);
}

struct config *
config_load(const char *file, GPtrArray *complaints)
{
    struct config_loading loading = { .config = g_new0(struct config, 1), .complaints = complaints };
    struct config *config = loading.config;
    struct group *group = getgrnam(ACCESS_DEFAULT_GROUP);
    guint before = complaints->len;
    loading.slots = g_hash_table_new_full(NULL, NULL, NULL, free_given);
    config->users = g_hash_table_new(NULL, NULL);
    config->groups = g_hash_table_new(NULL, NULL);
    config->slots = g_hash_table_new_full(NULL, NULL, NULL, free_rules);
    config->adoptions = g_hash_table_new_full(NULL, NULL, NULL, free_identity);
    config->tcti = g_strdup(CONFIG_DEFAULT_TCTI);
    config->allowed_hosts = hosts_parse(HOSTS_DEFAULT, NULL);
    config->token_granularity = 1;
    config->default_group = group ? group->gr_gid : (gid_t)-1;

    config_read(&loading, file);
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
    g_free(config->metrics_file);
    g_strfreev(config->allowed_hosts);
    clear_rules(&config->defaults);
    g_hash_table_destroy(config->users);
    g_hash_table_destroy(config->groups);
    g_hash_table_destroy(config->slots);
    g_hash_table_destroy(config->adoptions);
    g_free(config);
}

const struct access_rules *
config_rules(const struct config *config, uint32_t slot)
{
    const struct access_rules *rules = g_hash_table_lookup(config->slots, GUINT_TO_POINTER(slot));
    return rules ? rules : &config->defaults;
}

bool
config_allows_some(const struct config *config, const struct access_subject *subject)
{
    bool allowed = subject->uid == 0 || g_hash_table_contains(config->users, GUINT_TO_POINTER(subject->uid));
    for (size_t i = 0; !allowed && i < subject->n_groups; i++)
        allowed = g_hash_table_contains(config->groups, GUINT_TO_POINTER(subject->groups[i]));
    return allowed;
}

bool
config_host_allowed(const struct config *config, const char *host)
{
    return hosts_match(config->allowed_hosts, host);
}

const struct identity *
config_adoption(const struct config *config, uint32_t slot)
{
    return g_hash_table_lookup(config->adoptions, GUINT_TO_POINTER(slot));
}
