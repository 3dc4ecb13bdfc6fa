# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Where a row's processes run. Of calls made one after the other, most of the time is waking who is next, and that
takes two or three times as long on another processor, as chance has it; on one processor it always takes the same."""

import contextlib
import os
import socket
import struct

SANDBOX = os.environ.get('HUBKEY_SANDBOX', '')


def server_pids():
    """hubkeyd, swtpm and, from who listens at its socket, the bus."""
    pids = []
    for name in ('hubkeyd', 'swtpm'):
        with open(os.path.join(SANDBOX, f'{name}.pid')) as file:
            pids.append(int(file.read()))
    with socket.socket(socket.AF_UNIX) as bus:
        bus.connect(os.path.join(SANDBOX, 'bus'))
        credentials = bus.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize('3i'))
    return [*pids, struct.unpack('3i', credentials)[0]]


def place(pids, processors):
    for pid in pids:
        for thread in os.listdir(f'/proc/{pid}/task'):
            os.sched_setaffinity(int(thread), processors)


@contextlib.contextmanager
def together(wanted):
    """While it lasts, this process, what it starts, and the sandbox's servers are on one processor."""
    if not wanted:
        yield
        return
    all_processors = os.sched_getaffinity(0)
    place([os.getpid(), *server_pids()], {max(all_processors)})
    try:
        yield
    finally:
        place([os.getpid(), *server_pids()], all_processors)
