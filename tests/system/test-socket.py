#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The private socket as users and containers meet it: same objects, same rules, by what the kernel says of a caller."""

import os
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, as_user, enter, kill_server, pages, restart_server, server_pid, wait_until  # noqa: E402
import rawbus  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
SOCKET = os.environ.get('HUBKEY_SOCKET', '')
# Where no bus answers, what works has come by the socket.
NO_BUS = {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent'}


def run(*command, env=None, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env=NO_BUS if env is None else env, **options)


def outcome(done):
    return f'{done.returncode} {done.stdout!r} {done.stderr!r}'


def log():
    with open(os.path.join(BOX, 'hubkeyd.log'), errors='replace') as file:
        return file.read()


def test_files(tap):
    info, folder = os.stat(SOCKET), os.stat(os.path.dirname(SOCKET))
    tap.ok(SOCKET == os.path.join(BOX, 'run/socket'), 'HUBKEY_SOCKET names it', SOCKET)
    tap.ok(stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o666, 'everybody may connect',
           oct(info.st_mode))
    tap.ok(stat.S_IMODE(folder.st_mode) == 0o755, 'and reach it', oct(folder.st_mode))


def test_users(tap):
    done = run(*as_user('hubkey-in', 'hubkeyctl', 'token', '0'))
    tap.ok(done.stdout.startswith('SharedAccessSignature '), 'who may gets a token without any bus', outcome(done))
    done = run(*as_user('hubkey-out', 'hubkeyctl', 'token', '0'), env=os.environ)
    tap.ok(done.returncode == 3 and '(hubkey-out)' in done.stderr, 'who may not is refused, and that is final',
           outcome(done))
    tap.ok('HUBKEY_DECISION=denied' in log() and 'HUBKEY_CALLER=socket:' in log(), 'the record says where it came from')
    done = run('hubkeyctl', '--socket', SOCKET, 'show', '0')
    tap.ok(done.returncode == 0 and os.environ['HUBKEY_DEVICE_ID'] in done.stdout, 'properties', outcome(done))
    for command in (('list',), ('status',), ('show', '0')):
        done = run(*as_user('hubkey-out', 'hubkeyctl', *command))
        tap.ok(done.returncode == 0, f'{command[0]} goes by the socket by itself', outcome(done))


def test_namespace(tap):
    """As in a container: root inside, an ordinary user outside."""
    inside = ('unshare', '--user', '--map-root-user')
    if run(*as_user('hubkey-in', *inside, 'true')).returncode != 0:
        tap.ok(True, 'user namespaces # SKIP not allowed here')
        return
    done = run(*as_user('hubkey-in', *inside, 'sh', '-c', 'id -u && exec hubkeyctl token 0'))
    tap.ok(done.stdout.startswith('0\nSharedAccessSignature '), 'who may gets a token as root of a user namespace',
           outcome(done))
    done = run(*as_user('hubkey-out', *inside, 'sh', '-c', 'id -u && exec hubkeyctl token 0'))
    tap.ok(done.returncode == 3 and done.stdout == '0\n' and '(hubkey-out)' in done.stderr,
           'who may not is no more there than outside', outcome(done))
    done = run(*as_user('hubkey-out', *inside, 'hubkeyctl', '--socket', SOCKET, 'clear', '0', '--yes'))
    tap.ok(done.returncode == 3 and '(hubkey-out)' in done.stderr, 'and no administrator', outcome(done))


def test_which_way(tap):
    done = run(*as_user('hubkey-in', 'hubkeyctl', 'token', '0'), env={**NO_BUS, 'HUBKEY_SOCKET': ''})
    tap.ok(done.returncode == 5, 'HUBKEY_SOCKET= means the bus only', outcome(done))
    done = run(*as_user('hubkey-in', 'hubkeyctl', 'token', '0'), env={**os.environ, 'HUBKEY_SOCKET': '/nonexistent'})
    tap.ok(done.returncode == 0, 'a socket where nothing listens leaves the bus', outcome(done))
    done = run('hubkeyctl', '--socket', '/nonexistent', 'list', env=os.environ)
    tap.ok(done.returncode == 5 and '/nonexistent' in done.stderr, 'but not where it was asked for by name',
           outcome(done))
    done = run('hubkeyctl', 'clear', '9', '--yes')
    tap.ok(done.returncode == 5, 'administration goes by the bus', outcome(done))


def test_admin(tap):
    clear = ('hubkeyctl', '--socket', SOCKET, 'clear', '9', '--yes')
    done = run(*clear)
    tap.ok(done.returncode == 3 and 'AdminOnSocket=yes' in done.stderr, 'root is refused, and told what would allow it',
           outcome(done))
    drop_in = os.path.join(BOX, 'hubkeyd.conf.d/admin.conf')
    with open(drop_in, 'w') as file:
        file.write('[hubkeyd]\nAdminOnSocket=yes\n')
    restart_server('hubkeyd')
    done = run(*clear)
    tap.ok(done.returncode == 1 and 'nothing to clear' in done.stderr, 'with AdminOnSocket=yes root is let in',
           outcome(done))
    done = run(*as_user('hubkey-in', *clear))
    tap.ok(done.returncode == 3 and 'for root at the private socket' in done.stderr, 'and nobody else', outcome(done))
    os.unlink(drop_in)
    restart_server('hubkeyd')
    done = run(*clear)
    tap.ok(done.returncode == 3, 'and no longer when it is gone', outcome(done))


def test_signals(tap):
    listener = rawbus.Connection(SOCKET, 'hubkey-out', is_bus=False)
    listener.call('/org/hubkey', 'org.freedesktop.DBus.Peer', 'Ping')
    host, key = os.environ['HUBKEY_HUB_HOST'], os.environ['HUBKEY_DEVICE_KEY']
    string = f'HostName={host};DeviceId=signals;SharedAccessKey={key}'
    done = run('hubkeyctl', 'provision', '8', '--connection-string-file', '-', input=string, env=os.environ)
    seen = set()
    while done.returncode == 0 and not {'SlotAdded', 'PropertiesChanged'} <= seen:
        seen.add(listener.receive().fields[rawbus.MEMBER])
    tap.ok(done.returncode == 0, 'signals come without being asked for', outcome(done))
    run('hubkeyctl', 'clear', '8', '--yes', env=os.environ)
    listener.close()


def test_restart(tap):
    """A client that keeps its connection while hubkeyd is killed and comes back; the socket file stays behind."""
    path = os.path.join(BOX, 'client/restart.queue')
    sender = subprocess.Popen(['hubkeyctl', 'send', '0', '--queue', path, '--wait', '60'], stdin=subprocess.PIPE,
                              env=NO_BUS)
    sender.stdin.write(b'before\n')
    sender.stdin.flush()
    arrived = lambda n: len(list(pages('/messages', 'messages'))) >= n  # noqa: E731
    wait_until(lambda: arrived(1), 'the first message')
    kill_server('hubkeyd')
    tap.ok(os.path.exists(SOCKET), 'a killed hubkeyd leaves its socket')
    made = os.stat(SOCKET).st_ctime_ns  # the number of an inode can come again
    done = run(*as_user('hubkey-in', 'hubkeyctl', 'token', '0'))
    tap.ok(done.returncode == 5, 'where nobody listens', outcome(done))
    restart_server('hubkeyd')
    tap.ok(os.stat(SOCKET).st_ctime_ns != made, 'the next one puts its own in its place')
    sender.stdin.write(b'after\n')
    sender.stdin.close()
    tap.ok(sender.wait(90) == 0 and arrived(2), 'libhubkey finds it again')
    os.kill(server_pid('hubkeyd'), 15)
    wait_until(lambda: not os.path.exists(SOCKET), 'the socket to go')
    tap.ok(True, 'one that is told to end takes it away')
    restart_server('hubkeyd')


def main():
    tap = Tap()
    for test in (test_files, test_users, test_namespace, test_which_way, test_admin, test_signals, test_restart):
        test(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())
