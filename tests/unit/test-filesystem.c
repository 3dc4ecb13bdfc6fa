/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/filesystem.c and place.c on file systems that are not at hand: this program's own statfs answers in place of
 * the C library's.
 */
#include <config.h>

#include "client/failure.h"
#include "client/filesystem.h"
#include "client/hubkey.h"
#include "client/place.h"
#include "tests/lib/scratch.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

static uint32_t pretended; /* 0: what it really is */

int
statfs(const char *path, struct statfs *fs)
{
    static int (*real)(const char *, struct statfs *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "statfs");
    int result = real(path, fs);
    if (pretended)
        fs->f_type = (__typeof__(fs->f_type))(int32_t)pretended; /* as a machine with 32-bit numbers has it, too */
    return result;
}

static void
expect_refused(struct scratch *scratch, uint32_t type, const char *name)
{
    g_autofree char *path = g_build_filename(scratch->dir, "elsewhere", NULL);
    g_autoptr(GError) error = NULL;
    struct hubkey_error told;
    struct hubkey_queue_info info = { .size = sizeof info };
    struct hubkey_options options = { .size = sizeof options, .queue_path = path };
    hubkey_client *client;
    pretended = type;
    g_assert_null(place_prepare(path, true, &error));
    g_assert_error(error, FAILURE_DOMAIN, HUBKEY_E_QUEUE_OPEN);
    g_assert_nonnull(strstr(error->message, name));
    g_assert_nonnull(strstr(error->message, "local disk"));
    g_assert_cmpint(hubkey_client_open(&options, &client, &told), ==, HUBKEY_E_QUEUE_OPEN);
    g_assert_cmpint(hubkey_queue_status(scratch->path, &info, &told), ==, HUBKEY_E_QUEUE_OPEN);
    pretended = 0;
    g_assert_cmpint(access(path, F_OK), !=, 0); /* nothing was made there */
}

static void
test_refused(void)
{
    static const struct {
        uint32_t type;
        const char *name;
    } rows[] = {
        { NFS_SUPER_MAGIC, "NFS" },     { SMB_SUPER_MAGIC, "SMB" }, { 0xff534d42, "CIFS" },
        { 0xfe534d42, "SMB" },          { V9FS_MAGIC, "9P" },       { 0x00c36400, "Ceph" },
        { AFS_SUPER_MAGIC, "AFS" },     { AFS_FS_MAGIC, "AFS" },    { CODA_SUPER_MAGIC, "Coda" },
        { NCP_SUPER_MAGIC, "NCP" },     { 0x0bd00bd0, "Lustre" },   { 0x47504653, "GPFS" },
        { 0x19830326, "BeeGFS" },       { 0x20030528, "OrangeFS" }, { 0x01161970, "GFS2" },
        { OCFS2_SUPER_MAGIC, "OCFS2" }, { 0xbacbacbc, "VMware" },   { 0x786f4256, "VirtualBox" },
    };
    struct scratch scratch;
    scratch_open(&scratch);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        expect_refused(&scratch, rows[i].type, rows[i].name);
    scratch_close(&scratch);
}

static void
test_local(void)
{
    static const uint32_t types[] = {
        EXT4_SUPER_MAGIC,     XFS_SUPER_MAGIC,        BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
        TMPFS_MAGIC,          OVERLAYFS_SUPER_MAGIC,  MSDOS_SUPER_MAGIC, 0x24051905 /* UBIFS */,
        0x2fc12fc1 /* ZFS */, 0x2011bab0 /* exFAT */, SQUASHFS_MAGIC
    };
    struct scratch scratch;
    scratch_open(&scratch);
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        pretended = types[i];
        g_autoptr(GError) error = NULL;
        g_autofree char *path = place_prepare(scratch.path, true, &error);
        pretended = 0;
        g_assert_no_error(error);
        g_assert_nonnull(path);
    }
    scratch_close(&scratch);
}

/* FUSE says nothing of what is behind it; the table of mounts does. */
static void
test_fuse(void)
{
    static const char mounts[] =
        "22 26 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
        "98 26 8:17 / /mnt/stick\\040one rw shared:1 master:2 - fuseblk /dev/sdb1 rw,user_id=0\n"
        "99 26 0:57 / /home/me/there rw,nosuid - fuse.sshfs me@there:/ rw\n"
        "garbage\n"
        "101 26 0:58 / /host rw,relatime - virtiofs host rw\n";
    g_autofree char *local = filesystem_type(mounts, makedev(8, 17)), *ssh = filesystem_type(mounts, makedev(0, 57));
    g_autofree char *host = filesystem_type(mounts, makedev(0, 58)), *none = filesystem_type(mounts, makedev(0, 59));
    g_assert_cmpstr(local, ==, "fuseblk");
    g_assert_cmpstr(ssh, ==, "fuse.sshfs");
    g_assert_cmpstr(host, ==, "virtiofs");
    g_assert_null(none);

    /* Whatever the scratch directory is on is no fuseblk. */
    struct scratch scratch;
    scratch_open(&scratch);
    expect_refused(&scratch, FUSE_SUPER_MAGIC, "is on ");
    scratch_close(&scratch);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/filesystem/refused", test_refused);
    g_test_add_func("/filesystem/local", test_local);
    g_test_add_func("/filesystem/fuse", test_fuse);
    return g_test_run();
}
