/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/filesystem.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <glib.h>

#define FUSE 0x65735546

/* f_type of statfs(2), from the kernel's <linux/magic.h>, the sources of those that are not part of it, and coreutils'
 * stat. Cluster file systems are among them: their nodes share the disk, but not their memory. */
static const struct {
    uint32_t type;
    const char *name;
} remote[] = {
    { 0x00006969, "NFS" },
    { 0x0000517b, "SMB" },
    { 0xff534d42, "CIFS" },
    { 0xfe534d42, "SMB" },
    { 0x01021997, "9P" },
    { 0x00c36400, "Ceph" },
    { 0x5346414f, "AFS" },
    { 0x6b414653, "AFS" },
    { 0x73757245, "Coda" },
    { 0x0000564c, "NCP" },
    { 0x0bd00bd0, "Lustre" },
    { 0x47504653, "GPFS" },
    { 0x19830326, "BeeGFS" },
    { 0x20030528, "OrangeFS" },
    { 0xaad7aaea, "PanFS" },
    { 0xbeefdead, "StorNext" },
    { 0x013111a8, "IBRIX" },
    { 0x61636673, "ACFS" },
    { 0x01161970, "GFS2" },
    { 0x7461636f, "OCFS2" },
    { 0xbacbacbc, "VMware's shared folders" },
    { 0x786f4256, "VirtualBox's shared folders" },
    { 0x7c7c6673, "Parallels' shared folders" },
};

/* A line: 36 35 98:0 /root /place options [optional fields] - type source options; proc(5). */
static char *
type_of_line(const char *line, dev_t device)
{
    unsigned major_number, minor_number;
    const char *end = strstr(line, " - ");
    if (sscanf(line, "%*u %*u %u:%u", &major_number, &minor_number) != 2 ||
        makedev(major_number, minor_number) != device || !end)
        return NULL;
    end += strlen(" - ");
    return g_strndup(end, strcspn(end, " "));
}

char *
filesystem_type(const char *mountinfo, dev_t device)
{
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
    char *type = NULL;
    for (char **line = lines; *line && !type; line++)
        type = type_of_line(*line, device);
    return type;
}

/* Behind FUSE is a program, which may be a client of anything (sshfs, s3fs, a host's virtiofs); only those of a block
 * device (ntfs-3g and the like) keep their files here. */
static char *
behind_fuse(const char *directory)
{
    struct stat st;
    g_autofree char *mountinfo = NULL, *type = NULL;
    if (stat(directory, &st) == 0 && g_file_get_contents("/proc/self/mountinfo", &mountinfo, NULL, NULL))
        type = filesystem_type(mountinfo, st.st_dev);
    if (g_strcmp0(type, "fuseblk") == 0)
        return NULL;
    return type ? g_steal_pointer(&type) : g_strdup("FUSE");
}

char *
filesystem_remote(const char *directory)
{
    struct statfs fs;
    if (statfs(directory, &fs) != 0)
        return NULL;
    uint32_t type = (uint32_t)fs.f_type;
    if (type == FUSE)
        return behind_fuse(directory);
    for (size_t i = 0; i < G_N_ELEMENTS(remote); i++)
        if (remote[i].type == type)
            return g_strdup(remote[i].name);
    return NULL;
}
