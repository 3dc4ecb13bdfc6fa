#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""hubkeyctl send as the end of a pipe: signals, other writers, bounds, what is told meanwhile."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, enter, hub, pages, wait_until  # noqa: E402

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
    """The queue's counts; None while there is no queue."""
    code, out, _ = ctl('queue', 'status', '--queue', path, '--json')
    return json.loads(out) if code == 0 else None


def bodies(device, module=None):
    return [base64.b64decode(message['body']).decode() for message in pages(f'/messages?device={device}', 'messages')
            if message['module'] == module]


def start(*arguments, stdin=PIPE):
    return subprocess.Popen(['hubkeyctl', 'send', '0', *arguments], stdin=stdin, stdout=PIPE, stderr=PIPE, text=True)


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
    fault = hub('/faults', 'POST', {'kind': 'refuse-connect'})
    sender = start('--queue', path, '--wait', '600', '--json')
    sender.stdin.write('kept\n')
    sender.stdin.close()
    sender.stdin = None
    wait_until(lambda: (status(path) or {'accepted': 0})['accepted'] == 1, 'the line to be accepted')
    sender.send_signal(signal.SIGINT)
    out, err = sender.communicate(timeout=20)
    hub('/faults', 'DELETE')
    tap.ok(sender.returncode == 5 and last_object(out)['waiting'] == 1, 'SIGINT ends the wait for the hub', (out, err))
    tap.ok(fault and f'hubkeyctl queue flush 0 --queue {path}' in err, 'and it says how to go on', err)


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
    test_closed_pipe(tap)
    test_module_queue(tap)
    tap.done()
    return tap.failed


if __name__ == '__main__':
    enter()
    sys.exit(1 if main() else 0)
