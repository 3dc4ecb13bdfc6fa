# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The folder of a sandbox: where everything lies, how it is made, and how what a killed one left is recognised."""

import base64
import contextlib
import fcntl
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
import tempfile

# Held while a folder is made or judged, so that no cleaner ever sees one that exists but is not locked yet.
MAKING = '/run/hubkey-sandbox.lock'
# Not $TMPDIR: the path of a socket has 107 bytes.
PARENT = '/tmp'
PREFIX = 'hk.'
# Where what must be durable goes when PARENT is memory.
DISK = '/var/tmp'


class Failed(Exception):
    """The sandbox cannot do what was asked; the text is for the person."""


def say(text):
    print('run: ' + text, file=sys.stderr, flush=True)


class Box:
    def __init__(self):
        os.umask(0o022)
        self.user = pwd.getpwnam('hubkey')
        with locked(MAKING):
            remove_leftovers()
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=PARENT)
            # Nobody judges by pids: the lock lives exactly as long as this process.
            self.lock = open(self.at('lock'), 'w')
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        os.chmod(self.path, 0o755)
        token = secrets.token_hex(4)
        self.host = f'hk-{token}.azure-devices.net'
        self.device = f'device-{token}'
        self.key = secrets.token_bytes(32)
        self.bus_address = f'unix:path={self.at("bus")}'
        self.tpm = f'swtpm:path={self.at("tpm/socket")}'
        self.dirs = {}

    def fill(self, stage):
        self.dirs = read_stage(stage)
        self.make_folders()
        self.copy_stage(stage)
        self.write_configuration()

    def at(self, name):
        return os.path.join(self.path, name)

    def installed(self, kind, *name):
        """Where the sandbox has what `make install` puts into the directory variable KIND."""
        return os.path.join(self.at("root") + self.dirs[kind], *name)

    def make_folders(self):
        for name in ('hubkeyd.conf.d', 'hub'):
            os.mkdir(self.at(name))
        self.make_durable('client', 0o755)
        self.make_durable('state', 0o700, self.user)
        self.make_owned('run', 0o755)
        # Group hubkey is not to reach the TPM, so it is the folder that keeps everybody but hubkey and root out.
        self.make_owned('tpm', 0o700)

    def make_owned(self, name, mode):
        os.mkdir(self.at(name))
        os.chmod(self.at(name), mode)
        os.chown(self.at(name), self.user.pw_uid, self.user.pw_gid)

    def make_durable(self, name, mode, owner=None):
        """A queue on tmpfs would be fast and would prove nothing."""
        path = self.at(name)
        if filesystem(self.path) != 'tmpfs':
            os.mkdir(path)
        elif filesystem(DISK) != 'tmpfs':
            os.symlink(tempfile.mkdtemp(prefix=os.path.basename(self.path) + '.', dir=DISK), path)
            say(f'{PARENT} is tmpfs: {path} is a link to {os.readlink(path)}')
        else:
            os.mkdir(path)
            say(f'{PARENT} and {DISK} are both tmpfs: what is measured or kept in {path} is in memory only')
        os.chmod(path, mode)
        if owner:
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def copy_stage(self, stage):
        # Ours and readable, whoever built it under whatever umask.
        root = self.at('root')
        subprocess.run(['cp', '-R', '--preserve=mode,links,timestamps', os.path.join(stage, 'stage'), root], check=True)
        subprocess.run(['chmod', '-R', 'a+rX,go-w', root], check=True)

    def write_configuration(self):
        with open(self.at('hubkeyd.conf'), 'w') as file:
            file.write(f'[hubkeyd]\nTcti={self.tpm}\n')
        with open(self.at('bus.conf'), 'w') as file:
            file.write(BUS.format(address=self.bus_address, policies=self.installed('dbuspolicydir')))

    def keep_logs(self, folder):
        """For who wants to read them afterwards: a failed test, or one that looks for secrets in all of them."""
        target = os.path.join(folder, os.path.basename(self.path))
        os.makedirs(target, exist_ok=True)
        for name in os.listdir(self.path):
            if name.endswith('.log'):
                shutil.copy(self.at(name), target)
        # What must not stand in any of them; the device it belonged to ends with the sandbox.
        with open(os.path.join(target, 'device-key'), 'w') as file:
            file.write(base64.b64encode(self.key).decode() + '\n')

    def remove(self):
        with locked(MAKING):
            remove_box(self.path)
        self.lock.close()


# The stock system policy, names for root's test services, and our own file beside it.
BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Peer"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow own_prefix="org.hubkey.test"/>
    <allow send_destination_prefix="org.hubkey.test"/>
  </policy>
  <includedir>{policies}</includedir>
</busconfig>
'''


@contextlib.contextmanager
def locked(path):
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_stage(stage):
    """The stamp that `make stage.stamp` leaves says where configure put things: lines of NAME=DIRECTORY."""
    stamp = os.path.join(stage, 'stage.stamp')
    try:
        with open(stamp) as file:
            return dict(line.rstrip('\n').split('=', 1) for line in file)
    except FileNotFoundError:
        raise Failed(f'{stamp} is missing: run `make -C {stage} stage.stamp`, or unset HUBKEY_BUILDDIR') from None


def filesystem(path):
    """The type of the mount that PATH lies on."""
    device = os.stat(path).st_dev
    wanted = f'{os.major(device)}:{os.minor(device)}'
    with open('/proc/self/mountinfo') as file:
        for line in file:
            fields = line.split()
            if fields[2] == wanted:
                return fields[fields.index('-') + 1]
    return 'unknown'


def remove_leftovers():
    """Whoever was killed by SIGKILL could not clean up. Its servers died with it; this takes its folders."""
    for entry in os.scandir(PARENT):
        if not re.fullmatch(r'hk\.\w+', entry.name) or not entry.is_dir(follow_symlinks=False):
            continue
        # Anybody can make such a name in /tmp; only root's folders are ours.
        if entry.stat(follow_symlinks=False).st_uid == 0 and abandoned(entry.path):
            remove_box(entry.path)


def abandoned(path):
    try:
        with open(os.path.join(path, 'lock')) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False  # not a sandbox, or one that lives
    return True


def remove_box(path):
    for entry in os.scandir(path):
        if entry.is_symlink() and os.readlink(entry.path).startswith(f'{DISK}/{os.path.basename(path)}.'):
            shutil.rmtree(os.readlink(entry.path), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)
