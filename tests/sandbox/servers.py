# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The servers of a sandbox: how each is started, and how one knows that it answers.

They are children of the one process that lives as long as the sandbox, each in the foreground of its own session (a
terminal's Ctrl-C is not for them) under `setpriv --pdeathsig KILL` (a sandbox that is killed takes them along).
"""

import json
import os
import select
import socket
import subprocess
import time
import urllib.request

from box import Failed

# An AddressSanitizer build on a busy machine is slow; whoever waits this long waits for a server that hangs.
START_SECONDS = 60
STOP_SECONDS = 10


class Server:
    name = ''
    # A server of user hubkey, or of root.
    as_hubkey = False
    # Whether start writes NAME.pid.
    has_pid_file = True

    def __init__(self, box):
        self.box = box
        self.process = None

    def start(self):
        if self.running():
            self.stop()
        command = ['setpriv', '--pdeathsig', 'KILL']
        if self.as_hubkey:
            command += ['--reuid', 'hubkey', '--regid', 'hubkey', '--init-groups']
        with open(self.log_path(), 'ab') as log:
            self.process = subprocess.Popen([*command, '--', *self.command()], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment(), cwd='/', start_new_session=True)
        if self.has_pid_file:
            self.write_pid()
        self.await_answer()

    def stop(self):
        if not self.running():
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def running(self):
        # poll() reaps: a zombie is not running, whatever kill(pid, 0) says.
        return self.process is not None and self.process.poll() is None

    def await_answer(self):
        deadline = time.monotonic() + START_SECONDS
        child = os.pidfd_open(self.process.pid)
        try:
            while not self.answers():
                if not self.running():
                    raise Failed(f'{self.name} ended with {self.process.returncode} instead of answering\n'
                                 f'{self.tail()}')
                if time.monotonic() > deadline:
                    raise Failed(f'{self.name} did not answer within {START_SECONDS} s\n{self.tail()}')
                # Looks again in 10 ms, or at once when the server ended.
                select.select([child], [], [], 0.01)
        finally:
            os.close(child)

    def log_path(self):
        return self.box.at(self.name + '.log')

    def tail(self):
        with open(self.log_path(), errors='replace') as file:
            return ''.join(file.readlines()[-30:])

    def write_pid(self):
        path = self.box.at(self.name + '.pid')
        with open(path + '.new', 'w') as file:
            file.write(f'{self.process.pid}\n')
        os.rename(path + '.new', path)

    def environment(self):
        """Only what a service manager would give it, and how a sanitizer is told to behave."""
        kept = {name: value for name, value in os.environ.items() if name.endswith('SAN_OPTIONS')}
        return {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LD_LIBRARY_PATH': self.box.installed('libdir'), **kept}


class Bus(Server):
    name = 'bus'

    def command(self):
        return ['/usr/bin/dbus-daemon', f'--config-file={self.box.at("bus.conf")}', '--nofork', '--nopidfile']

    def answers(self):
        return connects(self.box.at('bus'))


class Tpm(Server):
    name = 'swtpm'
    as_hubkey = True

    def command(self):
        path = self.box.at('tpm/socket')
        return ['/usr/bin/swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={self.box.at("tpm")}',
                '--server', f'type=unixio,path={path}', '--ctrl', f'type=unixio,path={path}.ctrl',
                '--flags', 'not-need-init,startup-clear']

    def answers(self):
        """TPM2_GetRandom of four bytes, answered with TPM_RC_SUCCESS."""
        with socket.socket(socket.AF_UNIX) as tpm:
            tpm.settimeout(START_SECONDS)
            try:
                tpm.connect(self.box.at('tpm/socket'))
                tpm.sendall(bytes.fromhex('8001 0000000c 0000017b 0004'))
                return tpm.recv(64)[6:10] == bytes(4)
            except OSError:
                return False


class Daemon(Server):
    name = 'hubkeyd'
    as_hubkey = True

    def __init__(self, box):
        super().__init__(box)
        self.bus = None

    def command(self):
        box = self.box
        return [box.installed('sbindir', 'hubkeyd'), '--config', box.at('hubkeyd.conf'),
                '--state-dir', box.at('state'), '--runtime-dir', box.at('run')]

    def environment(self):
        return {**super().environment(), 'DBUS_SYSTEM_BUS_ADDRESS': self.box.bus_address}

    def answers(self):
        """The name is owned by the new process (the bus may still know a killed one), and Version can be read."""
        import dbus
        try:
            if self.call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus',
                         'GetConnectionUnixProcessID', 's', 'org.hubkey') != self.process.pid:
                return False
            self.call('org.hubkey', '/org/hubkey', 'org.freedesktop.DBus.Properties', 'Get', 'ss',
                      'org.hubkey.Manager1', 'Version')
            return True
        except dbus.exceptions.DBusException:
            if self.bus is not None and not self.bus.get_is_connected():
                self.bus = None  # the bus was started anew
            return False

    def gives_tokens(self):
        import dbus
        try:
            self.call('org.hubkey', '/org/hubkey/slot/0', 'org.hubkey.Slot1', 'GetToken', 'su', '', 0)
        except dbus.exceptions.DBusException as error:
            raise Failed(f'slot 0 gives no token: {error.get_dbus_message()}\n{self.tail()}') from None

    def call(self, name, path, interface, method, signature, *arguments):
        if self.bus is None:
            import dbus.bus
            self.bus = dbus.bus.BusConnection(self.box.bus_address)
            self.bus.set_exit_on_disconnect(False)
        return self.bus.call_blocking(name, path, interface, method, signature, arguments, timeout=START_SECONDS)


class Hub(Server):
    name = 'hub'

    def __init__(self, box):
        super().__init__(box)
        self.ports = {}

    def command(self):
        box = self.box
        # It chooses its ports once and keeps them in its state directory.
        return [box.installed('bindir', 'hubkey-testhub'), '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0',
                '--host-name', box.host, '--state-dir', box.at('hub'), '--ready-file', box.at('hub.ready')]

    def start(self):
        if os.path.exists(self.box.at('hub.ready')):
            os.unlink(self.box.at('hub.ready'))
        super().start()

    def answers(self):
        try:
            with open(self.box.at('hub.ready')) as file:
                self.ports = dict(line.rstrip('\n').split('=', 1) for line in file)
            self.admin('GET', '/stats')
            return True
        except (OSError, ValueError, KeyError):
            return False  # not listening, or only half of the file is written

    def admin_url(self):
        return f'http://127.0.0.1:{self.ports["admin_port"]}'

    def admin(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin_url() + path, data, method=method)
        request.add_header('Content-Type', 'application/json')
        # Straight to it: a proxy of this machine has no business here.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=START_SECONDS) as answer:
            return answer.read()


def connects(path):
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(path)
            return True
        except OSError:
            return False
