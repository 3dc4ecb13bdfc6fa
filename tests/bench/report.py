# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""docs/benchmarks.md: the machine, the table and the pictures of a run of ./run bench."""

import os
import platform
import shlex
import subprocess
import time
from typing import NamedTuple

import built
import pictures
from rows import is_pinned, meets

PACKAGES = ('libtss2-esys-3.0.2-0', 'swtpm', 'dbus-daemon', 'libdbus-1-3', 'libglib2.0-0', 'libcurl4', 'libsqlite3-0',
            'libc6', 'gcc', 'tpm2-abrmd', 'tpm2-tools', 'libtpm2-pkcs11-1', 'softhsm2', 'nodejs')

# What another service reaches, by the rows whose goals it is held against.
FLOORS = {'token-shared': 'floor-shared', 'token-fresh': 'floor-fresh', 'token-abrmd': 'floor-abrmd',
          'rate-8': 'floor-8', 'rate-32': 'floor-32', 'rate-1000': 'floor-1000', 'fairness': 'fairness-echo'}

TEXT = '''# Benchmarks

Written by `{command}` on {date}.

| | |
|---|---|
{machine}

Ratios are what counts: each is made of what was measured in the same round, one row after the other, and stands here
as the median of the rounds; the other figures of another machine will differ. The TPM is a software one, except that
the rows `chip-…` make it as slow as hardware. The rows marked ¹ call once at a time, with every process that takes
part on one processor, where waking the next always takes the same; all other rows leave placement to the kernel.
Those marked ² were measured in the first round only.

| row | what | median | p99 | unit | ratio | goal | met |
|---|---|---:|---:|---|---:|---|---|
{table}
{missing}
![How long a token takes](benchmarks-latency.svg)

![How many calls a second](benchmarks-rate.svg)

## Beside the goals

Beside some goals stands what another service reaches on the same machine. A goal that it misses, too, is not hubkeyd's
alone to meet; what is left between the two is hubkeyd's own.

* `floor-shared` and `floor-1000`, beside `token-shared` and `rate-1000`: the least service that takes GetToken's
  message and sends a copy of an answer that is ready. It knows no users, rules, scopes and seconds, and writes no log.
* `floor-fresh`, `floor-abrmd`, `floor-8` and `floor-32`, beside `token-fresh`, `token-abrmd` and `rate-…`: the same
  with TPM2_HMAC by the System API in a thread beside the bus's. The bus must not wait for the TPM, so two threads wake
  each other for each token, and four processes share the processors there are.
* `fairness-echo`, beside `fairness`: the echo of a service that has nothing to do with hubkeyd, while the other user
  asks hubkeyd as fast as he can. With more to run than there are processors, everybody waits for one.
  `fairness-20` is `fairness` before a TPM of 20 ms a command, where everybody waits for the TPM: the other user's
  command that is under way, and one's own.
* `post-rtt-disk`, beside `post-rtt`: the message is on the disk before it is sent, and its delivery before it is told,
  so `append` is counted twice. What is above 1 then is neither the disk's nor libcurl's.
{unexplained}
What each row does stands at the head of its program, which `tests/bench/rows.py` names. `./run bench NAME...` runs some
of them, and what they are compared with; `--json FILE` keeps the figures.
'''


class Run(NamedTuple):
    """One of ./run bench."""
    rows: list
    results: list  # bench.summary of each that was measured
    missing: list  # names
    failed: list
    rounds: int
    seconds: float
    names: list  # of the rows that were asked for; none: all


def cells(result):
    """The words of a row of the table."""
    return {
        'median': f'{result["median"]:.1f}',
        'p99': '' if result['p99'] is None else f'{result["p99"]:.1f}',
        'ratio': '' if result['ratio'] is None else f'{result["ratio"]:#.3g}'.rstrip('.'),
        'met': {True: 'yes', False: 'NO', None: ''}[result['met']],
    }


def first_line(path, key):
    with open(path) as file:
        return next((line.split(':', 1)[1].strip() for line in file if line.startswith(key)), 'unknown')


def output(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    except FileNotFoundError:
        return ''


def versions():
    found = {}
    for line in output('dpkg-query', '-W', '-f', '${Package} ${Version} ${db:Status-Status}\n', *PACKAGES).splitlines():
        name, version, *status = line.split()
        if status == ['installed']:
            found[name] = version
    return ', '.join(f'{name} {found[name]}' for name in PACKAGES if name in found)


def system():
    with open('/etc/os-release') as file:
        return next((line.split('=', 1)[1].strip().strip('"') for line in file if line.startswith('PRETTY_NAME=')), '')


def machine(run):
    folder = os.path.dirname(os.path.abspath(__file__))
    rows = {
        'processor': f'{first_line("/proc/cpuinfo", "model name")}, {len(os.sched_getaffinity(0))} of them',
        'memory': first_line('/proc/meminfo', 'MemTotal'),
        'kernel': f'{platform.system()} {platform.release()} {platform.machine()}',
        'system': system(),
        'file system of state and queues': output('stat', '-f', '-L', '-c', '%T', os.environ['STATE_DIRECTORY']),
        'load before and after': f'{first_load} and {os.getloadavg()[0]:.2f}',
        'versions': versions(),
        'hubkey': output('git', '-C', folder, 'describe', '--always', '--dirty') or output('hubkeyd', '--version'),
        'build': ' '.join([built.compiler(), *(flag.split(' = ', 1)[1] for flag in built.flags())]),
        'rounds': f'{run.rounds}, in {run.seconds:.0f} s',
    }
    return '\n'.join(f'| {name} | {value} |' for name, value in rows.items())


first_load = f'{os.getloadavg()[0]:.2f}'  # when the run began


def table(rows, results):
    lines = []
    by_name = {row.name: row for row in rows}
    for result in results:
        row, words = by_name[result['name']], cells(result)
        marks = ('¹' if is_pinned(row, by_name) else '') + ('²' if row.once else '')
        lines.append(f'| `{row.name}`{marks} | {row.what} | {words["median"]} | {words["p99"]} | {result["unit"]} | '
                     f'{words["ratio"]} | {row.goal} | {words["met"]} |')
    return '\n'.join(lines)


def unexplained(results):
    """What does not meet its goal, and no other service shows that it would miss it, too."""
    ratios = {result['name']: result['ratio'] for result in results}
    names = []
    for result in results:
        other = ratios.get(FLOORS.get(result['name']))
        if result['met'] is False and (other is None or meets(other, result['goal'])):
            names.append(f'`{result["name"]}`')
    return f'\nNot met, and nothing here shows that it could not be: {", ".join(names)}.\n' if names else ''


def told(what, names):
    return f'\n{what}: {" ".join(names)}.\n' if names else ''


def write(folder, run):
    text = TEXT.format(command=shlex.join(['./run', 'bench', *run.names]),
                       date=time.strftime('%Y-%m-%d', time.gmtime()), machine=machine(run),
                       table=table(run.rows, run.results),
                       missing=told('Cannot run on this machine', run.missing) + told('Failed', run.failed),
                       unexplained=unexplained(run.results))
    by_name = {result['name']: result for result in run.results}
    for name, content in (('benchmarks.md', text), ('benchmarks-latency.svg', pictures.latency(by_name)),
                          ('benchmarks-rate.svg', pictures.rate(by_name))):
        with open(os.path.join(folder, name), 'w') as file:
            file.write(content)
