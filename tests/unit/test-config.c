/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/config.c: every complaint has its file and line, and nothing is passed over in silence.
 */
#include <config.h>

#include "daemon/config.h"
#include "common/identity.h"
#include "tests/lib/folder.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

/* A folder with hubkeyd.conf and its drop-ins. */
struct fixture {
    char *folder, *file, *drop_ins;
    GPtrArray *complaints;
    struct config *config;
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    fixture->folder = folder_new();
    fixture->file = folder_file(fixture->folder, "hubkeyd.conf", NULL, 0);
    fixture->drop_ins = g_strconcat(fixture->file, ".d", NULL);
    g_assert_cmpint(g_mkdir(fixture->drop_ins, 0700), ==, 0);
    fixture->complaints = g_ptr_array_new_with_free_func(g_free);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    config_free(fixture->config);
    g_ptr_array_free(fixture->complaints, TRUE);
    g_free(fixture->file);
    g_free(fixture->drop_ins);
    folder_remove(fixture->folder);
}

static void
write_bytes(struct fixture *fixture, const char *drop_in, const char *text, size_t len)
{
    g_free(folder_file(drop_in ? fixture->drop_ins : fixture->folder, drop_in ? drop_in : "hubkeyd.conf", text, len));
}

static void
write_text(struct fixture *fixture, const char *drop_in, const char *text)
{
    write_bytes(fixture, drop_in, text, strlen(text));
}

static const struct config *
load(struct fixture *fixture)
{
    g_clear_pointer(&fixture->config, config_free);
    g_ptr_array_set_size(fixture->complaints, 0);
    fixture->config = config_load(fixture->file, fixture->complaints);
    g_assert_cmpint(fixture->config != NULL, ==, fixture->complaints->len == 0);
    return fixture->config;
}

static const struct config *
load_good(struct fixture *fixture)
{
    const struct config *config = load(fixture);
    for (guint i = 0; i < fixture->complaints->len; i++)
        g_test_message("%s", (const char *)fixture->complaints->pdata[i]);
    g_assert_nonnull(config);
    return config;
}

/* One complaint, at this line of this file, with these words. */
static void
expect_at(struct fixture *fixture, const char *drop_in, unsigned line, const char *words)
{
    g_autofree char *path = drop_in ? g_build_filename(fixture->drop_ins, drop_in, NULL) : g_strdup(fixture->file);
    g_autofree char *head = g_strdup_printf("%s:%u: ", path, line);
    load(fixture);
    for (guint i = 0; i < fixture->complaints->len; i++)
        g_test_message("%s", (const char *)fixture->complaints->pdata[i]);
    g_assert_cmpuint(fixture->complaints->len, ==, 1);
    const char *complaint = fixture->complaints->pdata[0];
    g_assert_true(g_str_has_prefix(complaint, head));
    g_assert_nonnull(strstr(complaint, words));
}

static const struct {
    const char *text;
    unsigned line;
    const char *words;
} bad_lines[] = {
    /* groups */
    { "[hubkeyd]\n\n[slot]\n", 3,
      "[slot] is not a group; there are [hubkeyd], [slots] and [slot N] with N from 0 to 65535" },
    { "[Hubkeyd]\n", 1, "[Hubkeyd] is not a group" },
    { "[slot 00]\n", 1, "[slot 00] is not a group" },
    { "[slot 01]\nMaxTtl=60\n", 1, "[slot 01] is not a group" },
    { "[slot +1]\n", 1, "is not a group" },
    { "[slot -1]\n", 1, "is not a group" },
    { "[slot 1 ]\nMaxTtl=60\n", 1, "[slot 1 ] is not a group" },
    { "[slot  1]\n", 1, "is not a group" },
    { "[slot\t1]\n", 1, "" },
    { "[ slots]\n", 1, "is not a group" },
    { "[slots ]\n", 1, "[slots ] is not a group" },
    { "[slot 65536]\n", 1, "is not a group" },
    { "[slot 4294967296]\n", 1, "is not a group" },
    { "[slot 0x1]\n", 1, "is not a group" },
    { "[slot one]\n", 1, "is not a group" },
    { "[slot1]\n", 1, "is not a group" },
    { "[]\n", 1, "" },
    { "[hubkeyd]\n[hubkeyd]\n", 2, "[hubkeyd] stands twice in this file" },
    { "[slot 1]\nMaxTtl=60\n\n[slots]\n[slot 1]\nMaxTtl=61\n", 5, "[slot 1] stands twice in this file" },
    /* keys */
    { "[hubkeyd]\nTcti=a:b\nTcti=a:b\n", 3, "Tcti stands twice in its group" },
    { "[slots]\nMaxTtl=60\n# a remark\n MaxTtl = 60\n", 4, "MaxTtl stands twice in its group" },
    { "[hubkeyd]\nTctl=a:b\n", 2,
      "Tctl is not a key of [hubkeyd]; there are: Tcti OwnerAuthFile AllowedHosts ProtectBus "
      "TokenGranularity MetricsFile AdminOnSocket" },
    { "[hubkeyd]\ntcti=a:b\n", 2, "tcti is not a key" },
    { "[slots]\nTcti=a:b\n", 2,
      "Tcti is not a key of [slots]; there are: AllowUsers AllowGroups Scopes DefaultTtl MaxTtl "
      "RequestsPerMinute" },
    { "[slot 1]\nTcti=a:b\n", 2, "DefaultTtl MaxTtl RequestsPerMinute HostName DeviceId" },
    { "[slots]\nHostName=hub.azure-devices.net\n", 2, "HostName is not a key of [slots]" },
    { "[hubkeyd]\nMaxTtl=60\n", 2, "MaxTtl is not a key of [hubkeyd]" },
    { "[slot 7]\nOwnerAuthFile=/x\n", 2, "OwnerAuthFile is not a key of [slot 7]" },
    { "[slots]\nMaxTtl[de]=60\n", 2, "MaxTtl[de]" },
    /* values */
    { "[hubkeyd]\nTcti=\n", 2, "Tcti: must name a TCTI" },
    { "[hubkeyd]\nProtectBus=never\n", 2, "ProtectBus: \"never\" is neither \"provisioning\" nor \"always\"" },
    { "[hubkeyd]\nOwnerAuthFile=secret\n", 2, "OwnerAuthFile: must be an absolute path" },
    { "[hubkeyd]\nOwnerAuthFile=\n", 2, "OwnerAuthFile: must be an absolute path" },
    { "[hubkeyd]\nMetricsFile=hubkey.prom\n", 2, "MetricsFile: must be an absolute path" },
    { "[hubkeyd]\nTokenGranularity=0\n", 2, "\"0\" is not a whole number from 1 to 3600" },
    { "[hubkeyd]\nTokenGranularity=3601\n", 2, "from 1 to 3600" },
    { "[hubkeyd]\nTokenGranularity=1s\n", 2, "\"1s\" is not a whole number" },
    { "[hubkeyd]\nAdminOnSocket=true\n", 2, "AdminOnSocket: \"true\" is neither yes nor no" },
    { "[hubkeyd]\nAdminOnSocket=\n", 2, "AdminOnSocket: \"\" is neither yes nor no" },
    { "[slots]\nDefaultTtl=0\n", 2, "DefaultTtl: \"0\" is not a whole number from 1 to 31622400" },
    { "[slots]\nDefaultTtl=31622401\n", 2, "DefaultTtl: " },
    { "[slots]\nMaxTtl=0\n", 2, "MaxTtl: " },
    { "[slots]\nMaxTtl=\n", 2, "MaxTtl: \"\" is not a whole number" },
    { "[slots]\nMaxTtl=-1\n", 2, "MaxTtl: " },
    { "[slots]\nMaxTtl=060\n", 2, "MaxTtl: " },
    { "[slots]\nMaxTtl=1h\nDefaultTtl=60\n", 2, "MaxTtl: " }, /* and nothing about DefaultTtl */
    { "[slots]\nMaxTtl=4294967297\n", 2, "MaxTtl: " },
    { "[slots]\nMaxTtl=60\nDefaultTtl=61\n", 3, "[slots]: DefaultTtl=61 is above MaxTtl=60" },
    { "[slots]\nDefaultTtl=61\n\nMaxTtl=60\n", 4, "[slots]: DefaultTtl=61 is above MaxTtl=60" },
    { "[slots]\nDefaultTtl=86401\n", 2, "DefaultTtl=86401 is above MaxTtl=86400" },
    { "[slots]\nDefaultTtl=100\n[slot 2]\nAllowUsers=root\nMaxTtl=99\n", 5,
      "[slot 2]: DefaultTtl=100 is above MaxTtl=99" },
    { "[slots]\nMaxTtl=60\nDefaultTtl=61\n[slot 3]\nAllowUsers=root\n", 3, "[slots]" }, /* said once */
    { "[slots]\nRequestsPerMinute=0\n", 2, "RequestsPerMinute: \"0\" is not a whole number from 1 to 1000000" },
    { "[slot 1]\nRequestsPerMinute=1000001\n", 2, "RequestsPerMinute: " },
    { "[hubkeyd]\nAllowedHosts=;\n", 2, "AllowedHosts: must list at least one host name" },
    { "[hubkeyd]\nAllowedHosts=a.org;https://b.org\n", 2, "AllowedHosts: \"https://b.org\" is not a host name" },
    { "[slot 1]\nHostName=hub.azure-devices.net\n", 2, "[slot 1]: HostName and DeviceId are needed; DeviceId" },
    { "[slot 1]\n\nDeviceId=d\n", 3, "[slot 1]: HostName and DeviceId are needed; HostName is missing" },
    { "[slot 1]\nHostName=\nDeviceId=d\n", 3, "[slot 1]: HostName is not a host name" },
    { "[slot 1]\nDeviceId=a b\nHostName=hub.azure-devices.net\n", 3, "[slot 1]: DeviceId: character 2" },
    { "[slot 1]\nDeviceId=d\nHostName=hub.example.org\n", 3, "AllowedHosts does not allow hub.example.org" },
    { "[slot 10]\nDeviceId=d\nHostName=hub.azure-devices.net\n", 3, "only slots 0 to 9 can be in the TPM" },
    { "[slots]\nAllowUsers=root;no-such-user-here\n", 2, "AllowUsers: there is no user \"no-such-user-here\"" },
    { "[slots]\nAllowUsers=0\n", 2, "there is no user \"0\"" },
    { "[slots]\nAllowUsers=root,daemon\n", 2, "there is no user \"root,daemon\"" },
    { "[slots]\nAllowGroups=no-such-group-here\n", 2, "AllowGroups: there is no group" },
    { "[slots]\nScopes=\n", 2, "Scopes: must list at least one scope" },
    { "[slots]\nScopes=;;\n", 2, "Scopes: must list at least one scope" },
    { "[slots]\nScopes=messages/events;a//b\n", 2, "Scopes: \"a//b\": scope: segment 2" },
    { "[slots]\nScopes=/messages\n", 2, "Scopes: \"/messages\"" },
    { "[slots]\nScopes=..\n", 2, "Scopes: \"..\"" },
    { "[slots]\nScopes=a\\xb\n", 2, "Scopes: " }, /* an escape that GKeyFile does not know */
    /* the grammar */
    { "MaxTtl=60\n", 1, "" },
    { "# a remark\n\n[slots]\nMaxTtl\n", 4, "" },
    { "[slots]\n=60\n", 2, "" },
    { "[slots\nMaxTtl=60\n", 1, "" },
    { "[slots] # everybody\nMaxTtl=60\n", 1, "" },
    { "[slots]\n; a remark of another dialect\n", 2, "" },
    { "\xef\xbb\xbf[slots]\nMaxTtl=60\n", 1, "" }, /* a byte order mark */
    { "[slots]\n# caf\xe9\n", 2, "not UTF-8" },
};

static void
test_bad_lines(struct fixture *fixture, gconstpointer unused)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad_lines); i++) {
        write_text(fixture, NULL, bad_lines[i].text);
        expect_at(fixture, NULL, bad_lines[i].line, bad_lines[i].words);
    }
}

/* The same complaints in a drop-in, by its own path. */
static void
test_bad_drop_in(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[slots]\nMaxTtl=60\n");
    write_text(fixture, "50-site.conf", "\n\n[slots]\nNoSuchKey=1\n");
    expect_at(fixture, "50-site.conf", 4, "NoSuchKey is not a key of [slots]");
    write_text(fixture, "50-site.conf", "[slots]\nDefaultTtl=61\n");
    expect_at(fixture, "50-site.conf", 2, "DefaultTtl=61 is above MaxTtl=60");
}

static void
test_binary(struct fixture *fixture, gconstpointer unused)
{
    static const char nul[] = "[slots]\nMaxTtl=60\0\n", noise[] = "\x7f" "ELF\2\1\1\0\xff\xfe";
    write_bytes(fixture, NULL, nul, sizeof nul - 1);
    expect_at(fixture, NULL, 2, "not UTF-8");
    write_bytes(fixture, NULL, noise, sizeof noise - 1);
    expect_at(fixture, NULL, 1, "not UTF-8");
}

static void
test_oversized(struct fixture *fixture, gconstpointer unused)
{
    g_autofree char *text = g_strnfill(CONFIG_FILE_MAX + 1, '#');
    write_bytes(fixture, NULL, text, CONFIG_FILE_MAX + 1);
    expect_at(fixture, NULL, 1, "larger than 1048576 bytes");
    write_bytes(fixture, NULL, text, CONFIG_FILE_MAX);
    load_good(fixture);
}

static void
test_unreadable(struct fixture *fixture, gconstpointer unused)
{
    expect_at(fixture, NULL, 1, "No such file"); /* named, but not there */
    g_assert_cmpint(g_mkdir(fixture->file, 0700), ==, 0);
    expect_at(fixture, NULL, 1, "directory");
    g_assert_cmpint(g_rmdir(fixture->file), ==, 0);
    write_text(fixture, NULL, "");
    load_good(fixture);
    /* What stands where drop-ins would must not be passed over. */
    g_assert_cmpint(g_rmdir(fixture->drop_ins), ==, 0);
    load_good(fixture);
    g_free(folder_file(fixture->folder, "hubkeyd.conf.d", "x", 1));
    load(fixture);
    g_assert_cmpuint(fixture->complaints->len, ==, 1);
    g_assert_true(g_str_has_prefix(fixture->complaints->pdata[0], fixture->drop_ins));
    g_assert_cmpint(g_unlink(fixture->drop_ins), ==, 0);
    g_assert_cmpint(g_mkdir(fixture->drop_ins, 0700), ==, 0);
    g_autofree char *inside = g_build_filename(fixture->drop_ins, "a.conf", NULL);
    g_assert_cmpint(g_mkdir(inside, 0700), ==, 0);
    expect_at(fixture, "a.conf", 1, "directory");
}

static void
test_too_many(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "");
    for (int i = 0; i <= CONFIG_FILES_MAX; i++) {
        g_autofree char *name = g_strdup_printf("%d.conf", i);
        write_text(fixture, name, "");
    }
    load(fixture);
    g_assert_cmpuint(fixture->complaints->len, ==, 1);
    g_assert_nonnull(strstr(fixture->complaints->pdata[0], "more than 256 drop-ins"));
}

/* All that is wrong is said at once. */
static void
test_all_complaints(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[hubkeyd]\nA=1\nTokenGranularity=x\n[nonsense]\nB=1\n[slot 3]\nC=1\n");
    write_text(fixture, "x.conf", "[slots]\nD=1\n");
    load(fixture);
    g_assert_cmpuint(fixture->complaints->len, ==, 5);
}

/* ---- what is good ---- */

static void
test_defaults(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "\n# nothing\n\n[hubkeyd]\n[slots]\n[slot 0]\n");
    const struct config *config = load_good(fixture);
    g_assert_cmpstr(config->tcti, ==, "device:/dev/tpmrm0");
    g_assert_null(config->owner_auth_file);
    g_assert_cmpuint(config->token_granularity, ==, 1);
    g_assert_false(config->protect_bus);
    for (uint32_t slot = 0; slot < 2; slot++) {
        const struct access_rules *rules = config_rules(config, slot);
        g_assert_false(rules->named);
        g_assert_null(rules->scopes);
        g_assert_cmpuint(rules->default_ttl, ==, 3600);
        g_assert_cmpuint(rules->max_ttl, ==, 86400);
        g_assert_cmpuint(rules->requests_per_minute, ==, 0);
        g_assert_null(config_adoption(config, slot));
    }
    g_assert_true(config_host_allowed(config, "hub.azure-devices.net"));
    g_assert_true(config_host_allowed(config, "hub.azure-devices.cn"));
    g_assert_true(config_host_allowed(config, "hub.azure-devices.us"));
    g_assert_false(config_host_allowed(config, "hub.example.org"));
}

static void
test_values(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL,
               "[hubkeyd]\r\n Tcti = swtpm:path=/run/a b\r\nOwnerAuthFile=/etc/owner\nTokenGranularity=3600\n"
               "ProtectBus=always\n"
               "MetricsFile=/run/hubkey/hubkey.prom\n"
               "[slots]\nAllowUsers= root ; nobody;\nMaxTtl=31622400\n"
               "[slot 65535]\nScopes=messages/events; / ;\nDefaultTtl=1\nMaxTtl=1\nAllowGroups=;\n");
    const struct config *config = load_good(fixture);
    g_assert_cmpstr(config->tcti, ==, "swtpm:path=/run/a b");
    g_assert_cmpstr(config->owner_auth_file, ==, "/etc/owner");
    g_assert_cmpstr(config->metrics_file, ==, "/run/hubkey/hubkey.prom");
    g_assert_cmpuint(config->token_granularity, ==, 3600);
    g_assert_true(config->protect_bus);
    const struct access_rules *rules = config_rules(config, 5), *own = config_rules(config, 65535);
    g_assert_true(rules->named);
    g_assert_cmpuint(rules->users->len, ==, 2);
    g_assert_cmpuint(g_array_index(rules->users, uid_t, 0), ==, 0);
    g_assert_cmpuint(rules->max_ttl, ==, 31622400);
    g_assert_cmpuint(rules->default_ttl, ==, 3600);
    g_assert_cmpstr(own->scopes[0], ==, "messages/events");
    g_assert_cmpstr(own->scopes[1], ==, "/");
    g_assert_null(own->scopes[2]);
    g_assert_cmpuint(own->default_ttl, ==, 1);
    g_assert_cmpuint(own->users->len, ==, 2); /* from [slots] */
    g_assert_true(own->named && own->groups->len == 0);
}

static bool
allows(const struct config *config, uid_t uid, gid_t group)
{
    const struct access_subject subject = { uid, &group, 1 };
    return config_allows_some(config, &subject);
}

/* Whoever may have tokens of any slot at all. */
static void
test_some(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[slots]\nAllowGroups=daemon\n[slot 3]\nAllowUsers=nobody\nAllowGroups=\n");
    const struct config *config = load_good(fixture);
    const struct passwd *nobody = getpwnam("nobody");
    const struct group *group = getgrnam("daemon");
    g_assert_true(allows(config, 0, 54321));
    g_assert_true(allows(config, 54321, group->gr_gid));
    g_assert_true(allows(config, nobody->pw_uid, 54321));
    g_assert_false(allows(config, 54321, 54321));
    /* Without a look at the rules of each slot, of which there can be thousands. */
    g_hash_table_remove_all(config->slots);
    g_assert_true(allows(config, nobody->pw_uid, 54321));
}

/* Wherever no rule names somebody, group hubkey is let in, and where all do, it is not. */
static void
test_some_by_default(struct fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *text;
        bool by_default;
    } rows[] = {
        { "", true },
        { "[slot 3]\nAllowUsers=nobody\n", true },
        { "[slots]\nAllowUsers=\n", false },
        { "[slots]\nAllowUsers=nobody\n[slot 3]\nAllowGroups=daemon\n", false },
    };
    const struct group *group = getgrnam(ACCESS_DEFAULT_GROUP);
    if (!group) {
        g_test_skip("there is no group " ACCESS_DEFAULT_GROUP);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        write_text(fixture, NULL, rows[i].text);
        g_assert_cmpint(allows(load_good(fixture), 54321, group->gr_gid), ==, rows[i].by_default);
    }
}

static void
test_rate(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL,
               "[slots]\nRequestsPerMinute=60\n[slot 1]\nRequestsPerMinute=1000000\n[slot 2]\nMaxTtl=60\n");
    const struct config *config = load_good(fixture);
    g_assert_cmpuint(config_rules(config, 0)->requests_per_minute, ==, 60);
    g_assert_cmpuint(config_rules(config, 1)->requests_per_minute, ==, 1000000);
    g_assert_cmpuint(config_rules(config, 2)->requests_per_minute, ==, 60);
}

/* Whose key is adopted without hands; the two keys may come from two files, and so may AllowedHosts. */
static void
test_adoption(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[slot 0]\nHostName=Hub.Example.org\n[slot 9]\nHostName=x.example.org\nDeviceId=n9\n");
    write_text(fixture, "1.conf", "[slot 0]\nDeviceId=gateway-1\n[slot 1]\nMaxTtl=60\n");
    write_text(fixture, "2.conf", "[hubkeyd]\nAllowedHosts=*.EXAMPLE.org\n");
    const struct config *config = load_good(fixture);
    const struct identity *first = config_adoption(config, 0), *last = config_adoption(config, 9);
    g_assert_cmpstr(first->host, ==, "hub.example.org");
    g_assert_cmpstr(first->device, ==, "gateway-1");
    g_assert_cmpstr(last->host, ==, "x.example.org");
    g_assert_cmpstr(last->device, ==, "n9");
    g_assert_null(config_adoption(config, 1));
    g_assert_null(config_adoption(config, 10));
    g_assert_true(config_host_allowed(config, "other.example.org"));
    g_assert_false(config_host_allowed(config, "hub.azure-devices.net"));
    /* What is wrong is said where the later of the two stands. */
    write_text(fixture, "1.conf", "\n[slot 0]\nDeviceId=a/b\n");
    expect_at(fixture, "1.conf", 3, "[slot 0]: DeviceId: character 2");
}

/* An empty list names nobody: everybody but root is out, instead of group hubkey being in. */
static void
test_empty_list(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[slot 1]\nAllowUsers=\n");
    const struct config *config = load_good(fixture);
    g_assert_true(config_rules(config, 1)->named);
    g_assert_cmpuint(config_rules(config, 1)->users->len, ==, 0);
    g_assert_false(config_rules(config, 0)->named);
}

/* A MaxTtl below the default lowers the default with it. */
static void
test_low_maximum(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[slots]\nMaxTtl=600\n[slot 1]\nMaxTtl=60\n[slot 2]\nDefaultTtl=30\n");
    const struct config *config = load_good(fixture);
    g_assert_cmpuint(config_rules(config, 0)->default_ttl, ==, 600);
    g_assert_cmpuint(config_rules(config, 1)->default_ttl, ==, 60);
    g_assert_cmpuint(config_rules(config, 2)->default_ttl, ==, 30);
    g_assert_cmpuint(config_rules(config, 2)->max_ttl, ==, 600);
}

/* Byte order of the names, whatever the locale says; what does not end in .conf, or is hidden, is not read. */
static void
test_drop_in_order(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[hubkeyd]\nTcti=main:\nTokenGranularity=7\n");
    write_text(fixture, "B.conf", "[hubkeyd]\nTcti=B:\n");
    write_text(fixture, "a.conf", "[hubkeyd]\nTcti=a:\n");
    write_text(fixture, "Z.conf", "[hubkeyd]\nTcti=Z:\nOwnerAuthFile=/z\n");
    write_text(fixture, "10-x.conf", "[hubkeyd]\nTcti=ten:\n");
    write_text(fixture, "9-x.conf", "[hubkeyd]\nTcti=nine:\n");
    write_text(fixture, "z.conf~", "nonsense");
    write_text(fixture, "z.conf.dpkg-new", "nonsense");
    write_text(fixture, ".z.conf", "nonsense");
    write_text(fixture, "README", "nonsense");
    const struct config *config = load_good(fixture);
    g_assert_cmpstr(config->tcti, ==, "a:"); /* the last of 10-x 9-x B Z a */
    g_assert_cmpuint(config->token_granularity, ==, 7);
    g_assert_cmpstr(config->owner_auth_file, ==, "/z");
}

/* A later file's key replaces the earlier one's; [slot N] goes before [slots], wherever each stands. */
static void
test_replacing(struct fixture *fixture, gconstpointer unused)
{
    write_text(fixture, NULL, "[slot 4]\nMaxTtl=100\nScopes=a\n[slots]\nMaxTtl=200\nScopes=b\n");
    write_text(fixture, "1.conf", "[slots]\nMaxTtl=300\nAllowUsers=root\n");
    write_text(fixture, "2.conf", "[slot 4]\nScopes=c;d\n[slot 5]\nMaxTtl=500\n");
    const struct config *config = load_good(fixture);
    g_assert_cmpuint(config_rules(config, 4)->max_ttl, ==, 100);
    g_assert_cmpstr(config_rules(config, 4)->scopes[0], ==, "c");
    g_assert_cmpstr(config_rules(config, 4)->scopes[1], ==, "d");
    g_assert_null(config_rules(config, 4)->scopes[2]);
    g_assert_true(config_rules(config, 4)->named);
    g_assert_cmpuint(config_rules(config, 5)->max_ttl, ==, 500);
    g_assert_cmpstr(config_rules(config, 5)->scopes[0], ==, "b");
    g_assert_cmpuint(config_rules(config, 6)->max_ttl, ==, 300);
    g_assert_true(config_rules(config, 6) == &config->defaults);
}

#define ADD(path, test) g_test_add(path, struct fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/config/bad/lines", test_bad_lines);
    ADD("/config/bad/drop-in", test_bad_drop_in);
    ADD("/config/bad/binary", test_binary);
    ADD("/config/bad/oversized", test_oversized);
    ADD("/config/bad/unreadable", test_unreadable);
    ADD("/config/bad/too-many", test_too_many);
    ADD("/config/bad/all-complaints", test_all_complaints);
    ADD("/config/defaults", test_defaults);
    ADD("/config/values", test_values);
    ADD("/config/some", test_some);
    ADD("/config/some/by-default", test_some_by_default);
    ADD("/config/rate", test_rate);
    ADD("/config/adoption", test_adoption);
    ADD("/config/empty-list", test_empty_list);
    ADD("/config/low-maximum", test_low_maximum);
    ADD("/config/drop-in-order", test_drop_in_order);
    ADD("/config/replacing", test_replacing);
    return g_test_run();
}
