#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run bench runs inside a sandbox: every measuring program in turn, some rounds over, and one table.

A measuring program, installed or one of the scripts beside this, is called as `PROGRAM ROW` and prints one line, `ROW
MEDIAN P99 UNIT` (P99 is - where there is none), and one more for each other row that it measured on the way; where
HUBKEY_BENCH_PERCENTILES is set, 101 percentiles may follow in the line. A peer that cannot run here exits with 77 and
says why. A machine is never quiet, so only what was measured within the same round is compared: a ratio is made in each
round, and the table has the median of the rounds.
"""

import argparse
import difflib
import json
import operator
import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, '..', 'lib'))
sys.dont_write_bytecode = True

import placement  # noqa: E402
import report  # noqa: E402
from rows import ROWS  # noqa: E402
from sandboxed import progress  # noqa: E402

ROUNDS = 5
# No further round is begun, unless it was asked for, that would end later than that: all is to be done in ten minutes.
LIMIT_SECONDS = 500
CANNOT_RUN = 77
COMPARE = {'<=': operator.le, '>=': operator.ge, '<': operator.lt, '>': operator.gt}


class Measurement(NamedTuple):
    median: float
    p99: Optional[float]
    unit: str
    percentiles: list


def parse(line):
    name, median, p99, unit, *percentiles = line.split()
    tail = None if p99 == '-' else float(p99)
    return name, Measurement(float(median), tail, unit, [float(value) for value in percentiles])


def measure(row):
    """Row name -> Measurement, of one run of the row's program; None where it cannot run here."""
    program = os.path.join(HERE, row.program) if row.program.endswith(('.py', '.sh')) else row.program
    with placement.together(row.pinned):
        done = subprocess.run([program, row.name], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, 'HUBKEY_BENCH_PERCENTILES': '1'})
    if done.returncode == CANNOT_RUN:
        return None
    if done.returncode != 0 or not done.stdout.startswith(f'{row.name} '):
        sys.exit(f'bench: {row.program} {row.name} exited with {done.returncode} and printed {done.stdout!r}')
    return dict(map(parse, done.stdout.splitlines()))


def run_round(rows, measured, say):
    """Adds a measurement to each row of MEASURED, and takes those away that cannot run here, and what needs them.
    Returns how many seconds the next round will take: those of the rows that are not measured just once."""
    fresh = {}
    again = 0
    for row in rows:
        if not {row.name, *row.needs} <= measured.keys():
            measured.pop(row.name, None)
            continue
        if row.once and measured[row.name]:
            continue
        say(row.name)
        begun = time.monotonic()
        if not row.program:
            fresh[row.name] = measured[row.needs[0]][-1]
        elif row.name not in fresh:
            fresh.update(measure(row) or {})
        if row.name in fresh:
            measured[row.name].append(fresh[row.name])
        else:
            del measured[row.name]
        again += 0 if row.once else time.monotonic() - begun
    return again


def run_rounds(rows, rounds):
    """Row name -> its measurements, one a round; without those that cannot run here, and what is made of them."""
    measured = {row.name: [] for row in rows}
    begun = time.monotonic()
    for number in range(1, (rounds or ROUNDS) + 1):
        again = run_round(rows, measured, lambda name: progress(f'round {number}: {name}'))
        if not rounds and time.monotonic() - begun + again > LIMIT_SECONDS:
            break
    progress('')
    return measured


def ratio(row, measured):
    if row.peer is None:
        return None

    def value(name, number):
        rounds = measured[name]
        once = rounds[min(number, len(rounds) - 1)]
        return once.p99 if row.tails else once.median

    return statistics.median(value(row.name, number) / row.peer({name: value(name, number) for name in row.needs})
                             for number in range(len(measured[row.name])))


def met(row, value):
    if not row.goal or value is None:
        return None
    comparison, bound = row.goal.split()
    return COMPARE[comparison](value, float(bound))


def summary(row, measured):
    rounds = measured[row.name]
    tails = [once.p99 for once in rounds if once.p99 is not None]
    median = statistics.median(once.median for once in rounds)
    p99 = statistics.median(tails) if tails else None
    against = ratio(row, measured)
    held = p99 if row.tails else median
    percentiles = [round(statistics.median(column), 3) for column in zip(*(once.percentiles for once in rounds))]
    return {
        'name': row.name,
        'median': round(median, 3),
        'p99': None if p99 is None else round(p99, 3),
        'unit': rounds[0].unit,
        'ratio': None if against is None else round(against, 4),
        'goal': row.goal,
        'met': met(row, held if against is None else against),
        'rounds': len(rounds),
        **({'percentiles': percentiles} if percentiles and row.program else {}),
    }


def print_table(results):
    print(f'{"name":<20} {"median":>10} {"p99":>10} {"unit":<8} {"ratio":>8} {"goal":<9} met')
    for result in results:
        cells = report.cells(result)
        print(f'{result["name"]:<20} {cells["median"]:>10} {cells["p99"]:>10} {result["unit"]:<8} {cells["ratio"]:>8} '
              f'{result["goal"]:<9} {cells["met"]}'.rstrip())


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


def parse_options():
    parser = argparse.ArgumentParser(prog='./run bench', add_help=False)
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--rounds', type=int)
    parser.add_argument('--docs', metavar='FOLDER')
    parser.add_argument('--check-usage', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('names', nargs='*', metavar='NAME')
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error('--rounds must be 1 or more')
    if options.docs is None and not options.names:
        options.docs = os.path.join(HERE, '..', '..', 'docs')
    if options.docs is not None and not os.path.isdir(options.docs):
        parser.error(f'--docs: there is no folder {options.docs}')
    return options, chosen(options.names, parser)


def main():
    options, rows = parse_options()
    if options.check_usage:
        return
    output = open(options.json, 'w') if options.json else None
    measured = run_rounds(rows, options.rounds)
    results = [summary(row, measured) for row in rows if row.name in measured]
    print_table(results)
    missing = [row.name for row in rows if row.name not in measured]
    if missing:
        print(f'cannot run here, see above: {" ".join(missing)}')
    if output:
        with output:
            output.writelines(json.dumps(result) + '\n' for result in results)
    if options.docs:
        report.write(options.docs, rows, results, missing, sys.argv[1:])


if __name__ == '__main__':
    main()
