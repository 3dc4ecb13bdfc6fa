#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run bench runs inside a sandbox: every measuring program in turn, some rounds over, and one table.

A measuring program, installed or one of the scripts beside this, is called as `PROGRAM ROW` and prints one line, `ROW
MEDIAN P99 UNIT` (P99 is - where there is none), and one more for each other row that it measured on the way; a peer
that cannot run here exits with 77 and says why. A machine is never quiet, so only what was measured within the same
round is compared: a ratio is made in each round, and the table has the median of the rounds.
"""

import argparse
import difflib
import json
import operator
import os
import statistics
import subprocess
import sys
from typing import Callable, NamedTuple, Optional

ROUNDS = 5
CANNOT_RUN = 77


class Row(NamedTuple):
    name: str
    # What measures it; '' for a row that is another one held against something else: the first of those it needs.
    program: str
    # Rows that are measured before it. What the row is compared with is made of their medians of the same round.
    needs: tuple = ()
    peer: Optional[Callable] = None
    # Held against the ratio where there is one, else against the median.
    goal: str = ''
    # Goal and ratio are of the 99th percentiles, its own and the other rows'.
    tails: bool = False


ROWS = (
    Row('ping', 'bench-bus'),
    Row('echo', 'bench-bus'),
    Row('raw-hmac', 'bench-tpm'),
    Row('protect-bus', 'bench-tpm', ('raw-hmac',), lambda m: m['raw-hmac']),
    Row('token-shared', 'bench-bus', ('echo',), lambda m: m['echo'], '<= 1.10'),
    Row('token-fresh', 'bench-bus', ('echo', 'raw-hmac'), lambda m: m['echo'] + m['raw-hmac'], '<= 1.20'),
    Row('token-socket', 'bench-bus', ('token-shared',), lambda m: m['token-shared'], '<= 0.5'),
    # An HMAC of the same size, as people have it from a TPM, or from no TPM, without hubkeyd.
    Row('hmac-abrmd', 'bench-peer.py'),
    Row('token-abrmd', '', ('token-fresh', 'hmac-abrmd'), lambda m: m['hmac-abrmd'], '<= 0.55'),
    Row('sign-pkcs11', 'bench-peer.py'),
    Row('token-pkcs11', '', ('token-fresh', 'sign-pkcs11'), lambda m: m['sign-pkcs11'], '<= 0.04'),
    Row('sign-softhsm', 'bench-peer.py'),
    Row('hmac-process', 'bench-peer.py'),
    Row('token-process', '', ('token-fresh', 'hmac-process'), lambda m: m['hmac-process'], '<= 0.01'),
    Row('echo-8', 'bench-rate'),
    Row('rate-8', 'bench-rate', ('echo-8',), lambda m: m['echo-8'], '>= 0.6'),
    Row('echo-32', 'bench-rate'),
    Row('rate-32', 'bench-rate', ('echo-32',), lambda m: m['echo-32'], '>= 0.6'),
    Row('echo-1000', 'bench-rate'),
    Row('rate-1000', 'bench-rate', ('echo-1000',), lambda m: m['echo-1000'], '>= 0.9'),
    Row('rate-1000-tpm', 'bench-rate', ('rate-1000',), goal='<= 1'),
    # With a TPM that takes 5, 20 and 100 ms for a command, as hardware does.
    Row('chip-5', 'bench-chip.py', (), lambda m: 5e3),
    Row('chip-20', 'bench-chip.py', (), lambda m: 20e3),
    Row('chip-100', 'bench-chip.py', (), lambda m: 100e3),
    Row('chip-same', 'bench-chip.py', goal='< 25', tails=True),
    Row('chip-same-tpm', 'bench-chip.py', ('chip-same',), goal='<= 1'),
    Row('chip-burst', 'bench-chip.py'),
    Row('chip-scopes', 'bench-chip.py', goal='>= 98'),
    # TPM2_Load, TPM2_HMAC and TPM2_FlushContext; hubkeyd flushes after it has answered, so that cold-slot's peer is without.
    Row('raw-load-hmac', 'bench-tpm'),
    Row('raw-flush', 'bench-tpm'),
    Row('cold-slot', 'bench-bus', ('raw-load-hmac', 'raw-flush', 'ping'),
        lambda m: m['raw-load-hmac'] - m['raw-flush'] + m['ping'], '<= 1.2'),
    Row('no-rules', 'bench-rules'),
    Row('rules', 'bench-rules', ('no-rules',), lambda m: m['no-rules'], '<= 1.05'),
    Row('quiet', 'bench-rules'),
    Row('fairness', 'bench-rules', ('quiet',), lambda m: m['quiet'], '<= 2', tails=True),
    Row('append', 'bench-queue'),
    Row('post-idle', 'bench-queue', ('append',), lambda m: m['append'], '<= 1.25'),
    Row('post-busy', 'bench-send', ('append',), lambda m: m['append'], '<= 3', tails=True),
    # Over a round trip of 20 ms.
    Row('raw-post', 'bench-send'),
    Row('post-rtt', 'bench-send', ('raw-post',), lambda m: m['raw-post'], '<= 1.05'),
    Row('raw-drain', 'bench-send'),
    Row('drain', 'bench-send', ('raw-drain',), lambda m: m['raw-drain'], '>= 0.85'),
    Row('drain-single', '', ('drain', 'raw-post'), lambda m: 1e6 / m['raw-post']),
    Row('node-post', 'bench-node.sh'),
    Row('node-drain', 'bench-node.sh'),
    Row('drain-node', '', ('drain', 'node-drain'), lambda m: m['node-drain']),
    Row('hub', 'bench-hub', goal='>= 80000'),
    Row('rss-abrmd', 'bench-process.py'),
    Row('rss-minimal', 'bench-process.py'),
    Row('rss-10', 'bench-process.py', ('rss-minimal',), lambda m: m['rss-minimal'], '<= 1.15'),
    Row('rss-10-abrmd', '', ('rss-10', 'rss-abrmd'), lambda m: m['rss-abrmd'], '<= 1.1'),
    Row('rss-10000', 'bench-process.py', goal='<= 24576'),
    Row('start', 'bench-process.py', goal='<= 30'),
    Row('start-10000', 'bench-process.py', goal='< 1000'),
    Row('allocations', 'bench-process.py', goal='<= 0'),
    Row('allocations-libdbus', 'bench-process.py', ('allocations',)),
)

COMPARE = {'<=': operator.le, '>=': operator.ge, '<': operator.lt, '>': operator.gt}


def measure(row):
    """Row name -> (median, p99 or None, unit), of one run of the row's program; None where it cannot run here."""
    program = row.program
    if program.endswith(('.py', '.sh')):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), program)
    done = subprocess.run([program, row.name], stdout=subprocess.PIPE, text=True)
    if done.returncode == CANNOT_RUN:
        return None
    lines = [line.split() for line in done.stdout.splitlines()]
    if done.returncode != 0 or not lines or any(len(words) != 4 for words in lines) or lines[0][0] != row.name:
        sys.exit(f'bench: {row.program} {row.name} exited with {done.returncode} and printed {done.stdout!r}')
    return {name: (float(median), None if p99 == '-' else float(p99), unit) for name, median, p99, unit in lines}


def run_round(rows, measured, say):
    """Adds a measurement to each row of MEASURED, and takes those away that cannot run here, and what needs them."""
    fresh = {}
    for row in rows:
        if not {row.name, *row.needs} <= measured.keys():
            measured.pop(row.name, None)
            continue
        say(row.name)
        if not row.program:
            fresh[row.name] = fresh[row.needs[0]]
        elif row.name not in fresh:
            fresh.update(measure(row) or {})
        if row.name in fresh:
            measured[row.name].append(fresh[row.name])
        else:
            del measured[row.name]


def run_rounds(rows, rounds):
    """Row name -> its measurements, one a round; without those that cannot run here, and what is made of them."""
    measured = {row.name: [] for row in rows}
    for number in range(1, rounds + 1):
        run_round(rows, measured, lambda name: progress(f'round {number} of {rounds}: {name}'))
    progress('')
    return measured


def medians(row, measured, number, part=0):
    return {name: measured[name][number][part] for name in row.needs}


def progress(text):
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


def ratio(row, measured):
    if row.peer is None:
        return None
    part = 1 if row.tails else 0
    return statistics.median(once[part] / row.peer(medians(row, measured, number, part))
                             for number, once in enumerate(measured[row.name]))


def met(row, value):
    if not row.goal or value is None:
        return None
    comparison, bound = row.goal.split()
    return COMPARE[comparison](value, float(bound))


def summary(row, measured):
    rounds = measured[row.name]
    tails = [p99 for _, p99, _ in rounds if p99 is not None]
    median = statistics.median(value for value, _, _ in rounds)
    against = ratio(row, measured)
    held = statistics.median(tails) if row.tails else median
    return {
        'name': row.name,
        'median': round(median, 3),
        'p99': round(statistics.median(tails), 3) if tails else None,
        'unit': rounds[0][2],
        'ratio': None if against is None else round(against, 4),
        'goal': row.goal,
        'met': met(row, held if against is None else against),
    }


def print_table(results):
    print(f'{"name":<14} {"median":>10} {"p99":>10} {"unit":<8} {"ratio":>8} {"goal":<9} met')
    for result in results:
        tail = '' if result['p99'] is None else f'{result["p99"]:.1f}'
        against = '' if result['ratio'] is None else f'{result["ratio"]:#.3g}'
        answer = {True: 'yes', False: 'NO', None: ''}[result['met']]
        line = (f'{result["name"]:<14} {result["median"]:>10.1f} {tail:>10} {result["unit"]:<8} {against:>8} '
                f'{result["goal"]:<9} {answer}')
        print(line.rstrip())


def chosen(names, parser):
    known = {row.name: row for row in ROWS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f' Did you mean {near[0]}?' if near else ''
            parser.error(f'there is no row {name}.{hint} The rows are: {" ".join(known)}')
    wanted = set(names or known)
    # A row without what it is compared with would be a number without a meaning.
    for row in reversed(ROWS):  # what a row needs stands before it
        if row.name in wanted:
            wanted.update(row.needs)
    return [row for row in ROWS if row.name in wanted]


def main():
    parser = argparse.ArgumentParser(prog='./run bench', add_help=False)
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--rounds', type=int, default=ROUNDS)
    parser.add_argument('--check-usage', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('names', nargs='*', metavar='NAME')
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error('--rounds must be 1 or more')
    rows = chosen(options.names, parser)
    if options.check_usage:
        return
    output = open(options.json, 'w') if options.json else None
    measured = run_rounds(rows, options.rounds)
    results = [summary(row, measured) for row in rows if row.name in measured]
    print_table(results)
    if output:
        with output:
            output.writelines(json.dumps(result) + '\n' for result in results)


if __name__ == '__main__':
    main()
