#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A TPM, a system bus, hubkeyd and an IoT Hub, all private, around one command.

  sandbox.py run STAGE COMMAND...    STAGE is a build folder with a stage.stamp; exits as COMMAND does
  sandbox.py restart SERVER          from inside: asks the process above, whose children the servers are

Python and not shell: one loop has to listen to a socket, to its children and to signals, and must never take a zombie
for a living process.
"""

import base64
import os
import selectors
import signal
import socket
import subprocess
import sys

sys.dont_write_bytecode = True

from box import Box, Failed, say  # noqa: E402
import descendants  # noqa: E402
import servers  # noqa: E402

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
# What a command gets to end in after we were told to.
COMMAND_SECONDS = 5


class Told(Exception):
    """A signal asked for the end; it is raised out of whatever we were doing."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def tell(number, _frame):
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise Told(number)


class Sandbox:
    def __init__(self):
        self.box = Box()
        self.bus = servers.Bus(self.box)
        self.swtpm = servers.Tpm(self.box)
        self.hub = servers.Hub(self.box)
        self.hubkeyd = servers.Daemon(self.box)
        self.restartable = {server.name: server for server in (self.hubkeyd, self.swtpm, self.hub, self.bus)}
        self.command = None

    def start(self, stage):
        self.box.fill(stage)
        for server in (self.bus, self.swtpm, self.hub, self.hubkeyd):
            server.start()
        key = base64.b64encode(self.box.key).decode()
        self.hub.admin('POST', '/devices', {'deviceId': self.box.device, 'primaryKey': key})
        self.provision(key)
        self.hubkeyd.gives_tokens()

    def provision(self, key):
        text = f'HostName={self.box.host};DeviceId={self.box.device};SharedAccessKey={key}\n'
        tool = self.box.installed('bindir', 'hubkeyctl')
        done = subprocess.run([tool, 'provision', '0', '--connection-string-file', '-'], input=text.encode(),
                              env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Failed(f'hubkeyctl provision 0 exited with {done.returncode}\n{done.stdout.decode()}')

    def environment(self):
        """What the command finds; everything of the caller's stays."""
        box = self.box
        private = box.at('run/socket')
        path = os.environ.get('PATH') or '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
        return {
            **os.environ,
            'PATH': ':'.join((box.installed('bindir'), box.installed('sbindir'), path)),
            'LD_LIBRARY_PATH': box.installed('libdir'),
            'DBUS_SYSTEM_BUS_ADDRESS': box.bus_address,
            'TPM2TOOLS_TCTI': box.tpm,
            'STATE_DIRECTORY': box.at('client'),
            'HUBKEY_SANDBOX': box.path,
            'HUBKEY_SOCKET': private if os.path.exists(private) else '',
            'HUBKEY_HUB_HOST': box.host,
            'HUBKEY_HUB_ADMIN': self.hub.admin_url(),
            'HUBKEY_CONNECT_TO': f'::127.0.0.1:{self.hub.ports["tls_port"]}',
            'HUBKEY_CA_FILE': self.hub.ports['ca_file'],
            'HUBKEY_DEVICE_ID': box.device,
            'HUBKEY_DEVICE_KEY': base64.b64encode(box.key).decode(),
        }

    def run(self, command):
        """Serves restarts until the command ends; returns its exit code as a shell would tell it."""
        with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as events:
            listener.bind(self.box.at('control'))
            os.chmod(self.box.at('control'), 0o600)
            listener.listen()
            try:
                self.command = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', '--', *command],
                                                env=self.environment())
            except OSError as error:
                raise Failed(str(error)) from None
            ended = os.pidfd_open(self.command.pid)
            events.register(ended, selectors.EVENT_READ)
            events.register(listener, selectors.EVENT_READ)
            while self.command.poll() is None:
                if any(key.fileobj is listener for key, _ in events.select()):
                    self.serve(listener.accept()[0])
            os.close(ended)
        code = self.command.returncode
        return 128 - code if code < 0 else code

    def serve(self, peer):
        """One line with a server's name; answered by "ok", or by what went wrong."""
        with peer:
            peer.settimeout(1)
            try:
                name = peer.recv(64).decode(errors='replace').strip()
                self.restartable[name].start()
                answer = 'ok'
            except KeyError:
                answer = 'no such server'
            except Failed as error:
                answer = str(error)
            except OSError:
                return
            try:
                peer.sendall(answer.encode())
            except OSError:
                pass  # Whoever asked is gone; the server runs all the same.

    def end(self):
        if self.command is not None and self.command.poll() is None:
            self.command.terminate()
            try:
                self.command.wait(COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                self.command.kill()
        for server in (self.hubkeyd, self.hub, self.swtpm, self.bus):
            server.stop()
        descendants.kill_all()
        if folder := os.environ.get('HUBKEY_LOG_DIR'):
            self.box.keep_logs(folder)
        self.box.remove()


def run(stage, command):
    for number in ENDING:
        signal.signal(number, tell)
    descendants.adopt()
    sandbox = None
    try:
        sandbox = Sandbox()
        sandbox.start(stage)
        return sandbox.run(command)
    except Told as told:
        return 128 + told.number
    except Failed as error:
        say(str(error))
        return 1
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        if sandbox is not None:
            sandbox.end()


def restart(name):
    path = os.path.join(os.environ.get('HUBKEY_SANDBOX', ''), 'control')
    with socket.socket(socket.AF_UNIX) as supervisor:
        try:
            supervisor.connect(path)
            supervisor.sendall(name.encode())
            answer = b''.join(iter(lambda: supervisor.recv(4096), b'')).decode()
        except OSError as error:
            answer = f'{path}: {error.strerror}. Is this inside ./run sandbox, as root?'
    if answer == 'ok':
        return 0
    say(f'sandbox-restart {name}: {answer or "the sandbox ended"}')
    return 1


def main(arguments):
    if arguments[:1] == ['restart']:
        return restart(*arguments[1:])
    return run(arguments[1], arguments[2:])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
