#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""libhubkey beside a system bus that is killed, hangs, and comes back: it posts on, connects again by itself, and its
host never hears of it. The bus is this test's own, and so is the hubkeyd on it, which ends with its bus and is started
again as systemd would."""

import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, kill_server, pages, wait_until  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402

BOX = os.environ['HUBKEY_SANDBOX']
SOCKET = os.path.join(BOX, 'bus-test')
ADDRESS = f'unix:path={SOCKET}'
tap = Tap()
pipes = []


def start(name, *command, user=()):
    with open(os.path.join(BOX, f'{name}-test.log'), 'ab') as log:
        return subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *user, '--', *command], stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log, env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': ADDRESS})


class Bus:
    """The sandbox's configuration at another address."""

    def __init__(self):
        self.config = os.path.join(BOX, 'bus-test.conf')
        with open(os.path.join(BOX, 'bus.conf')) as file, open(self.config, 'w') as copy:
            copy.write(file.read().replace(f'path={BOX}/bus<', f'path={SOCKET}<'))
        self.process = self.hubkeyd = None

    def start(self):
        self.process = start('bus', '/usr/bin/dbus-daemon', f'--config-file={self.config}', '--nofork', '--nopidfile')
        wait_until(lambda: self.owner_of('org.freedesktop.DBus'), 'the bus')

    def start_hubkeyd(self):
        self.hubkeyd = start('hubkeyd', 'hubkeyd', '--config', os.path.join(BOX, 'hubkeyd.conf'), '--state-dir',
                             os.path.join(BOX, 'state'), '--runtime-dir', os.path.join(BOX, 'run'),
                             user=('--reuid', 'hubkey', '--regid', 'hubkey', '--init-groups'))
        wait_until(lambda: self.owner_of('org.hubkey'), 'hubkeyd on the bus')

    def owner_of(self, name):
        done = subprocess.run(['busctl', f'--address={ADDRESS}', 'status', name], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=20)
        return done.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.wait()
        return self.hubkeyd.wait(timeout=20) if self.hubkeyd else None

    def restart(self):
        self.start()
        self.start_hubkeyd()


def queue(name):
    return os.path.join(BOX, 'client', f'bus-{name}.queue')


def arrivals():
    return sum(1 for _ in pages('/messages', 'messages'))


def timed(function, *arguments):
    begun = time.monotonic()
    function(*arguments)
    return time.monotonic() - begun


def descriptors():
    return len(os.listdir('/proc/self/fd'))


def comes_back_to(count, client):
    """An attempt to connect and FILE.state have a descriptor more for a moment; what stays behind has it for good."""
    try:
        return wait_until(lambda: client.state() == 'online' and descriptors() == count, f'{count} descriptors', 20)
    except TimeoutError:
        return False


def killed(bus):
    """In the middle of work: what is posted meanwhile waits, and goes by itself once everybody is back."""
    before = arrivals()
    with Client(queue('killed')) as client:
        client.post([b'before'])
        tap.ok(client.flush() == 0, 'killed: delivered before', client.stats().text)
        tap.ok(bus.kill() == 1, 'killed: hubkeyd ends with its bus')
        seconds = timed(client.post, [b'while there is no bus'])
        tap.ok(seconds < 2, 'killed: posting does not wait for it', seconds)
        wait_until(lambda: client.state() == 'offline, hubkeyd', 'the state')
        text = client.stats().text.decode()
        tap.ok('dbus-daemon' in text, 'killed: the state says what is missing', text)
        bus.start()
        wait_until(lambda: 'hubkeyd is not running' in client.stats().text.decode(), 'the other text')
        bus.start_hubkeyd()
        tap.ok(client.wait_seq(2) == 0, 'killed: delivered afterwards, without being asked to', client.stats().text)
        tap.ok(arrivals() - before == 2 and client.stats().duplicates_possible == 0, 'killed: both once')


def idle(bus):
    """Nothing was under way: there is no trace of it but a new connection, on which news arrive as before."""
    with Client(queue('idle')) as client:
        client.post([b'before'])
        client.flush()
        bus.kill()
        bus.restart()
        client.post([b'after'])
        tap.ok(client.flush() == 0, 'idle: delivered', client.stats().text)
        fetched = client.stats().token_fetches
        bus.hubkeyd.kill()
        bus.hubkeyd.wait()
        bus.start_hubkeyd()
        client.post([b'after another hubkeyd'])
        tap.ok(client.flush() == 0 and client.stats().token_fetches == fetched + 1,
               'idle: a new hubkeyd on the new bus is noticed', client.stats().token_fetches)


def often(bus):
    with Client(queue('often')) as client:
        client.post([b'before'])
        client.flush()
        wait_until(lambda: client.state() == 'online', 'the state')
        before = min(descriptors() for _ in range(100))  # without what is open for a moment
        for number in range(5):
            bus.kill()
            client.post([b'meanwhile'])
            wait_until(lambda: client.state() == 'offline, hubkeyd', 'the state')
            bus.restart()
            tap.ok(client.flush() == 0, f'often: delivered after restart {number + 1}', client.stats().text)
        tap.ok(comes_back_to(before, client), 'often: no descriptor stays behind', (before, descriptors()))


def hung(bus):
    """A bus that is stopped answers nobody, and refuses nobody either."""
    client = Client(queue('hung'))
    client.post([b'before'])
    client.flush()
    bus.kill()
    bus.start()
    bus.process.send_signal(signal.SIGSTOP)
    try:
        client.post([b'while the bus hangs'])
        seconds = timed(client.post, [b'and another'])
        tap.ok(seconds < 2, 'hung: posting does not wait', seconds)
        seconds = timed(client.stats)
        tap.ok(seconds < 2, 'hung: nor does reading', seconds)
        seconds = timed(client.close)
        tap.ok(seconds < 10, 'hung: closing waits for seconds only', seconds)
    finally:
        bus.process.send_signal(signal.SIGCONT)
    bus.start_hubkeyd()
    with Client(queue('hung')) as client:
        tap.ok(client.flush() == 0, 'hung: what was posted is delivered by the next client', client.stats().text)


def hung_hubkeyd(bus):
    """At its socket: the kernel connects, and nobody answers."""
    os.environ['HUBKEY_SOCKET'] = os.path.join(BOX, 'run', 'socket')
    bus.hubkeyd.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        try:
            binding.token(0)
            tap.ok(False, 'hung hubkeyd: no token')
        except binding.Failed as error:
            tap.ok(error.code == -116 and time.monotonic() - begun < 15, 'hung hubkeyd: asking for a token ends', error)
        client = Client(queue('hung-hubkeyd'))
        client.post([b'while hubkeyd hangs'])
        seconds = timed(client.close)
        tap.ok(seconds < 10, 'hung hubkeyd: closing waits for seconds only', seconds)
    finally:
        bus.hubkeyd.send_signal(signal.SIGCONT)
    with Client(queue('hung-hubkeyd')) as client:
        tap.ok(client.flush() == 0, 'hung hubkeyd: delivered once it goes on', client.stats().text)
    os.environ['HUBKEY_SOCKET'] = ''


def one_token(bus):
    tap.ok(binding.token(0)[0].startswith('SharedAccessSignature '), 'token: by the bus')
    bus.kill()
    try:
        binding.token(0)
        tap.ok(False, 'token: none without a bus')
    except binding.Failed as error:
        tap.ok(error.code == -116 and 'dbus-daemon' in str(error), 'token: without a bus it fails and says why', error)
    bus.restart()
    tap.ok(binding.token(0)[0].startswith('SharedAccessSignature '), 'token: by the next bus, in the same process')


def main():
    signal.signal(signal.SIGPIPE, lambda *_: pipes.append(1))
    kill_server('hubkeyd')  # the TPM serves one; the sandbox's comes back with the sandbox's end, or not at all
    os.environ['DBUS_SYSTEM_BUS_ADDRESS'] = ADDRESS
    os.environ['HUBKEY_SOCKET'] = ''
    bus = Bus()
    bus.restart()
    for test in (killed, idle, often, one_token, hung_hubkeyd, hung):
        try:
            test(bus)
        except (OSError, ValueError, subprocess.SubprocessError, binding.Failed) as error:
            tap.ok(False, f'{test.__name__}: {type(error).__name__}', error)
    tap.ok(not pipes, 'no SIGPIPE reached the host', len(pipes))
    bus.kill()
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
