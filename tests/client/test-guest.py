#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""libhubkey as a guest in a host that forks, that knows no SIGPIPE, and that runs out of descriptors."""

import os
import resource
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, is_sanitized, kill_server, pages, restart_server, wait_until  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402

DIR = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client')
tap = Tap()
pipes = []


def queue(name):
    return os.path.join(DIR, f'guest-{name}.queue')


def arrivals(prefix):
    sent = {one['messageId'] for one in pages('/messages', 'messages')}
    return sum(1 for ident in sent if ident.startswith(prefix))


def dead_connections():
    """Whoever writes to a connection that the other side has reset gets a SIGPIPE, unless care is taken."""
    for name in ('hub', 'hubkeyd'):
        client = Client(queue(f'pipe-{name}'))
        client.post([b'before'])
        tap.ok(client.flush() == 0, f'{name}: connected', client.stats().text)
        kill_server(name)
        client.close()  # TLS says goodbye, on the thread of who closes
        restart_server(name)
        with Client(queue(f'pipe-{name}')) as client:
            client.post([b'before'])
            client.flush()
            kill_server(name)
            client.post([b'into a dead connection'])
            wait_until(lambda: name == 'hubkeyd' or client.state().startswith('offline'), 'the state')
            restart_server(name)
            tap.ok(client.flush() == 0, f'{name}: goes on', client.stats().text)
    hub('/faults', 'POST', {'kind': 'reset-after', 'count': 3})
    with Client(queue('reset')) as client:
        client.post([b'answered by a reset'])
        tap.ok(client.flush() == 0, 'hub: goes on after resets', client.stats().text)
    tap.ok(not pipes, 'no SIGPIPE reached the host', len(pipes))


def in_child(function):
    """Runs it in a forked child and returns whether it returned true."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if function() else 1)
        except BaseException:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def post_alone(number):
    """A worker that was forked from a process with a client: has one of its own, for the same queue."""
    with Client(queue('fork')) as client:
        client.post([b'x'], ident=f'fork-child-{number}')
        return client.flush() == 0


def forks():
    """In the middle of the parent's traffic. What parent and children posted arrives; no child disturbs the parent."""
    if is_sanitized(os.getpid()):
        tap.skip('fork', "the sanitizer's allocator does not survive a fork beside threads")
        return
    with Client(queue('fork')) as client:
        for number in range(20):
            client.post([b'x'], ident=f'fork-parent-{number}')
            if number % 5 == 0:
                tap.ok(in_child(lambda: client.state_code() == binding.FORKED),
                       f'fork {number}: not the child\'s to use')
                tap.ok(in_child(lambda: post_alone(number)), f'fork {number}: the child posts with a client of its own')
            subprocess.run(['true'], check=True)
        tap.ok(client.flush() == 0, 'fork: the parent delivers all of its own', client.stats().text)
        counts = client.stats().counts
        tap.ok((counts.accepted, counts.delivered) == (24, 24), 'fork: nothing was lost or counted twice',
               (counts.accepted, counts.delivered))
    tap.ok(arrivals('fork-') == 24, 'fork: all arrived', arrivals('fork-'))


def descriptors():
    """None is left for a connection to hubkeyd or to the hub."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with Client(queue('descriptors')) as client:
        used = len(os.listdir('/proc/self/fd'))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, hard))
        try:
            client.post([b'without a descriptor'])
            wait_until(lambda: client.state().startswith('offline'), 'the state')
            text = client.stats().text.decode()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        tap.ok('open files' in text, 'descriptors: the state says what is missing', text)
        tap.ok(client.flush() == 0, 'descriptors: delivered once there are some', client.stats().text)


def main():
    signal.signal(signal.SIGPIPE, lambda *_: pipes.append(1))
    for test in (dead_connections, forks, descriptors):
        try:
            test()
        except (OSError, ValueError, subprocess.SubprocessError, binding.Failed) as error:
            tap.ok(False, f'{test.__name__}: {type(error).__name__}', error)
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
