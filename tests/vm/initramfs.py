# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The first file system of the machine: busybox, the modules without which it sees no other, and init.sh."""

import glob
import os
import shutil
import subprocess

BUSYBOX = '/bin/busybox'
# Each needs those before it.
MODULES = ('virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'fuse', 'virtiofs',
           'overlay')


def make(kernel, init, target):
    """Writes the file TARGET, from the kernel package unpacked at KERNEL; TARGET.d is where it is put together."""
    tree = target + '.d'
    for folder in ('bin', 'dev', 'modules', 'proc', 'sys'):
        os.makedirs(os.path.join(tree, folder))
    shutil.copy(BUSYBOX, os.path.join(tree, 'bin/busybox'))
    os.symlink('busybox', os.path.join(tree, 'bin/sh'))
    shutil.copy(init, os.path.join(tree, 'init'))
    os.chmod(os.path.join(tree, 'init'), 0o755)
    copy_modules(kernel, os.path.join(tree, 'modules'))
    names = subprocess.run(['find', '.', '-print0'], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    with open(target, 'wb') as file:
        subprocess.run([BUSYBOX, 'cpio', '-0', '-o', '-H', 'newc'], cwd=tree, check=True, input=names, stdout=file,
                       stderr=subprocess.DEVNULL)


def copy_modules(kernel, target):
    """Those that the kernel has built in have no file."""
    with open(os.path.join(target, 'order'), 'w') as order:
        for module in MODULES:
            pattern = os.path.join(glob.escape(kernel), f'lib/modules/*/kernel/**/{module}.ko')
            for path in glob.glob(pattern, recursive=True):
                shutil.copy(path, target)
                order.write(f'{module}.ko\n')
