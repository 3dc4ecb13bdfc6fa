#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Cockpit with the page, in a sandbox: as on a machine where hubkey is installed, on a free port of the loopback.

  portal.py why-not            prints why it cannot run here, or nothing
  portal.py run [COMMAND...]   inside a sandbox and in a mount namespace of its own: serves until COMMAND ends, exits as
                               it does; without one prints the address, and serves until Ctrl-C

Logging in is real: PAM, a password, and sudo for administrative access. A session without a login would do whatever
anybody on this machine asks it to, as root. The namespace makes two users of the sandbox people who can log in, and
puts the installed copy and the private bus where sessions and sudo look for them; nothing outside of it changes.
"""

import os
import secrets
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'sandbox'))
from box import Failed, read_stage, say  # noqa: E402

BUS_LINK = '/run/dbus/system_bus_socket'
WS = '/usr/lib/cockpit/cockpit-ws'
BRIDGE = '/usr/bin/cockpit-bridge'
SHELL = '/usr/share/cockpit/shell'
ADMIN, VIEWER = 'hubkey-in', 'hubkey-out'
START_SECONDS = 30


def why_not():
    for path in (WS, BRIDGE, SHELL, '/usr/bin/sudo'):
        if not os.path.exists(path):
            return f'{path} is missing'
    if subprocess.run(['unshare', '--mount', 'true'], stderr=subprocess.DEVNULL).returncode != 0:
        return 'mount namespaces are not allowed'
    return ''


def mount(source, target):
    subprocess.run(['mount', '--bind', source, target], check=True)


class Machine:
    """What a session of Cockpit sees: files of our own in the place of the machine's."""

    def __init__(self, sandbox, stage):
        self.sandbox = sandbox
        self.root = os.path.join(sandbox, 'root')
        self.dirs = read_stage(stage)
        self.folder = os.path.join(sandbox, 'portal')
        self.passwords = {user: secrets.token_urlsafe(12) for user in (ADMIN, VIEWER)}
        os.mkdir(self.folder)

    def at(self, *names):
        return os.path.join(self.folder, *names)

    def make(self):
        if 'cockpitdir' not in self.dirs:
            raise Failed('the page is not in this build: configure it without --without-cockpit')
        self.make_bus()
        self.make_local()
        self.make_users()

    def make_bus(self):
        """sudo hands no environment on: the private bus has to stand where the system's does."""
        folder = os.path.dirname(BUS_LINK)
        os.mkdir(self.at('dbus'))
        os.symlink(os.path.join(self.sandbox, 'bus'), self.at('dbus', os.path.basename(BUS_LINK)))
        os.makedirs(folder, exist_ok=True)
        mount(self.at('dbus'), folder)

    def make_local(self):
        """/usr/local as `make install` leaves it, whatever prefix the build has."""
        places = {'bin': self.root + self.dirs['bindir'], 'lib': self.root + self.dirs['libdir'],
                  'sbin': self.root + self.dirs['sbindir'],
                  'share/cockpit/hubkey': self.root + self.dirs['cockpitdir']}
        for name, target in places.items():
            os.makedirs(os.path.dirname(self.at('local', name)), exist_ok=True)
            os.symlink(target, self.at('local', name))
        mount(self.at('local'), '/usr/local')
        subprocess.run(['/sbin/ldconfig', '-X', '-C', self.at('ld.so.cache')], check=True, stderr=subprocess.DEVNULL)
        mount(self.at('ld.so.cache'), '/etc/ld.so.cache')

    def make_users(self):
        """Both get a password, a shell and a home; one may use sudo."""
        for user in self.passwords:
            os.makedirs(self.at('home', user))
            shutil.chown(self.at('home', user), user, user)
        self.replace('/etc/passwd', self.person)
        self.replace('/etc/shadow', self.password)
        with open(self.at('sudoers'), 'w') as file:
            file.write(f'{ADMIN} ALL=(ALL:ALL) ALL\n')
        os.mkdir(self.at('sudoers.d'))
        os.chmod(self.at('sudoers'), 0o440)
        shutil.move(self.at('sudoers'), self.at('sudoers.d', 'portal'))
        mount(self.at('sudoers.d'), '/etc/sudoers.d')

    def replace(self, path, change):
        """A changed copy stands in its place. Nobody may read it before it has the owner and the mode of the old."""
        copy = self.at(os.path.basename(path))
        status = os.stat(path)
        with open(path) as old, open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'w') as new:
            new.writelines(':'.join(change(line.rstrip('\n').split(':'))) + '\n' for line in old)
            os.fchown(new.fileno(), status.st_uid, status.st_gid)
            os.fchmod(new.fileno(), stat.S_IMODE(status.st_mode))
        mount(copy, path)

    def person(self, fields):
        if fields[0] in self.passwords:
            fields[5:7] = self.at('home', fields[0]), '/bin/bash'
        return fields

    def password(self, fields):
        if fields[0] in self.passwords:
            fields[1] = hashed(self.passwords[fields[0]])
        return fields


class Cockpit:
    def __init__(self, machine):
        self.machine = machine
        self.port = free_port()
        self.process = None

    def url(self):
        return f'http://127.0.0.1:{self.port}/hubkey'

    def start(self):
        environment = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
                       'XDG_CONFIG_DIRS': self.machine.at('config'), 'XDG_RUNTIME_DIR': self.machine.folder}
        os.makedirs(self.machine.at('config', 'cockpit'))
        with open(os.path.join(self.machine.sandbox, 'cockpit.log'), 'ab') as log:
            self.process = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', '--', WS, '--no-tls', '--address', '127.0.0.1',
                 '--port', str(self.port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd='/')
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f'cockpit-ws does not serve, see {log.name}')
            select.select([], [], [], 0.02)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


def hashed(password):
    return subprocess.run(['openssl', 'passwd', '-6', '-stdin'], input=password, text=True, stdout=subprocess.PIPE,
                          check=True).stdout.strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as peer:
        return peer.connect_ex(('127.0.0.1', port)) == 0


def run(command):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number if command else 0))
    machine = Machine(os.environ['HUBKEY_SANDBOX'], os.environ['HUBKEY_BUILDDIR'])
    machine.make()
    cockpit = Cockpit(machine)
    try:
        cockpit.start()
        if command:
            environment = {**os.environ, 'HUBKEY_PORTAL_URL': cockpit.url()}
            for role, user in (('ADMIN', ADMIN), ('VIEWER', VIEWER)):
                environment[f'HUBKEY_PORTAL_{role}'] = user
                environment[f'HUBKEY_PORTAL_{role}_PASSWORD'] = machine.passwords[user]
            return subprocess.run(command, env=environment).returncode
        print(f'Open {cockpit.url()}\n  user {ADMIN}, password {machine.passwords[ADMIN]}: may turn on administrative '
              f'access\n  user {VIEWER}, password {machine.passwords[VIEWER]}: may look\nCtrl-C ends it.', flush=True)
        while True:  # until a signal
            signal.pause()
    finally:
        cockpit.stop()


def main(arguments):
    if arguments[:1] == ['why-not']:
        print(why_not())
        return 0
    try:
        return run(arguments[1:])
    except Failed as error:
        say(str(error))
        return 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
