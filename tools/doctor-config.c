/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The configuration, by hubkeyd's own eyes, and who is who: the groups that rights hang on.
 */
#include <config.h>

#include "tools/doctor.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_FILE "/etc/hubkey/hubkeyd.conf"
#define USER "hubkey"
#define TPM_GROUP "tss"
#define TPM_DEVICE "/dev/tpmrm0"

void
doctor_config(struct doctor *doctor)
{
    static const char *const places[] = { "hubkeyd", "/usr/sbin/hubkeyd", "/usr/local/sbin/hubkeyd" };
    g_auto(GStrv) lines = NULL;
    bool good = false;
    for (size_t i = 0; i < G_N_ELEMENTS(places) && !lines; i++)
        lines = doctor_run((const char *const[]){ places[i], "--check-config", NULL }, &good);
    if (!lines) {
        doctor_say(doctor, DOCTOR_BAD, "config", "apt-get install hubkey", "hubkeyd is not installed");
    } else if (access(CONFIG_FILE, F_OK) == 0 && access(CONFIG_FILE, R_OK) != 0) {
        doctor_say(doctor, DOCTOR_WARNING, "config", "sudo hubkeyctl doctor", "%s is not for you to read", CONFIG_FILE);
    } else if (good) {
        doctor_say(doctor, DOCTOR_OK, "config", NULL, "hubkeyd takes the configuration");
    } else {
        for (char **line = lines; *line; line++)
            if (**line)
                doctor_say(doctor, DOCTOR_BAD, "config", "mend that line, then: hubkeyd --check-config", "%s", *line);
    }
}

/* Members by the group file, and those whose first group it is. */
static char *
members_of(const struct group *group, const char *but)
{
    GString *names = g_string_new(NULL);
    gid_t gid = group->gr_gid;
    for (char **name = group->gr_mem; *name; name++)
        if (strcmp(*name, but) != 0)
            g_string_append_printf(names, "%s%s", names->len > 0 ? ", " : "", *name);
    setpwent();
    for (const struct passwd *user; (user = getpwent());)
        if (user->pw_gid == gid && strcmp(user->pw_name, but) != 0)
            g_string_append_printf(names, "%s%s", names->len > 0 ? ", " : "", user->pw_name);
    endpwent();
    return g_string_free(names, FALSE);
}

static bool
is_member(const char *user, gid_t wanted)
{
    gid_t groups[256];
    int n = G_N_ELEMENTS(groups);
    const struct passwd *entry = getpwnam(user);
    if (!entry || getgrouplist(user, entry->pw_gid, groups, &n) < 0)
        return false;
    for (int i = 0; i < n; i++)
        if (groups[i] == wanted)
            return true;
    return false;
}

static void
check_tpm_group(struct doctor *doctor)
{
    const struct group *group = getgrnam(TPM_GROUP);
    struct stat device;
    if (!group) {
        doctor_say(doctor, DOCTOR_WARNING, "people", "groupadd --system " TPM_GROUP,
                   "there is no group " TPM_GROUP ", which the TPM's device belongs to as a rule");
        return;
    }
    gid_t gid = group->gr_gid;
    g_autofree char *others = members_of(group, USER);
    /* A TPM that is reached otherwise, by Tcti=, needs no group. */
    if (getpwnam(USER) && !is_member(USER, gid) && stat(TPM_DEVICE, &device) == 0 && device.st_gid == gid)
        doctor_say(doctor, DOCTOR_BAD, "people", "usermod -aG " TPM_GROUP " " USER " && systemctl restart hubkeyd",
                   "user " USER " is not in group " TPM_GROUP " and cannot open the TPM");
    if (*others && strcmp(others, TPM_GROUP) != 0)
        doctor_say(doctor, DOCTOR_WARNING, "people", "gpasswd --delete USER " TPM_GROUP,
                   "in group " TPM_GROUP ": %s; they can sign with any key in the TPM, past all rules of hubkeyd",
                   others);
    else
        doctor_say(doctor, DOCTOR_OK, "people", NULL, "nobody else is in group " TPM_GROUP);
}

void
doctor_people(struct doctor *doctor)
{
    const struct group *group = getgrnam(USER);
    if (!getpwnam(USER))
        doctor_say(doctor, DOCTOR_BAD, "people", "systemd-sysusers", "there is no user " USER " for hubkeyd to run as");
    if (!group) {
        doctor_say(doctor, DOCTOR_BAD, "people", "systemd-sysusers",
                   "there is no group " USER ": by default nobody but root gets a token");
    } else {
        g_autofree char *members = members_of(group, USER);
        doctor_say(doctor, DOCTOR_OK, "people", NULL,
                   "tokens are for root and group " USER " (%s) where the "
                   "configuration names nobody; hubkeyctl show N tells a slot's limits",
                   *members ? members : "no members");
    }
    check_tpm_group(doctor);
}
