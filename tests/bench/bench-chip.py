#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Tokens from a TPM as slow as hardware: a hubkeyd of its own, with slot 0 of the sandbox's TPM behind tcti-chip.

  chip-5, chip-20, chip-100           a fresh token where a command takes 5, 20 or 100 ms, held against that time
  chip-same, chip-burst, chip-scopes  as bench-chip says, 20 ms a command
  quiet-20, fairness-20               as bench-rules says, 20 ms a command
"""

import contextlib
import os
import subprocess
import sys

sys.dont_write_bytecode = True

from counting import counted_hubkeyd  # noqa: E402

MS = 20  # a command, where a row has no number of its own
# The more time each takes, the fewer.
SAMPLES = {'chip-5': (5, 200), 'chip-20': (20, 50), 'chip-100': (100, 20)}
USERS = 'AllowUsers=hubkey-in;hubkey-out\n'  # of bench-rules
CROWDS = ('chip-same', 'chip-burst', 'chip-scopes')


@contextlib.contextmanager
def slow_hubkeyd(milliseconds):
    """Its environment for who calls it, and the file in which its TPM counts."""
    with counted_hubkeyd('bench-chip', milliseconds=milliseconds, rules=USERS) as counted:
        yield {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': counted.daemon.address}, f'{counted.path}/tpm-counts'


def run(command, environment):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout


def crowd(row):
    with slow_hubkeyd(MS) as (environment, counts):
        print(run(('bench-chip', row, counts), environment), end='')


def rules(row):
    with slow_hubkeyd(MS) as (environment, _):
        socket = os.path.join(os.environ['STATE_DIRECTORY'], 'bench-chip/run/socket')
        environment = {**environment, 'HUBKEY_SOCKET': socket, 'HUBKEY_BENCH_SAMPLES': '200'}
        print(run(('bench-rules', row), environment), end='')


def fresh(row):
    milliseconds, samples = SAMPLES[row]
    with slow_hubkeyd(milliseconds) as (environment, _):
        words = run(('bench-bus', 'token-fresh'), {**environment, 'HUBKEY_BENCH_SAMPLES': str(samples)}).split()
    print(row, *words[1:])


ROWS = {**dict.fromkeys(SAMPLES, fresh), **dict.fromkeys(CROWDS, crowd),
        'quiet-20': rules, 'fairness-20': rules}

if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1] not in ROWS:
        sys.exit(f'usage: bench-chip.py {"|".join(ROWS)}    in ./run bench')
    ROWS[sys.argv[1]](sys.argv[1])
