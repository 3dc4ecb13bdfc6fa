#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run bench runs inside a sandbox: every measuring program in turn, some rounds over, and one table.

A measuring program, installed or one of the scripts beside this, is called as `PROGRAM ROW` and prints one line, `ROW
MEDIAN P99 UNIT` (P99 is - where there is none), and one more for each other row that it measured on the way; where
HUBKEY_BENCH_PERCENTILES is set, 101 percentiles may follow in the line. A peer that cannot run here exits with 77 and
says why. One that fails is told, and the exit code is 1, but the others are measured. A machine is never quiet, so only
what was measured within the same round is compared: a ratio is made in each round, and the table has the median of the
rounds.
"""

import argparse
import difflib
import json
import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, '..', 'lib'))
sys.dont_write_bytecode = True

import built  # noqa: E402
import placement  # noqa: E402
import report  # noqa: E402
from rows import ROWS, meets  # noqa: E402
from sandboxed import progress  # noqa: E402

ROUNDS = 5
# No further round is begun, unless it was asked for, that would end later than that: all but the build, with starting
# and ending the sandbox, is to be done in ten minutes.
LIMIT_SECONDS = 560
CANNOT_RUN = 77


class Measurement(NamedTuple):
    median: float
    p99: Optional[float]
    unit: str
    percentiles: list


def parse(line):
    name, median, p99, unit, *percentiles = line.split()
    tail = None if p99 == '-' else float(p99)
    return name, Measurement(float(median), tail, unit, [float(value) for value in percentiles])


class Unmeasured(Exception):
    """A row's program gave no figures. An empty text: it has said itself why it cannot run here."""


def measure(row):
    """Row name -> Measurement, of one run of the row's program."""
    program = os.path.join(HERE, row.program) if row.program.endswith(('.py', '.sh')) else row.program
    try:
        with placement.together(row.pinned):
            done = subprocess.run([program, row.name], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, 'HUBKEY_BENCH_PERCENTILES': '1'})
    except OSError as error:  # of a program, or of a server that is not there any more
        raise Unmeasured(f'{row.program} {row.name}: {error}') from error
    if done.returncode == CANNOT_RUN:
        raise Unmeasured
    if done.returncode != 0 or not done.stdout.startswith(f'{row.name} '):
        raise Unmeasured(f'{row.program} {row.name} exited with {done.returncode} and printed {done.stdout!r}')
    return dict(map(parse, done.stdout.splitlines()))


def is_by_product(row):
    """Whether the program of the row that it needs prints it, too."""
    return bool(row.program and row.needs and not row.peer)


def measure_row(row, measured, fresh):
    """Adds to FRESH what this round has not measured yet."""
    if not row.program:
        fresh[row.name] = measured[row.needs[0]][-1]
    elif row.name not in fresh and is_by_product(row):
        raise Unmeasured(f'{row.program} {row.needs[0]} printed no {row.name}')
    elif row.name not in fresh:
        fresh.update(measure(row))


def run_round(rows, measured, failed, say):
    """Adds a measurement to each row of MEASURED, and takes those away that cannot run here, and what needs them; those
    that fail are added to FAILED, too.
    Returns how many seconds the next round will take: those of the rows that are not measured just once."""
    fresh = {}
    again = 0
    for row in rows:
        if not {row.name, *row.needs} <= measured.keys():
            if measured.pop(row.name, None) is not None and not failed.isdisjoint(row.needs):
                failed.add(row.name)
            continue
        if row.once and measured[row.name]:
            continue
        say(row.name)
        begun = time.monotonic()
        try:
            measure_row(row, measured, fresh)
            measured[row.name].append(fresh[row.name])
        except Unmeasured as why:
            del measured[row.name]
            if str(why):
                failed.add(row.name)
                print(f'bench: {why}', file=sys.stderr)
        again += 0 if row.once else time.monotonic() - begun
    return again


def run_rounds(rows, rounds):
    """Row name -> its measurements, one a round; without those that cannot run here, and what is made of them. The
    names of those that failed. And how many rounds there were."""
    measured, failed = {row.name: [] for row in rows}, set()
    begun = time.monotonic()
    for number in range(1, (rounds or ROUNDS) + 1):
        again = run_round(rows, measured, failed, lambda name: progress(f'round {number}: {name}'))
        if not rounds and time.monotonic() - begun + again > LIMIT_SECONDS:
            break
    progress('')
    return measured, failed, number


def ratio(row, measured):
    if row.peer is None:
        return None

    def value(name, number):
        rounds = measured[name]
        once = rounds[min(number, len(rounds) - 1)]
        return once.p99 if row.tails else once.median

    return statistics.median(value(row.name, number) / row.peer({name: value(name, number) for name in row.needs})
                             for number in range(len(measured[row.name])))


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
        'met': meets(held if against is None else against, row.goal) if row.goal else None,
        'rounds': len(rounds),
        **({'percentiles': percentiles} if percentiles and row.program else {}),
    }


def print_table(run):
    print(f'{"name":<20} {"median":>10} {"p99":>10} {"unit":<8} {"ratio":>8} {"goal":<9} met')
    for result in run.results:
        cells = report.cells(result)
        print(f'{result["name"]:<20} {cells["median"]:>10} {cells["p99"]:>10} {result["unit"]:<8} {cells["ratio"]:>8} '
              f'{result["goal"]:<9} {cells["met"]}'.rstrip())
    print(f'rounds: {run.rounds}, in {run.seconds:.0f} s')
    for what, names in (('cannot run here, see above:', run.missing), ('FAILED, see above:', run.failed)):
        if names:
            print(what, *names)


def write_json(path, results):
    """Whole or not at all, where PATH is that of a file; /dev/stdout is a link and stays one."""
    is_file = not os.path.islink(path) and (os.path.isfile(path) or not os.path.exists(path))
    written = f'{path}.new' if is_file else path
    with open(written, 'w') as file:
        file.writelines(json.dumps(result) + '\n' for result in results)
    if is_file:
        os.replace(written, path)


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
    if options.json is not None and not os.path.isdir(os.path.dirname(os.path.abspath(options.json))):
        parser.error(f'--json: there is no folder {os.path.dirname(options.json)}')
    if options.docs is None and not options.names:
        options.docs = os.path.join(HERE, '..', '..', 'docs')
    if options.docs is not None and not os.path.isdir(options.docs):
        parser.error(f'--docs: there is no folder {options.docs}')
    return options, chosen(options.names, parser)


def main():
    options, rows = parse_options()
    if options.check_usage:
        return 0
    if built.is_sanitized():
        sys.exit(f'bench: {os.environ["HUBKEY_BUILDDIR"]} is built with sanitizers, which are what would be measured. '
                 'Unset HUBKEY_BUILDDIR, and ./run bench makes a build of its own')
    begun = time.monotonic()
    measured, failed, rounds = run_rounds(rows, options.rounds)
    run = report.Run(
        rows=rows,
        results=[summary(row, measured) for row in rows if row.name in measured],
        missing=[row.name for row in rows if row.name not in measured and row.name not in failed],
        failed=[row.name for row in rows if row.name in failed],
        rounds=rounds,
        seconds=time.monotonic() - begun,
        names=options.names,
    )
    print_table(run)
    if options.json:
        write_json(options.json, run.results)
    if options.docs:
        report.write(options.docs, run)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
