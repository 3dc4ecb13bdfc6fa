# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A hubkeyd of its own whose work is counted while tokens are asked for: what its TPM does, what it takes from the
heap, and, with what is put before it, its instructions and system calls. Counts say the same on a busy machine and a
quiet one."""

import contextlib
import mmap
import os
import shutil
import struct
import time
from typing import NamedTuple

from processes import hubkeyd, make_folder

SHARED = 'messages/events'
BATCHES = 4


def library(name, path):
    """A copy of a module of the build that user hubkey can reach."""
    return shutil.copy(os.path.join(os.environ['HUBKEY_BUILDDIR'], 'tests/lib/.libs', name), path)


def configure(path, milliseconds, settings, rules):
    """Slot 0 stands in the TPM, so that naming its identity makes it this hubkeyd's, too. Its TPM takes at least
    MILLISECONDS a command and counts. SETTINGS are lines of [hubkeyd], RULES of the slot."""
    chip = library('libtcti-chip.so', path)
    with open(f'{path}/hubkeyd.conf', 'w') as file:
        file.write(f'[hubkeyd]\n{settings}'
                   f'Tcti={chip}:ms={milliseconds},counts={path}/tpm-counts,child={os.environ["TPM2TOOLS_TCTI"]}\n'
                   f'[slot 0]\nHostName={os.environ["HUBKEY_HUB_HOST"]}\nDeviceId={os.environ["HUBKEY_DEVICE_ID"]}\n'
                   f'{rules}')
    return f'{path}/hubkeyd.conf'


class Counts(NamedTuple):
    commands: int = 0
    busy_ns: int = 0
    by_libdbus: int = 0
    by_others: int = 0

    def since(self, before):
        return Counts(*(now - then for now, then in zip(self, before)))


class Counted:
    """HAS_HEAP: its allocations are counted, too. A file of counts that is not there is an error, not a count of 0."""

    def __init__(self, path, daemon, has_heap):
        self.path = path
        self.daemon = daemon
        self.number = 0
        self.maps = [self.map('tpm-counts'), self.map('heap-counts') if has_heap else bytes(16)]

    def map(self, name):
        with open(f'{self.path}/{name}', 'rb') as file:
            return mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ)

    def counts(self):
        return Counts(*(number for numbers in self.maps for number in struct.unpack('QQ', numbers[:16])))

    def token(self, scope):
        """When it ends."""
        return self.daemon.bus.call_blocking('org.hubkey', '/org/hubkey/slot/0', 'org.hubkey.Slot1', 'GetToken', 'su',
                                             (scope, 600), timeout=60)[1]

    def statistics(self):
        return self.daemon.bus.call_blocking('org.hubkey', '/org/hubkey', 'org.hubkey.Manager1', 'GetStatistics', '',
                                             ())

    def shared(self, count):
        """COUNT calls for one and the same token, which is there already; again where a second ended meanwhile."""
        while True:
            first = self.token(SHARED)
            before = self.counts()
            if all([self.token(SHARED) == first for _ in range(count)]):
                return self.counts().since(before)

    def fresh(self, count):
        """COUNT calls for tokens that are not there, from the beginning of a second on: hubkeyd writes a record for
        each of the first hundred of a second (daemon/audit-fold.h), which begins with its first record, wherever the
        clock's does. After one without a call, that is the first of these."""
        time.sleep(1)
        before = self.counts()
        for _ in range(count):
            self.number += 1
            self.token(f'count/{self.number}')
        return self.counts().since(before)


def least(work, calls):
    """Of some batches of WORK(CALLS) the least of each count. However slow the machine is, the records that a new
    second has written, and all else that happens once in a while, are not in each of them."""
    return Counts(*map(min, zip(*(work(calls) for _ in range(BATCHES)))))


@contextlib.contextmanager
def counted_hubkeyd(name, *before, milliseconds=0, settings='', rules='', **environment):
    """BEFORE are words put before its command line. Its files are in a folder NAME of $STATE_DIRECTORY."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], name)
    make_folder(path)
    with hubkeyd(path, configure(path, milliseconds, settings, rules), 0, *before, **environment) as daemon:
        yield Counted(path, daemon, 'COUNT_ALLOCATIONS' in environment)


def counting_heap(name):
    """The environment that has allocations counted. GLib's slices are allocations like others."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], name)
    make_folder(path)
    return {'LD_PRELOAD': library('libcount-allocations.so', path), 'COUNT_ALLOCATIONS': f'{path}/heap-counts',
            'G_SLICE': 'always-malloc'}
