#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Kills hubkeyd, and cuts the TPM's power, before and after every TPM command and every change of a file that a
Provision or a Clear makes, one point after the other until the operation gets through untouched. Each time what died is
started again, and then the slot is exactly what it was or exactly what it was to be, and nothing is left over."""

import multiprocessing
import os
import shutil
import sys
import time
import traceback

import rawtpm
from crashbench import NEIGHBOUR_DEVICE, NEIGHBOUR_KEY, Bench, Failed, Wrong, check, library

WORKERS = 2
MANY = 200  # points of one series; an operation that has more is one that does not end

# What happens to an operation: the spy between hubkeyd and TPM and the one below its file calls know these words.
# Beside another slot in use there is less to do (the SRK is there, and stays pinned), so less is tried; so it is where
# what a crash left is settled.
ALL = (('tpm', ('kill-before', 'kill-after', 'cut-before', 'cut-lost', 'reset-before')),
       ('file', ('kill-before', 'kill-after')))
SOME = (('tpm', ('kill-after',)),)
SETTLING = (('tpm', ('kill-after',)), ('file', ('kill-before',)))
# What is done, from which state on. Start is hubkeyd's own, after a crash that left half of an operation behind.
OPERATIONS = (('Provision', 'fresh', ALL), ('Clear', 'ready', ALL), ('Provision', 'beside', SOME),
              ('Clear', 'both', SOME), ('Start', 'half-provisioned', SETTLING), ('Start', 'half-cleared', SETTLING))
# Where the halves come from: an operation, its start, and the command in the TPM that was the last one.
HALVES = {'half-provisioned': ('Provision', 'fresh', rawtpm.NV_WRITE_LOCK),
          'half-cleared': ('Clear', 'ready', rawtpm.EVICT_CONTROL)}


def plan():
    for name, start, places in OPERATIONS:
        for place, orders in places:
            for order in orders:
                yield name, start, place, order


def give_order(bench, place, order, n):
    path = bench.at(f'{place}-orders')
    with open(path + '.new', 'w') as file:
        file.write(f'{order} {n}\n')
    os.rename(path + '.new', path)


def operate(bench, name, place):
    """The operation, and all that comes after it of itself: jobs are done in turn, so that when a Provision of a slot
    that is taken was refused, nothing of the operation is under way, and the order that it missed is withdrawn."""
    answer = bench.provision() if name == 'Provision' else bench.clear()
    error = bench.error
    give_order(bench, place, 'none', MANY)
    if answer:
        check(not bench.provision(7, 'nobody'), 'slot 7 is a stranger\'s, but it was provisioned')
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
    return place == 'tpm' and (order, int(what, 16)) in (('kill-after', rawtpm.START_AUTH_SESSION),
                                                         ('kill-before', rawtpm.CREATE))


def tear(bench, half):
    """Makes the state that is left when hubkeyd is killed after a certain command."""
    name, start, command = HALVES[half]
    for n in range(1, MANY):
        bench.restore(start)
        give_order(bench, 'tpm', 'kill-after', n)
        operate(bench, name, 'tpm')
        what = fired(bench, 'tpm')
        check(what, f'{name} has no command 0x{command:x}')
        if int(what, 16) == command:
            bench.keep(half)
            return


def start_under_order(bench, half, place, order, n):
    """hubkeyd finds the order when it starts, and what it has to settle."""
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


def check_all(bench, start, sessions):
    """The state of slot 0."""
    state = bench.check_slot()
    if start in ('beside', 'both'):
        check(bench.check_slot(1, NEIGHBOUR_DEVICE, NEIGHBOUR_KEY) == 'ready', 'slot 1 is not what it was')
    bench.check_disk()
    bench.check_strangers()
    transient, loaded, saved = bench.leftovers()
    check(not transient, f'transient objects left: {[hex(handle) for handle in transient]}')
    check(not saved and len(loaded) <= sessions, f'sessions left: {len(loaded)} loaded, {len(saved)} saved')
    return state


def check_outcome(name, start, answer, state, generations):
    if name == 'Start':
        check(state == 'empty', f'{start} became {state}')
        return False
    before, after = ('empty', 'ready') if name == 'Provision' else ('ready', 'empty')
    if answer:
        check(state == after, f'{name} was answered with success, but slot 0 is {state}')
    if state == 'ready':
        check(generations[1] > generations[0] if name == 'Provision' else generations[1] == generations[0],
              f'generation {generations[0]} became {generations[1]}')
    return state == before


def use_again(bench, start, state, sessions):
    """The slot can be emptied, filled and emptied, and its generation only ever grows."""
    first = bench.generation()
    if state == 'ready':
        check(bench.clear(), 'Clear afterwards fails')
        check(check_all(bench, start, sessions) == 'empty', 'Clear afterwards clears nothing')
    check(bench.provision(), 'Provision afterwards fails')
    check(check_all(bench, start, sessions) == 'ready', 'Provision afterwards makes nothing')
    check(bench.generation() > first, 'a generation was used again')
    check(bench.clear(), 'the last Clear fails')
    check(check_all(bench, start, sessions) == 'empty', 'the last Clear clears nothing')


def one_point(bench, series, n):
    """What the point was, and whether it turned out as the old state; None where there is no such point any more."""
    name, start, place, order = series
    answer, generation = None, 0
    if name == 'Start':
        start_under_order(bench, start, place, order, n)
    else:
        bench.restore(start)
        generation = bench.generation()
        give_order(bench, place, order, n)
        answer = bench.tpm.kept_alive(lambda: operate(bench, name, place))
    what = fired(bench, place)
    if what is None:
        check(answer or name == 'Start', f'{name} fails although nobody disturbs it: {bench.error}')
        return None
    revive(bench, order)
    sessions = 1 if may_leave_session(place, order, what) else 0
    state = check_all(bench, start, sessions)
    old = check_outcome(name, start, answer, state, (generation, bench.generation()))
    use_again(bench, start, state, sessions)
    return f'{what}, {"undone" if old else "done"}'


def run_series(bench, series, results):
    text = '{}, {}: {} of {}'.format(series[0], series[1], series[3], series[2])
    for n in range(1, MANY):
        try:
            point = one_point(bench, series, n)
        except Exception as error:  # noqa: BLE001, whatever it is, it is a case that failed
            note = str(error) if isinstance(error, Wrong) else traceback.format_exc()
            results.put((False, f'{text} {n}', note))
            continue
        if point is None:
            results.put((n > 1, f'{text}: {n - 1} points', 'no point was met'))
            return
        results.put((True, f'{text} {n} ({point})', ''))
    results.put((False, text, f'{MANY} points and no end'))


def work(tasks, results):
    bench = Bench()
    try:
        bench.prepare()
        for half in HALVES:
            tear(bench, half)
        while (series := tasks.get()) is not None:
            run_series(bench, series, results)
    except Exception:  # noqa: BLE001
        results.put((False, 'a bench', traceback.format_exc()))
    finally:
        bench.close()
        results.put(None)


def run():
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    wanted = [series for series in plan() if all(word in series for word in sys.argv[1:])]
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
        return 'Provision and Clear need root'
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
