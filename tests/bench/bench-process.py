#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What a freshly started hubkeyd takes of memory and of time.

  rss-10       the sandbox's, with slots 0 to 9 in the TPM, after three thousand tokens, none of them shared, once
               hubkeyd keeps none of them any more
  rss-abrmd    tpm2-abrmd after as many TPM2_HMAC through its own TCTI
  rss-minimal  bench-minimal, the least that such a daemon can be, after as many HMACs
  rss-10000    one with 10 000 slots in files, after two hundred tokens, each of a slot whose key was not loaded
  start-10000  the same from fork to the first token of its last slot: all records read, the TPM looked at
  start        one with slot 0 from fork to its first token, less what the TPM took for its commands
  allocations  how often hubkeyd takes memory from the heap for a shared token, libdbus's own left out, which are
               allocations-libdbus

Memory is VmRSS of /proc/PID/status, pages of shared libraries included; how much of it is its own alone (RssAnon) goes
to stderr. The 10 000 slots are provisioned once a run of ./run bench, by bench-fill, for a hubkeyd with a bus and a
state directory of its own.
"""

import os
import statistics
import subprocess
import sys
import time

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
sys.path.insert(1, os.path.join(SOURCE, 'tests', 'lib'))
sys.dont_write_bytecode = True

from counting import counted_hubkeyd, counting_heap, least  # noqa: E402
from processes import SANDBOX, abrmd, as_hubkey, hubkeyd, make_folder, test_service  # noqa: E402
from sandboxed import kib, server_pid  # noqa: E402

MANY = 10000
FIRST = 10  # the first slot that is in a file
FORGOTTEN_SECONDS = 3  # a token that nobody asks for any more is not kept as long
LOOKS = 5
STARTS = 10
CALLS = 200


def provision(directory, count):
    """On every processor: most of a Provision is arithmetic on this side of the TPM."""
    def fill(first, number):
        return subprocess.Popen(['bench-fill', directory, str(first), str(number)], **as_hubkey())

    if fill(FIRST, 1).wait() != 0:  # pins the SRK
        sys.exit('bench-process: the first slot could not be provisioned')
    workers = os.cpu_count()
    bounds = [FIRST + 1 + (count - 1) * worker // workers for worker in range(workers + 1)]
    running = [fill(first, end - first) for first, end in zip(bounds, bounds[1:]) if end > first]
    if any([worker.wait() for worker in running]):
        sys.exit(f'bench-process: {count} slots could not be provisioned')


def folder():
    """A folder with the state of a hubkeyd that has MANY slots, made at the first call of a run."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], 'bench-process')
    if make_folder(path):
        provision(os.path.join(path, 'state'), MANY)
    return path


def memory(row, pid):
    resident, private = kib(pid, 'VmRSS'), kib(pid, 'RssAnon')
    print(f'bench-process: {row}: VmRSS {resident} kB, of it RssAnon {private} kB', file=sys.stderr)
    print(row, resident, '- kB')


def await_forgotten(pid):
    """Until a look at its memory finds no less than the one before."""
    before = kib(pid, 'RssAnon')
    for _ in range(LOOKS):
        time.sleep(FORGOTTEN_SECONDS)
        now = kib(pid, 'RssAnon')
        if now >= before:
            return
        before = now


def hubkeyd_of_many():
    return hubkeyd(folder(), os.path.join(SANDBOX, 'hubkeyd.conf'), FIRST + MANY - 1)


def use(program, row, **environment):
    """The figure itself is of no interest here."""
    subprocess.run([program, row], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True)


def rss_10(row):
    connection_string = 'HostName=bench.azure-devices.net;DeviceId=device-{};SharedAccessKey=YmVuY2g=\n'
    for slot in map(str, range(1, 10)):
        if subprocess.run(['hubkeyctl', 'show', slot], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(['hubkeyctl', 'provision', slot, '--connection-string-file', '-'], check=True,
                           input=connection_string.format(slot), text=True, stdout=subprocess.DEVNULL)
    subprocess.run([os.path.join(SOURCE, 'run'), 'sandbox-restart', 'hubkeyd'], check=True)
    use('bench-bus', 'token-fresh')
    pid = server_pid('hubkeyd')
    await_forgotten(pid)
    memory(row, pid)


def rss_abrmd(row):
    with abrmd() as (pid, tcti):
        use('bench-tpm', 'raw-hmac', TPM2TOOLS_TCTI=tcti)
        memory(row, pid)


def rss_minimal(row):
    with test_service('org.hubkey.test.Minimal', 'bench-minimal') as pid:
        use('bench-bus', 'minimal')
        memory(row, pid)


def rss_10000(row):
    with hubkeyd_of_many() as daemon:
        use('bench-bus', 'cold-slot', DBUS_SYSTEM_BUS_ADDRESS=daemon.address, HUBKEY_SOCKET='',
            HUBKEY_BENCH_SAMPLES='100')
        memory(row, daemon.pid)


def start_10000(row):
    with hubkeyd_of_many() as daemon:
        print(f'{row} {daemon.milliseconds:.1f} - ms')


def start(row):
    samples = []
    for _ in range(1 + STARTS):
        with counted_hubkeyd('bench-start') as counted:
            samples.append(counted.daemon.milliseconds - counted.counts().busy_ns / 1e6)
            os.unlink(f'{counted.path}/tpm-counts')
    del samples[0]  # it has taken over the slot
    print(f'{row} {statistics.median(samples):.1f} - ms')  # of ten there is no 99th percentile


def allocations(row):
    with counted_hubkeyd('bench-heap', **counting_heap('bench-heap')) as counted:
        counted.shared(CALLS)
        counts = least(counted.shared, CALLS)
    print(f'{row} {counts.by_others / CALLS:.3f} - /token')
    print(f'{row}-libdbus {counts.by_libdbus / CALLS:.3f} - /token')


ROWS = {'rss-10': rss_10, 'rss-abrmd': rss_abrmd, 'rss-10000': rss_10000, 'start-10000': start_10000,
        'rss-minimal': rss_minimal, 'start': start, 'allocations': allocations}

if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1] not in ROWS:
        sys.exit(f'usage: bench-process.py {"|".join(ROWS)}    in ./run sandbox')
    ROWS[sys.argv[1]](sys.argv[1])
