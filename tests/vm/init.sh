#!/bin/sh
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The first program of the machine, in its initramfs: the host's root, read-only, under a layer in memory, and systemd
# on top of it. What the host's administrator has set up to run is left out: this is a test of hubkey, not of that host.

set -eu
export PATH=/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

while read -r module; do insmod "/modules/$module"; done </modules/order

share=$(sed 's/.*hubkey\.share=\([^ ]*\).*/\1/' /proc/cmdline)

mkdir -p /lower /upper /root
mount -t virtiofs -o ro hostroot /lower
mount -t tmpfs -o mode=755 upper /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work machine /root

# Folders that systemd's own units would clean, and that may be large on the host.
for folder in tmp var/tmp run; do mount -t tmpfs -o mode=1777 none "/root/$folder"; done

# systemd judges by some of these that it runs in a container, or waits for disks that are not here. Its generators make
# units of what the host has set up, and take their time at every daemon-reload.
rm -rf /root/.dockerenv /root/etc/fstab /root/etc/systemd/system /root/etc/systemd/journald.conf.d \
    /root/lib/systemd/system-generators /root/var/log/journal
mkdir -p /root/etc/systemd/system /root/hubkey
mount -o bind "/lower$share" /root/hubkey
cp /root/hubkey/guest/*.service /root/etc/systemd/system/
echo hubkey-vm >/root/etc/hostname

exec switch_root /root /lib/systemd/systemd
