#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""hubkeyctl send as the end of a pipe: signals, other writers, bounds, what is told meanwhile."""

import base64
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, as_user, enter, hub, pages, wait_until  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
KEY = 'QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY='
PIPE = subprocess.PIPE


def queue_path(name):
    return os.path.join(BOX, 'client', name + '.queue')


def ctl(*arguments, text='', **options):
    done = subprocess.run(['hubkeyctl', *arguments], input=text, stdout=PIPE, stderr=PIPE, text=True, timeout=120,
                          **options)
    return done.returncode, done.stdout, done.stderr


def last_object(text):
    return json.loads(text.splitlines()[-1])


def status(path):
    """The queue's counts; None while there is no queue, which is made with its lock."""
    if not os.path.exists(path + '.lock'):
        return None
    code, out, _ = ctl('queue', 'status', '--queue', path, '--json')
    return json.loads(out) if code == 0 else None


def bodies(device, module=None):
    return [base64.b64decode(message['body']).decode() for message in pages(f'/messages?device={device}', 'messages')
            if message['module'] == module]


def start(*arguments, stdin=PIPE):
    return subprocess.Popen(['hubkeyctl', 'send', '0', *arguments], stdin=stdin, stdout=PIPE, stderr=PIPE, text=True)


def cut_hub():
    hub('/faults', 'POST', {'kind': 'refuse-connect'})


def test_signals(tap):
    """An input that is always readable, and a signal in the middle of it."""
    for number, stop in enumerate((signal.SIGTERM, signal.SIGINT)):
        path = queue_path(f'signal-{number}')
        source = subprocess.Popen(['yes', 'x' * 1000], stdout=PIPE)
        sender = start('--queue', path, '--queue-only', '--json', stdin=source.stdout)
        source.stdout.close()
        try:
            wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] > 1000, 'lines to be accepted')
            sender.send_signal(stop)
            out, err = sender.communicate(timeout=20)
        finally:
            source.kill()
            source.wait()
        tap.ok(sender.returncode == 0, f'{stop.name} ends a sender whose input never pauses', err)
        tap.ok(last_object(out)['accepted'] == status(path)['accepted'], 'it has counted what it accepted', out)


def test_signal_while_waiting(tap):
    path = queue_path('waiting')
    cut_hub()
    sender = start('--queue', path, '--wait', '600', '--json')
    sender.stdin.write('kept\n')
    sender.stdin.close()
    sender.stdin = None
    wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] == 1, 'the line to be accepted')
    sender.send_signal(signal.SIGINT)
    out, err = sender.communicate(timeout=20)
    hub('/faults', 'DELETE')
    tap.ok(sender.returncode == 5 and last_object(out)['waiting'] == 1, 'SIGINT ends the wait for the hub', (out, err))
    tap.ok(f'hubkeyctl queue flush 0 --queue {path}' in err, 'and it says how to go on', err)


def test_other_writer(tap):
    """Beside a writer who never rests, a sender reports its own lines, and does not wait for the other's."""
    path = queue_path('shared')
    other = start('--queue', path)
    resting = threading.Event()

    def pour():
        while not resting.wait(0.001):
            other.stdin.write('other\n')
            other.stdin.flush()

    writer = threading.Thread(target=pour)
    writer.start()
    try:
        wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] > 10, 'the other to write')
        code, out, err = ctl('send', '0', '--queue', path, '--json', '--wait', '30', text='mine 1\nmine 2\n')
        told = last_object(out)
        tap.ok(code == 0 and (told['accepted'], told['delivered'], told['waiting']) == (2, 2, 0),
               'own lines are told as delivered while another writer goes on', (code, out, err))
    finally:
        resting.set()
        writer.join()
        other.stdin.close()
        other.wait(60)
    code, out, _ = ctl('queue', 'flush', '0', '--queue', path, '--json', '--wait', '30')
    tap.ok(code == 0 and status(path)['waiting'] == 0, 'and the other writer loses nothing', out)


def test_policies(tap):
    """A queue with room for a few lines of a hundred, each larger than its text by id, times and names."""
    text = ''.join(f'{number:0100}\n' for number in range(100))
    cut_hub()
    path = queue_path('refuse')
    code, out, err = ctl('send', '0', '--queue', path, '--queue-only', '--json', '--max-bytes', '2000', text=text)
    told, counts = last_object(out), status(path)
    tap.ok(code == 1 and 0 < told['accepted'] < 20 and told['refused'] == 100 - told['accepted'],
           'refuse: lines beyond the bound are refused', (code, out, err))
    tap.ok(counts['waiting'] == told['accepted'] and counts['waiting_bytes'] <= 2000, 'and the bound holds', counts)
    tap.ok(f'line {told["accepted"] + 1} was not sent' in err and 'only counted' in err, 'by number, up to a limit',
           err)

    path = queue_path('drop')
    code, out, err = ctl('send', '0', '--queue', path, '--queue-only', '--json', '--max-bytes', '2000', '--policy',
                         'drop-oldest', text=text)
    told, counts = last_object(out), status(path)
    tap.ok(told['accepted'] == 100 and told['refused'] == told['dead'] == 0 and
           told['dropped'] == counts['dropped'] > 80 and code == 1 and f'{told["dropped"]} lines dropped' in err,
           'drop-oldest: all are accepted, those that made room are told', (code, out, err, counts))
    tap.ok(told['waiting'] == counts['waiting'] and counts['waiting_bytes'] <= 2000, 'and the bound holds', counts)

    path = queue_path('block')
    sender = start('--queue', path, '--json', '--max-bytes', '2000', '--policy', 'block', '--wait', '60')
    writer = threading.Thread(target=lambda: (sender.stdin.write(text), sender.stdin.close()))
    writer.start()
    wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] == told['waiting'], 'the queue to be full')
    hub('/faults', 'DELETE')
    out, err = sender.stdout.read(), sender.stderr.read()
    writer.join()
    counts = status(path)
    tap.ok(sender.wait(60) == 0 and last_object(out)['delivered'] == 100 and counts['dropped'] == 0,
           'block: lines wait for room and all arrive', (out, err, counts))
    mine = [body for body in bodies(os.environ['HUBKEY_DEVICE_ID']) if body in text]
    tap.ok(mine == text.split(), 'in order', mine)


def test_removed(tap):
    """What an operator removed meanwhile is no message that the hub refused."""
    path = queue_path('removed')
    sender = start('--queue', path, '--queue-only', '--json')
    sender.stdin.write('a\nb\n')
    sender.stdin.flush()
    wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] == 2, 'the lines to be accepted')
    code, _, err = ctl('queue', 'drop', '--queue', path, '--yes', '--through', '1')
    tap.ok(code == 0, 'a line is removed', err)
    out, err = sender.communicate(timeout=20)
    told = last_object(out)
    tap.ok(sender.returncode == 1 and (told['dead'], told['dropped'], told['removed'], told['waiting']) == (0, 0, 1, 1),
           'and told as removed', (out, err))
    tap.ok('1 line removed' in err, 'also to people', err)


def test_block_is_interrupted(tap):
    """While lines wait for room a signal ends it, and says which were not taken."""
    path = queue_path('block-signal')
    sender = start('--queue', path, '--queue-only', '--json', '--max-bytes', '300', '--policy', 'block')
    sender.stdin.write('a\nb\nc\nd\ne\n' + 'x' * 400 + '\n')
    sender.stdin.flush()
    wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] > 0, 'the first lines to be accepted')
    sender.send_signal(signal.SIGTERM)
    out, err = sender.communicate(timeout=20)
    told = last_object(out)
    tap.ok(sender.returncode == 1 and told['accepted'] == status(path)['waiting'],
           'SIGTERM ends the wait for room', out)
    tap.ok(told['accepted'] + told['refused'] == 6 and 'the queue is full' in err, 'no line is left untold', (out, err))


def test_bounds_that_are_wrong(tap):
    for option, value in (('--policy', 'drop'), ('--max-bytes', '0'), ('--max-bytes', '1k'), ('--max-bytes', '-1')):
        code, out, err = ctl('send', '0', option, value, '--queue', queue_path('none'), text='x\n')
        tap.ok(code == 2 and option in err and out == '', f'{option} {value} is wrong usage', err)
    tap.ok(status(queue_path('none')) is None, 'and opens no queue')


def test_dry_run(tap):
    path = queue_path('dry')
    code, out, err = ctl('send', '0', '--dry-run', '--queue', path, '-p', 'unit=K', text='one\n\nthree')
    tap.ok(code == 0 and out.startswith(f'3 lines would go into {path}'), 'a dry run counts lines', (out, err))
    code, out, err = ctl('send', '0', '--dry-run', '--json', '--queue', path, text='a\n' + 'x' * 261100 + '\nb')
    told = last_object(out)
    tap.ok(code == 1 and (told['accepted'], told['refused']) == (2, 1) and 'line 2 ' in err,
           'it finds what would be refused, properties included', (out, err))
    code, out, err = ctl('send', '0', '--dry-run', '--queue', path, '-p', 'na me=x', text='')
    tap.ok(code == 2 and 'name' in err, 'and a property that the hub would not take', err)
    tap.ok(not os.path.exists(path), 'and it makes no queue')


def on_terminal(*arguments, text):
    """What send writes to a terminal on stderr."""
    master, slave = pty.openpty()
    sender = subprocess.Popen(['hubkeyctl', 'send', '0', *arguments], stdin=PIPE, stdout=subprocess.DEVNULL,
                              stderr=slave, env={**os.environ, 'TERM': 'xterm'})
    os.close(slave)
    sender.stdin.write(text.encode())
    sender.stdin.close()
    seen = b''
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
        if b'ETA' in seen:
            hub('/faults', 'DELETE')
    os.close(master)
    return sender.wait(60), seen.decode()


def test_progress(tap):
    cut_hub()
    code, seen = on_terminal('--queue', queue_path('progress'), '--wait', '60', text='a\nb\nc\n')
    tap.ok(code == 0 and re.search(r'\r3 accepted, 0 sent, 0/s, ETA --:--', seen),
           'progress is shown on a terminal', seen)
    tap.ok(seen.endswith('\r\x1b[K3 lines delivered\r\n'), 'and makes way for the result', seen)
    _, _, err = ctl('send', '0', '--queue', queue_path('progress'), text='a\n')
    tap.ok('accepted' not in err, 'and nowhere else', err)


def test_closed_pipe(tap):
    """Who reads the acknowledgements went away: the lines are safe all the same."""
    path = queue_path('closed')
    reading, writing = os.pipe()
    os.close(reading)
    sender = subprocess.Popen(['hubkeyctl', 'send', '0', '--queue', path, '--queue-only', '--ack'], stdin=PIPE,
                              stdout=writing, stderr=PIPE, text=True)
    os.close(writing)
    sender.communicate('a\nb\n', timeout=20)
    tap.ok(sender.returncode != 0 and status(path)['waiting'] == 2, 'a closed pipe under --ack loses no line',
           sender.returncode)


def test_refused_by_hubkeyd(tap):
    """Who gets no token keeps the lines, and is told why they wait."""
    state = os.path.join(BOX, 'client', 'out')
    subprocess.run(['install', '-d', '-o', 'hubkey-out', '-g', 'hubkey-out', '-m', '700', state], check=True)
    done = subprocess.run(as_user('hubkey-out', 'hubkeyctl', 'send', '0', '--wait', '1', '--json'), input='kept\n',
                          stdout=PIPE, stderr=PIPE, text=True, timeout=60,
                          env={**os.environ, 'STATE_DIRECTORY': state})
    tap.ok(done.returncode == 5 and last_object(done.stdout)['waiting'] == 1 and 'rejected' in done.stderr and
           'hubkey-out' in done.stderr, 'a refusal by hubkeyd leaves the lines queued, with the reason',
           (done.returncode, done.stdout, done.stderr))


def test_module_queue(tap):
    """A file alone names the slot: that of the module, not that of its device."""
    hub('/devices', 'POST', {'deviceId': 'edge', 'primaryKey': KEY})
    hub('/devices', 'POST', {'deviceId': 'edge', 'moduleId': 'camera', 'primaryKey': KEY})
    slots = {'1': [], '10': ['--module-id', 'camera']}
    for slot, module in slots.items():
        code, _, err = ctl('provision', slot, '--host-name', os.environ['HUBKEY_HUB_HOST'], '--device-id', 'edge',
                           *module, '--key-file', '-', text=KEY)
        tap.ok(code == 0, f'slot {slot} is provisioned', err)
    path = queue_path('module')
    ctl('send', '10', '--queue', path, '--queue-only', text='seen\n')
    ctl('queue', 'rebind', '10', '--queue', path)
    code, _, err = ctl('queue', 'flush', '--queue', path, '--wait', '20')
    tap.ok(code == 0, 'the queue of a module is flushed by its file alone', err)
    tap.ok(bodies('edge', 'camera') == ['seen'], 'as the module', list(pages('/messages?device=edge', 'messages')))
    for slot in slots:
        ctl('clear', slot, '--yes')


def main():
    tap = Tap()
    test_signals(tap)
    test_signal_while_waiting(tap)
    test_other_writer(tap)
    test_policies(tap)
    test_removed(tap)
    test_block_is_interrupted(tap)
    test_bounds_that_are_wrong(tap)
    test_dry_run(tap)
    test_progress(tap)
    test_closed_pipe(tap)
    test_refused_by_hubkeyd(tap)
    test_module_queue(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())
