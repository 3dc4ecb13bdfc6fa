#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Kills hubkeyd, and cuts the TPM's power, at every TPM command and every change of a file that a change of a slot
makes, one point after the other until the operation gets through untouched. Each time what died is started again, and
then the slot is exactly what it was or exactly what it was to be, nothing is left over, and it can be used again.

Arguments are words of a series (test-crash.py Rotate cut-lost); those that have all of them are run."""

import multiprocessing
import os
import shutil
import sys
import time
import traceback

import rawtpm
from crashbench import ADOPTED, EMPTY, FILE_SLOT, FIRST, FOUND, OTHER_HOST, STRANGERS_SLOT, Bench, rotated
from crashcheck import check_all
from crashservers import Failed, Wrong, check, library

WORKERS = 2
MANY = 200  # points of one series; an operation that has more is one that does not end
ENOUGH = 10  # failures of one series, each of which may take half a minute; it is given up then

# What happens to an operation: the spy between hubkeyd and TPM and the one below its file calls know these words. A
# kill before a command or an operation is the same as one after what came before it; a power cut is not, because
# hubkeyd lives on with what it believes. Making a slot and its SRK, and exchanging its key, are the long ways, and have
# all of them. Elsewhere most of the way is the same, and a kill leaves all the states that differ; a cut is added where
# the TPM is changed.
ALL = (('tpm', ('kill-after', 'cut-before', 'cut-lost', 'reset-before')), ('file', ('kill-after',)))
KILLS = (('tpm', ('kill-after',)), ('file', ('kill-after',)))

# What is done, from which state on, in which slot. A move is a rotation that changes the identity as well. Rotated is
# what was rotated before: its earlier key must stay what UndoRotate brings back, or give way to the next. In a file
# slot it makes no difference what is in the record that takes the old one's place. Start is hubkeyd's own, after a
# crash that left half of an operation behind.
OPERATIONS = (
    ('Provision', 'fresh', 0, ALL),
    ('Rotate', 'rotated', 0, ALL),
    ('Clear', 'ready', 0, (('tpm', ('kill-after', 'cut-lost', 'reset-before')), ('file', ('kill-after',)))),
    ('Move', 'adopted', 0, (('tpm', ('kill-after',)),)),
    ('UndoRotate', 'moved', 0, (('tpm', ('kill-after', 'cut-lost')), ('file', ('kill-after',)))),
    ('Adopt', 'found', 0, (('tpm', ('kill-after', 'cut-before')), ('file', ('kill-after',)))),
    ('Provision', 'beside', FILE_SLOT, KILLS),
    ('Rotate', 'file-rotated', FILE_SLOT, KILLS),
    ('Move', 'file', FILE_SLOT, (('tpm', ('cut-lost',)),)),
    ('UndoRotate', 'file-rotated', FILE_SLOT, KILLS),
    ('Clear', 'file', FILE_SLOT, (('file', ('kill-after',)),)),
    ('GetToken', 'file', FILE_SLOT, (('tpm', ('kill-after',)),)),
    ('Start', 'half-rotated', 0, KILLS),
    ('Start', 'half-moved', 0, KILLS),
    ('Start', 'half-provisioned', 0, KILLS),
    ('Start', 'half-cleared', 0, KILLS),
)
# Where the halves come from: an operation, its start, and the command in the TPM that was the last one.
HALVES = {'half-provisioned': ('Provision', 'fresh', rawtpm.NV_WRITE_LOCK),
          'half-cleared': ('Clear', 'ready', rawtpm.EVICT_CONTROL),
          'half-rotated': ('Rotate', 'rotated', rawtpm.EVICT_CONTROL),
          'half-moved': ('Move', 'adopted', rawtpm.NV_UNDEFINE_SPACE)}


def plan():
    for name, start, slot, places in OPERATIONS:
        for place, orders in places:
            for order in orders:
                yield name, start, slot, place, order


def outcome(name, before):
    """What the slot holds when the operation was carried out."""
    if name == 'Rotate':
        return rotated(before, 'third')
    if name == 'Move':
        return rotated(before, 'third', OTHER_HOST, 'device-9')
    return {'Provision': FIRST, 'Clear': EMPTY, 'UndoRotate': before.previous, 'Adopt': ADOPTED,
            'GetToken': before}[name]


def call(bench, name, slot, content):
    """content is what is to be there afterwards."""
    return {'Provision': lambda: bench.provision(slot, content), 'Rotate': lambda: bench.rotate(slot, content),
            'Move': lambda: bench.rotate(slot, content), 'UndoRotate': lambda: bench.undo(slot),
            'Adopt': lambda: bench.adopt(slot, FOUND), 'Clear': lambda: bench.clear(slot),
            'GetToken': lambda: bench.token(slot)}[name]()


# ---- one point ----

def give_order(bench, place, order, n):
    path = bench.at(f'{place}-orders')
    with open(path + '.new', 'w') as file:
        file.write(f'{order} {n}\n')
    os.rename(path + '.new', path)


def operate(bench, name, slot, place):
    """The operation, and all that comes after it of itself: jobs are done in turn, so that when a Provision of a slot
    that is taken was refused, nothing of the operation is under way. The order that it missed is withdrawn."""
    answer = call(bench, name, slot, outcome(name, bench.contents[slot]))
    error = bench.error
    give_order(bench, place, 'none', MANY)
    check(not bench.provision(STRANGERS_SLOT, FIRST), f'slot {STRANGERS_SLOT} is a stranger\'s, but it was provisioned')
    bench.error = error
    return answer


def fired(bench, place):
    """What stood in the way when the order was carried out; None where the operation ended before."""
    try:
        with open(bench.at(f'{place}-orders.fired')) as file:
            return file.read().split()[2]
    except FileNotFoundError:
        return None


def may_leave_session(place, order, what):
    """A session that hubkeyd had started when it was killed. Without a resource manager it cannot be told from a
    stranger's, so nobody may flush it; the TPM drops it at its next reset. There is exactly one moment for that:
    between StartAuthSession and the Create that ends the session."""
    return place == 'tpm' and order == 'kill-after' and int(what, 16) == rawtpm.START_AUTH_SESSION


def tear(bench, half):
    """Makes the state that is left when hubkeyd is killed after a certain command."""
    name, start, command = HALVES[half]
    for n in range(1, MANY):
        bench.restore(start)
        give_order(bench, 'tpm', 'kill-after', n)
        operate(bench, name, 0, 'tpm')
        what = fired(bench, 'tpm')
        check(what, f'{name} has no command 0x{command:x}')
        if int(what, 16) == command:
            bench.keep_files(half, bench.contents, bench.generations)
            return


def start_under_order(bench, half, place, order, n):
    """hubkeyd finds the order when it starts, and what it has to settle."""
    if half not in bench.kept:
        tear(bench, half)
    bench.restore_tpm(half)
    give_order(bench, place, order, n)
    try:
        bench.start_daemon()
    except Failed:
        check(fired(bench, place), 'hubkeyd does not start')


def revive(bench, order):
    if order.startswith('kill'):
        bench.daemon.process.wait(30)
        bench.start_daemon()
    else:
        bench.after_power_cut()
        bench.await_ready()


def check_generation(bench, slot, found, before=None):
    """It grows with every change that was made, and with nothing else. Before is the slot's content, if it is not the
    one that everything started from."""
    generation, last = bench.generation(slot), bench.generations[slot]
    if found == (before or bench.contents[slot]):
        check(generation in (0, last), f'nothing was changed, but generation {last} became {generation}')
    elif found != EMPTY:
        check(generation > last, f'slot {slot} was changed, but generation {last} became {generation}')
    bench.generations[slot] = max(generation, last)


def step(bench, slot, name, before, after, sessions):
    check(call(bench, name, slot, after), f'{name} afterwards fails: {bench.error}\n{bench.daemon.tail()}')
    check_all(bench, slot, (after,), sessions)
    check_generation(bench, slot, after, before)
    return after


def use_again(bench, slot, content, sessions):
    """Whatever can be done with a slot of that content goes well: the previous key comes back where there should be
    one, and else the key is exchanged; the slot can be emptied and filled."""
    if content == EMPTY:
        content = step(bench, slot, 'Provision', content, FIRST, sessions)
        step(bench, slot, 'Clear', content, EMPTY, sessions)
        return
    if content.state == 'found':
        content = step(bench, slot, 'Adopt', content, ADOPTED, sessions)
    if content.previous:
        content = step(bench, slot, 'UndoRotate', content, content.previous, sessions)
    else:
        content = step(bench, slot, 'Rotate', content, rotated(content, 'fourth'), sessions)
    content = step(bench, slot, 'Clear', content, EMPTY, sessions)
    step(bench, slot, 'Provision', content, FIRST, sessions)


def is_settled(bench):
    return not any(name.endswith('.intent') for name in os.listdir(bench.at('state')))


def after_operation(bench, series, n):
    """What stood in the way of the operation, and what the slot may hold then."""
    name, start, slot, place, order = series
    bench.restore(start)
    give_order(bench, place, order, n)
    answer = bench.tpm.kept_alive(lambda: operate(bench, name, slot, place))
    what = fired(bench, place)
    if what is None:
        check(answer, f'{name} fails although nobody disturbs it: {bench.error}')
    before = bench.contents[slot]
    after = outcome(name, before)
    return what, (after,) if answer else (before, after)


def after_start(bench, series, n):
    """The same of hubkeyd's start: a provisioning is undone, everything else finished."""
    _, half, slot, place, order = series
    start_under_order(bench, half, place, order, n)
    name, before = HALVES[half][0], bench.contents[slot]
    return fired(bench, place), (before if name == 'Provision' else outcome(name, before),)


def one_point(bench, series, n):
    """What the point was, and whether it is the last one that matters; None where there is no such point any more."""
    name, _, slot, place, order = series
    what, allowed = (after_start if name == 'Start' else after_operation)(bench, series, n)
    if what is None:
        return None
    last = name == 'Start' and is_settled(bench)  # what hubkeyd still does then is to look at its slots
    revive(bench, order)
    sessions = 1 if may_leave_session(place, order, what) else 0
    found = check_all(bench, slot, allowed, sessions)
    check_generation(bench, slot, found)
    text = f'{what}, {"undone" if found == bench.contents[slot] else "done"}'
    use_again(bench, slot, found, sessions)
    return text, last


def run_series(bench, series, results):
    text = '{} of slot {}, {}: {} of {}'.format(series[0], series[2], series[1], series[4], series[3])
    failures = 0
    for n in range(1, MANY):
        try:
            point = one_point(bench, series, n)
        except Exception as error:  # noqa: BLE001, whatever it is, it is a case that failed
            note = str(error) if isinstance(error, Wrong) else traceback.format_exc()
            results.put((False, f'{text} {n}', note))
            failures += 1
            if failures == ENOUGH:
                return
            continue
        if point is None:
            results.put((n > 1, f'{text}: {n - 1} points', 'no point was met'))
            return
        what, last = point
        results.put((True, f'{text} {n} ({what})', ''))
        if last:
            return
    results.put((False, text, f'{MANY} points and no end'))


def work(tasks, results):
    bench = Bench()
    try:
        bench.prepare()
        while (series := tasks.get()) is not None:
            run_series(bench, series, results)
    except Exception:  # noqa: BLE001
        results.put((False, 'a bench', traceback.format_exc()))
    finally:
        bench.close()
        results.put(None)


def run():
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    wanted = [series for series in plan() if all(word in map(str, series) for word in sys.argv[1:])]
    for series in wanted + [None] * WORKERS:
        tasks.put(series)
    workers = [multiprocessing.Process(target=work, args=(tasks, results)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    running, cases, failed = len(workers), 0, 0
    while running:
        result = results.get()
        if result is None:
            running -= 1
            continue
        good, text, note = result
        cases += 1
        failed += not good
        print(f'{"ok" if good else "not ok"} {cases} - {text}', flush=True)
        if not good:
            print(''.join(f'# {line}\n' for line in note.splitlines()), end='', flush=True)
    for worker in workers:
        worker.join()
    print(f'1..{cases}')
    return failed


def missing():
    if os.geteuid() != 0:
        return 'changing a slot needs root'
    if not shutil.which('swtpm'):
        return 'swtpm is not installed'
    try:
        import dbus  # noqa: F401
    except ImportError:
        return 'python3-dbus is not installed'
    return None if os.path.exists(library('libtcti-spy.so')) else 'tests/lib/libtcti-spy.la is not built'


def main():
    reason = missing()
    if reason:
        print(f'1..0 # SKIP {reason}')
        return 0
    begun = time.monotonic()
    failed = run()
    print(f'# {time.monotonic() - begun:.0f} s')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
