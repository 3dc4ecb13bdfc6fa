#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What tokens and messages cost, in counts that are the same on every machine: instructions, system calls, commands of
the TPM and allocations of hubkeyd for a shared and for a fresh token, flushes of the disk for a post, requests for a
thousand messages. ./run bench measures times; this is what fails when a change makes hubkey do more than before.

Instructions are compared with instructions.json beside this, within 3 % where they were counted with the same versions
and options of everything that makes them, within 10 % where a package is another one; a change that is meant to change
them records them anew:

    HUBKEY_RECORD=1 make check TESTS=tests/bench/test-counts.py
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'lib')]

from sandboxed import Tap, enter, hub, is_sanitized, server_pid, wait_until  # noqa: E402

enter()

import built  # noqa: E402
import counting  # noqa: E402

# hubkeyd writes a record for each of 10 shared tokens of a second and of 100 fresh ones, and counts those above: so
# many system calls that those of the ten do not show, so few allocations that a batch is done before a second is, and
# so few fresh tokens that each has its own record.
SHARED_CALLS, SHARED_BATCH = 1000, 250
FRESH_CALLS = 90
BATCHES, BATCH = 4, 50  # under callgrind, which is slow
TOLERANCE = 0.03
TOLERANCE_OTHERS = 0.1  # where a package is another one than when they were recorded
RECORD = os.path.join(HERE, 'instructions.json')
# One token for all calls of the test.
HOUR = 'TokenGranularity=3600\n'
# What libc and libcrypto do does not depend on the processor then.
PLAIN_PROCESSOR = {'GLIBC_TUNABLES': 'glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-BMI2,-ERMS,-FSRM',
                   'OPENSSL_ia32cap': '0:0'}
PACKAGES = ('libc6', 'libglib2.0-0', 'libdbus-1-3', 'libtss2-esys-3.0.2-0', 'libssl3', 'valgrind')

# At most so many for a token. Each of them is a decision: who needs more says here why.
SHARED = {'commands': 0, 'by_libdbus': 11, 'by_others': 0, 'system calls': 4}
# The TCTI of the software TPM connects anew for every command, which is six of the system calls; the record in the log
# is 30 of the allocations.
FRESH = {'commands': 1, 'by_libdbus': 13, 'by_others': 46, 'system calls': 15}
MESSAGES = 1000
MESSAGE_BYTES = 256
REQUESTS = 2
POSTS = 200

tap = Tap()


# ---- hubkeyd ----

def read(path):
    with open(path) as file:
        return file.read()


def system_calls(pid, work):
    """What strace says WORK made the process call: name -> number. How often a thread waits for another (futex) is the
    machine's affair and left out."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], 'strace')
    with open(f'{path}.said', 'w+') as said:
        strace = subprocess.Popen(['strace', '-f', '-c', '-U', 'calls,name', '-o', path, '-p', str(pid)], stderr=said)
        wait_until(lambda: 'attached' in read(said.name), 'strace to attach')
        work()
        strace.send_signal(signal.SIGINT)
        strace.wait(30)
    rows = re.findall(r'^ *(\d+) +(\w+)$', read(path), re.MULTILINE)
    return {name: int(calls) for calls, name in rows if name not in ('total', 'futex')}


def judge(kind, limits, found):
    for name, limit in limits.items():
        what = {'by_libdbus': 'allocations of libdbus', 'by_others': 'allocations of all others',
                'commands': 'commands of the TPM'}.get(name, name)
        # What happens once in a while is no more than one for ten tokens.
        tap.ok(found[name] <= limit + 0.1, f'{kind}: no more than {limit} {what} a token', f'a token: {found}')
        tap.note(f'{kind}: {found[name]:.2f} {what}' + ('; its limit can be lower' if found[name] < limit - 1 else ''))


def judge_counting(kind, limits, found):
    """What no token can do without, or nothing was counted."""
    for name in ('by_libdbus', 'recvmsg', 'sendmsg', *(['commands'] if limits['commands'] else [])):
        tap.ok(found.get(name, 0) >= 1, f'{kind}: {name} is seen for each token', f'a token: {found}')


def check_tokens():
    with counting.counted_hubkeyd('counts', settings=HOUR, **counting.counting_heap('counts')) as counted:
        for kind, limits, work, tokens, batch in (('shared', SHARED, counted.shared, SHARED_CALLS, SHARED_BATCH),
                                                  ('fresh', FRESH, counted.fresh, FRESH_CALLS, FRESH_CALLS)):
            work(tokens)  # all that is made once is there then
            counts = counting.least(work, batch)
            calls = system_calls(counted.daemon.pid, lambda: work(tokens))
            found = {name: value / batch for name, value in counts._asdict().items()}
            found.update({name: number / tokens for name, number in calls.items()})
            found['system calls'] = sum(calls.values()) / tokens
            judge_counting(kind, limits, found)
            judge(kind, limits, found)


# ---- instructions ----

def built_with():
    """Everything that makes instructions: another of them, another number."""
    done = subprocess.run(['dpkg-query', '-W', '-f', '${Package} ${Version}\n', *PACKAGES], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return {'machine': platform.machine(), 'compiler': built.compiler(), 'packages': done.stdout.splitlines(),
            'flags': built.flags()}


def nearest(recorded, now):
    """The entry that has most in common with NOW, and how far from it is still right. None where the processor or the
    options are other ones, each of which changes everything."""
    def common(entry):
        then = entry['built with']
        return (then.get('compiler') == now['compiler']) + len(set(then['packages']) & set(now['packages']))

    comparable = [entry for entry in recorded
                  if all(entry['built with'][key] == now[key] for key in ('machine', 'flags'))]
    entry = max(comparable, key=common, default=None)
    return entry, TOLERANCE if entry and entry['built with'] == now else TOLERANCE_OTHERS


def dumps(path):
    """What callgrind counted between one look at the statistics and the next, dump after dump."""
    found = {}
    for name in os.listdir(path):
        match = re.fullmatch(r'callgrind\.(\d+)', name)
        if match:
            totals = re.search(r'^totals: (\d+)', read(os.path.join(path, name)), re.MULTILINE)
            if totals:  # the last one may be half written
                found[int(match[1])] = int(totals[1])
    return [found[number] for number in sorted(found)]


def instructions():
    """Of a shared and of a fresh token. Before and after get_statistics callgrind writes down what it has counted."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], 'callgrind')
    callgrind = ('valgrind', '-q', '--fair-sched=yes', '--tool=callgrind', '--dump-before=get_statistics',
                 '--dump-after=get_statistics', f'--callgrind-out-file={path}/callgrind')
    with counting.counted_hubkeyd('callgrind', *callgrind, settings=HOUR, **PLAIN_PROCESSOR) as counted:
        for work in (counted.shared, counted.fresh):
            for _ in range(1 + BATCHES):
                work(BATCH)
                counted.statistics()
        found = dumps(path)
    # Each look makes two: up to it, and itself; the last one is answered before that is written.
    looks = 2 * (1 + BATCHES)
    assert len(found) >= 2 * looks - 1, f'callgrind has dumped {len(found)} times: is get_statistics still the name?'
    # What else happens now and then, as in a new second, is not the token's.
    return {'shared': min(found[2:looks:2]) // BATCH, 'fresh': min(found[looks + 2::2]) // BATCH}


def check_instructions():
    recorded = json.loads(read(RECORD))
    now = built_with()
    known, tolerance = nearest(recorded, now)
    if known is None and not os.environ.get('HUBKEY_RECORD'):
        for kind in ('shared', 'fresh'):
            tap.skip(f'{kind}: instructions a token', f'none are recorded for {json.dumps(now)}')
        return
    found = instructions()
    if os.environ.get('HUBKEY_RECORD'):
        others = [entry for entry in recorded if entry['built with'] != now]
        known, tolerance = {'built with': now, 'instructions': found}, TOLERANCE
        with open(RECORD, 'w') as file:
            json.dump([*others, known], file, indent=2)
            file.write('\n')
    for kind, count in found.items():
        before = known['instructions'][kind]
        tap.ok(abs(count - before) <= tolerance * before,
               f'{kind}: instructions a token within {tolerance:.0%} of those recorded',
               f'{count} a token, {before} recorded. If that is meant: HUBKEY_RECORD=1, as this file says at its head')
        tap.note(f'{kind}: {count} instructions, {before} recorded')


# ---- libhubkey ----

def flushes(posts):
    """Of a program that posts and appends so many times, each append flushed as well."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], 'strace')
    subprocess.run(['strace', '-f', '-c', '-U', 'calls,name', '-e', 'trace=fsync,fdatasync', '-o', path, 'bench-queue'],
                   env={**os.environ, 'HUBKEY_BENCH_SAMPLES': str(posts)}, stdout=subprocess.DEVNULL, check=True)
    return sum(int(calls) for calls, _ in re.findall(r'^ *(\d+) +(fsync|fdatasync)$', read(path), re.MULTILINE))


def check_flushes():
    """Of many more than of some: what opening and closing take is in neither."""
    each = (flushes(2 * POSTS) - flushes(POSTS)) / POSTS - 1
    tap.ok(0.99 <= each <= 1.05, 'a post is one flush of the disk', f'{each:.3f} a post')
    tap.note(f'{each:.3f} flushes a post')


def check_requests():
    queue = ('--queue', os.path.join(os.environ['STATE_DIRECTORY'], 'counts.queue'))
    lines = ''.join(f'{number:0{MESSAGE_BYTES}}\n' for number in range(MESSAGES))
    subprocess.run(['hubkeyctl', 'send', '0', '--queue-only', *queue], input=lines, text=True, check=True,
                   stdout=subprocess.DEVNULL)
    before = hub('/stats')
    subprocess.run(['hubkeyctl', 'queue', 'flush', '0', *queue], check=True, stdout=subprocess.DEVNULL, timeout=60)
    after = hub('/stats')
    requests = after['requests'] - before['requests']
    tap.ok(after['messages'] - before['messages'] == MESSAGES, f'{MESSAGES} messages arrive', after)
    tap.ok(0 < requests <= REQUESTS, f'{MESSAGES} messages that wait go in at most {REQUESTS} requests', requests)
    tap.note(f'{requests} requests')


def main():
    if is_sanitized(server_pid('hubkeyd')):
        print('1..0 # SKIP counts of a build with sanitizers say nothing')
        return 0
    for tool, checks in (('strace', (check_tokens, check_flushes)), ('valgrind', (check_instructions,)),
                         ('hubkeyctl', (check_requests,))):
        for check in checks:
            if shutil.which(tool):
                check()
            else:
                tap.skip(check.__name__, f'{tool} is not installed')
    return tap.done()


sys.exit(main())
