#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""How much memory a backlog takes to be sent: as much as a few messages do. ./run bench has the row for a million."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, is_sanitized, kib, server_pid  # noqa: E402

enter()
QUEUE = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client', 'backlog.queue')
FEW, MANY = 1000, 50000
LIMIT_KIB, MORE_KIB = 8192, 2048  # what a million may take
tap = Tap()


def fill(count):
    lines = b''.join(b'%08d %s\n' % (number, b'x' * 247) for number in range(count))
    subprocess.run(['hubkeyctl', 'send', '0', '--queue', QUEUE, '--queue-only'], input=lines, check=True, timeout=120)


def drain(count):
    """The most private memory of a program that sends them, in KiB."""
    fill(count)
    sender = subprocess.Popen(['hubkeyctl', 'queue', 'flush', '0', '--queue', QUEUE, '--wait', '60', '--json'],
                              stdout=subprocess.PIPE, text=True)
    most = 0
    while sender.poll() is None:
        most = max(most, kib(sender.pid, 'RssAnon') or 0)
    told = json.loads(sender.stdout.read())
    tap.ok(sender.returncode == 0 and told['delivered'] == count, f'{count} messages are sent', told)
    hub('/messages', 'DELETE')
    return most


def main():
    few, many = drain(FEW), drain(MANY)
    if is_sanitized(server_pid('hubkeyd')):  # of the same build, and it is there
        tap.skip('they take no more memory than a few do', 'the sanitizer keeps what was freed')
    else:
        tap.ok(few > 0 and 0 < many <= min(LIMIT_KIB, few + MORE_KIB), 'they take no more memory than a few do',
               (few, many))
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
