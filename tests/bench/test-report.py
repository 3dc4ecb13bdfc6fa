#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run bench makes of its figures, which here are made up: summaries, benchmarks.md and pictures, of all rows and
of each alone; that a row which fails loses no other; and that no queue is measured on tmpfs. TAP."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'lib')]
sys.dont_write_bytecode = True

import bench  # noqa: E402
import built  # noqa: E402
import pictures  # noqa: E402
import report  # noqa: E402
from rows import ROWS, Row  # noqa: E402
from sandboxed import Tap  # noqa: E402

tap = Tap()


def results_of(rows):
    """Two rounds, all of the same figures, so that a ratio is 1 where one row is what another is compared with."""
    once = bench.Measurement(200.0, 300.0, 'us', [100.0 + percent for percent in range(101)])
    return [bench.summary(row, {other.name: [once, once] for other in rows}) for row in rows]


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def written(folder, names):
    rows = bench.chosen(names, argparse.ArgumentParser())
    results = results_of(rows)
    report.write(folder, report.Run(rows, results, ['node-post'], ['hub'], 2, 61.4, names))
    return rows, read(folder, 'benchmarks.md')


def check_all(folder):
    rows, text = written(folder, [])
    lines = {line.split('`')[1]: line for line in text.splitlines() if line.startswith('| `')}
    tap.ok(list(lines) == [row.name for row in ROWS], 'every row has its line', sorted(lines))
    tap.ok('| 1.00 | <= 1.10 | yes |' in lines['token-shared'], 'a goal is met', lines['token-shared'])
    tap.ok('| 1.00 | <= 0.5 | NO |' in lines['token-socket'], 'a goal is not met', lines['token-socket'])
    tap.ok('`token-abrmd`¹ |' in lines['token-abrmd'], 'what is made of pinned rows is marked', lines['token-abrmd'])
    tap.ok('| rounds | 2, in 61 s |' in text, 'rounds and time are told', text)
    tap.ok('machine: node-post.' in text and 'Failed: hub.' in text, 'what is not there is named', text)
    last = next(line for line in text.splitlines() if line.startswith('Not met'))
    tap.ok('`token-socket`' in last and '`token-abrmd`' not in last and '`rate-1000`' not in last,
           'a missed goal is explained by a service that misses it, too, or by nothing', last)
    for name in ('latency', 'rate'):
        curves = xml.etree.ElementTree.parse(f'{folder}/benchmarks-{name}.svg').findall('.//{*}polyline')
        tap.ok(len(curves) >= 3, f'the picture of {name} has its curves', len(curves))


def check_alone(folder):
    _, text = written(folder, ['rate-1000'])
    tap.ok('`rate-1000`' in text and '`rate-8`' not in text, 'benchmarks.md of one row', text)
    drawn = []
    for row in ROWS:
        results = {result['name']: result for result in results_of(bench.chosen([row.name], argparse.ArgumentParser()))}
        for draw in (pictures.latency, pictures.rate):
            if xml.etree.ElementTree.fromstring(draw(results)).findall('.//{*}polyline'):
                drawn.append((row.name, draw.__name__))
    tap.ok({('rate-1000', 'rate'), ('token-shared', 'latency')} <= {*drawn} and ('append', 'rate') not in drawn,
           'pictures of each row alone', drawn)


def check_failing(folder):
    program = f'{folder}/good'
    with open(program, 'w') as file:
        file.write('#!/bin/sh\necho "$1 1.0 2.0 us"\n')
    os.chmod(program, 0o755)
    rows = [Row('first', program, ''), Row('bad', '/bin/false', ''), Row('ratio', '', '', ('bad',)),
            Row('nowhere', f'{folder}/nothing', ''), Row('by-product', program, '', ('first',)),
            Row('last', program, '')]
    measured, failed, rounds = bench.run_rounds(rows, 2)
    tap.ok({name: len(found) for name, found in measured.items()} == {'first': 2, 'last': 2},
           'a row that fails loses no other', measured)
    tap.ok(failed == {'bad', 'ratio', 'nowhere', 'by-product'} and rounds == 2, 'and is named', failed)


def check_json(folder):
    file, link = f'{folder}/file', f'{folder}/link'
    os.symlink(file, link)
    for path in (file, link):
        bench.write_json(path, [{'name': path}])
        tap.ok(json.loads(read(file)) == {'name': path}, 'the figures are in the file', read(file))
    tap.ok(os.path.islink(link), 'a link stays one')


def check_sanitized(folder):
    with open(f'{folder}/Makefile', 'w') as file:
        file.write('CFLAGS = -O2\nHARDEN_CFLAGS = -fsanitize=address\n')
    build = os.environ['HUBKEY_BUILDDIR']
    os.environ['HUBKEY_BUILDDIR'] = folder
    tap.ok(built.is_sanitized(), 'a build with sanitizers is known')
    os.environ['HUBKEY_BUILDDIR'] = build


def check_disk():
    done = subprocess.run(['stat', '-f', '-c', '%T', '/dev/shm'], stdout=subprocess.PIPE, text=True)
    for name, row in (('bench-queue', 'append'), ('bench-group', 'post-1')):
        if done.stdout != 'tmpfs\n':
            tap.skip(f'{name} refuses tmpfs', '/dev/shm is none')
            continue
        tried = subprocess.run([os.path.join(os.environ['HUBKEY_BUILDDIR'], 'tests/bench', name), row],
                               env={**os.environ, 'STATE_DIRECTORY': '/dev/shm'}, stderr=subprocess.PIPE, text=True)
        tap.ok(tried.returncode == 1 and '/dev/shm is not on a disk' in tried.stderr, f'{name} refuses tmpfs', tried)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ['STATE_DIRECTORY'] = folder
        for check in (check_all, check_alone, check_failing, check_json, check_sanitized):
            check(folder)
    check_disk()
    return tap.done()


sys.exit(main())
