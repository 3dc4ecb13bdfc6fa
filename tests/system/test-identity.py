#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Who a caller is, while it does what it can to be somebody else: a process ID is never asked, so recycling one or
becoming another program right after sending gains nothing."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, enter, wait_until  # noqa: E402
import rawbus  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
WAYS = (('bus', os.path.join(BOX, 'bus'), True), ('socket', os.environ.get('HUBKEY_SOCKET', ''), False))
ROUNDS = 50
SLOT = '/org/hubkey/slot/0', 'org.hubkey.Slot1'


def log():
    with open(os.path.join(BOX, 'hubkeyd.log'), errors='replace') as file:
        return file.read()


def effective_uid(pid):
    with open(f'/proc/{pid}/status') as file:
        return next(int(line.split()[2]) for line in file if line.startswith('Uid:'))


def reader():
    """A setuid-root program that copies what it reads: dd, with the connection as standard input."""
    path = os.path.join(BOX, 'setuid-dd')
    shutil.copy(shutil.which('dd'), path)
    os.chmod(path, 0o4755)
    return path


def send_and_become(way, path, is_bus, program):
    """As hubkey-out: sends GetToken, becomes PROGRAM (root, by its setuid bit), and lets that read the answer."""
    connection = rawbus.Connection(path, 'hubkey-out', is_bus)
    if is_bus:  # what the bus has to say at the beginning is behind us then
        connection.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'GetId', destination='org.freedesktop.DBus')
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        import pwd
        entry = pwd.getpwnam('hubkey-out')
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.dup2(connection.socket.fileno(), 0)
        os.dup2(into, 1)
        connection.post(*SLOT, 'GetToken', rawbus.body('su', '', 0))
        os.execv(program, [program, 'bs=4096', 'count=1', 'status=none'])
    os.close(into)
    was_root = False
    with os.fdopen(out, 'rb') as answer:
        try:
            was_root = effective_uid(child) == 0
        except OSError:
            pass  # it has ended already
        text = answer.read()
    os.waitpid(child, 0)
    connection.close()
    return was_root, text


def test_setuid(tap):
    program = reader()
    check = subprocess.run(['setpriv', '--reuid', 'hubkey-out', '--clear-groups', '--', program, 'if=/etc/shadow',
                            'of=/dev/null', 'count=1', 'status=none'], stderr=subprocess.DEVNULL)
    if check.returncode != 0:
        tap.ok(True, 'setuid programs # SKIP they do not work in the folder of the sandbox')
        return
    for way in WAYS:
        answers = [send_and_become(*way, program) for _ in range(ROUNDS)]
        refused = [text for _, text in answers if b'NotAuthorized' in text and b'(hubkey-out)' in text]
        tap.ok(len(refused) == ROUNDS, f'{way[0]}: root when the answer comes, refused as who it was when it connected',
               f'{len(refused)} of {ROUNDS}: {[text for _, text in answers if text not in refused][:3]}')
        tap.note(f'{sum(was_root for was_root, _ in answers)} of {ROUNDS} were seen as root while they waited')


def fork_as(pid, function):
    """A child with this process ID where the kernel can be talked into it; returns the ID that it got."""
    with open('/proc/sys/kernel/ns_last_pid', 'w') as file:
        file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(0)
    return child


def recycle(path, is_bus, pid):
    """hubkey-out sends Clear and is gone; root has its process ID at once. True where that succeeded."""
    def attack():
        connection = rawbus.Connection(path, 'hubkey-out', is_bus)
        connection.post(*SLOT, 'Clear', rawbus.body('e'), flags=rawbus.NO_REPLY)

    first = fork_as(pid, attack)
    os.waitpid(first, 0)
    out, into = os.pipe()
    second = fork_as(first, lambda: (os.close(into), os.read(out, 1)))
    # Root sits on the recycled ID until hubkeyd has surely dealt with the call: it answers another of the same way.
    probe = rawbus.Connection(path, None, is_bus)
    probe.call('/org/hubkey', 'org.hubkey.Manager1', 'GetStatistics')
    probe.close()
    os.close(into)
    os.close(out)
    os.waitpid(second, 0)
    return first == second


def test_recycled(tap):
    try:
        with open('/proc/sys/kernel/ns_last_pid', 'r+'), open('/proc/sys/kernel/pid_max') as file:
            pid = int(file.read()) - 1000
    except OSError as error:
        tap.ok(True, f'recycled process IDs # SKIP {error}')
        return
    for name, path, is_bus in WAYS:
        recycled = sum(recycle(path, is_bus, pid + i % 500) for i in range(ROUNDS))
        tap.ok(recycled >= ROUNDS // 4, f'{name}: process IDs were recycled to root behind a call', recycled)
        tap.note(f'{recycled} of {ROUNDS}')
        state = rawbus.Connection(path, None, is_bus).get_token()
        tap.ok(state.startswith('SharedAccessSignature '), f'{name}: the slot is still there', state)
    wait_until(lambda: 'HUBKEY_EVENT=clear' in log(), 'a record of the calls')
    allowed = [line for line in log().splitlines()
               if 'HUBKEY_EVENT=clear' in line and 'HUBKEY_DECISION=denied' not in line]
    tap.ok(not allowed, 'none of the calls was taken for root\'s', allowed[:3])


def main():
    tap = Tap()
    test_recycled(tap)  # first: it looks for records, and the log has 60 refusals of a user a minute and no more
    test_setuid(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())
