#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Two hundred clients with a backlog after a reboot: all is delivered, and the hub sees them one after the other."""

import collections
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, pages, wait_until  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402

DIR = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client')
PROCESSES, CLIENTS, MESSAGES = 4, 50, 3
BUCKET_US = 200000
BOOT_CLOCK = 7  # CLOCK_BOOTTIME


def queues(process):
    return [os.path.join(DIR, f'fleet-{process}-{number}.queue') for number in range(CLIENTS)]


def be_part(process):
    """Opens its clients when told so, and ends when told so."""
    if time.clock_gettime(BOOT_CLOCK) > 300:
        print('no', flush=True)
        return
    print('ready', flush=True)
    sys.stdin.readline()
    clients = [Client(path) for path in queues(process)]
    print('open', flush=True)
    sys.stdin.read()
    for client in clients:
        client.close()


def start_parts():
    """As if the machine had been up for a minute: in a time namespace."""
    offset = -(int(time.clock_gettime(BOOT_CLOCK)) - 60)
    parts = [subprocess.Popen(['unshare', '--time', '--fork', '--boottime', str(offset), sys.executable,
                               os.path.abspath(__file__), str(process)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) for process in range(PROCESSES)]
    ready = [part.stdout.readline().strip() == 'ready' for part in parts]
    return parts, all(ready)


def main():
    if len(sys.argv) > 1:
        be_part(int(sys.argv[1]))
        return 0
    tap = Tap()
    total = PROCESSES * CLIENTS
    for process in range(PROCESSES):
        for path in queues(process):
            with Client(path, flags=binding.QUEUE_ONLY) as client:
                client.post([b'x'] * MESSAGES)
    parts, ready = start_parts()
    if not ready:
        print('1..0 # SKIP no time namespaces here')
        for part in parts:
            part.communicate()
        return 0
    for part in parts:
        part.stdin.write('\n')
        part.stdin.flush()
    wait_until(lambda: hub('/stats')['messages'] >= total * MESSAGES, 'all messages', 90)
    starts = [request['start'] for request in pages('/requests', 'requests')]
    for part in parts:
        part.communicate('', timeout=60)
    buckets = collections.Counter((start - min(starts)) // BUCKET_US for start in starts)
    busiest = max(buckets.values())
    tap.note(f'{len(starts)} requests in {(max(starts) - min(starts)) / 1e6:.1f} s, at most {busiest} in 0.2 s')
    tap.ok(len(starts) == total, 'one request a client', len(starts))
    tap.ok(busiest < total * 15 // 100, 'no stampede', sorted(buckets.items()))
    tap.ok(max(starts) - min(starts) > 5e6, 'spread over seconds')
    tap.ok(hub('/stats')['unexplainedDuplicates'] == 0 and
           len(list(pages('/messages', 'messages'))) == total * MESSAGES,
           'everything arrived once')
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
