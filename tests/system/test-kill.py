#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 of the hub, of hubkeyd, of the TPM and of the sender, 20 times each, while messages flow.

Every message that was acknowledged must arrive, first arrivals in order, one request at a time, and nothing twice that
the sender could have known to be delivered.
"""

import os
import select
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, as_user, enter, hub, kill_server, pages, restart_server, wait_until  # noqa: E402

ROUNDS = 20
OUTSTANDING = 20   # lines given to the sender and not acknowledged yet
PACE = 0.002       # seconds between lines: load, not proof
STEP = 20          # acknowledged lines that make a phase of a round
BOX = os.environ.get('HUBKEY_SANDBOX', '')
STATE = os.path.join(BOX, 'client', 'kill')


class Sender:
    """hubkeyctl send, fed with numbered lines as fast as it acknowledges them, started again after each end."""

    def __init__(self):
        subprocess.run(['install', '-d', '-o', 'hubkey-in', '-g', 'hubkey-in', '-m', '700', STATE], check=True)
        self.number = 0          # of the last line written, over all processes
        self.acknowledged = {}   # message id -> number
        self.more = threading.Condition()
        self.log = open(os.path.join(BOX, 'sender.log'), 'ab')
        self.start()

    def start(self):
        environment = {**os.environ, 'STATE_DIRECTORY': STATE}
        environment.pop('HUBKEY_DEVICE_KEY')
        self.process = subprocess.Popen(as_user('hubkey-in', 'hubkeyctl', 'send', '0', '--ack', '--wait', '120'),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        env=environment, text=True)
        self.room = threading.Semaphore(OUTSTANDING)
        self.written = []
        self.ending = False
        self.threads = [threading.Thread(target=self.feed), threading.Thread(target=self.read)]
        for thread in self.threads:
            thread.start()

    def feed(self):
        try:
            while self.room.acquire() and not self.ending:
                self.number += 1
                self.written.append(self.number)
                self.process.stdin.write(f'{self.number}\n')
                self.process.stdin.flush()
                select.select([], [], [], PACE)
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def read(self):
        """Acknowledgements come in the order of the lines."""
        lines = 0
        for line in self.process.stdout:
            if not line.endswith('\n'):
                break  # cut short by the kill: not said
            _, message_id = line.split()
            with self.more:
                self.acknowledged[message_id] = self.written[lines]
                self.more.notify()
            lines += 1
            self.room.release()

    def end(self):
        self.ending = True
        self.room.release()
        for thread in self.threads:
            thread.join()
        return self.process.wait(180)

    def kill(self):
        self.ending = True
        self.process.kill()
        self.process.wait()
        self.room.release()
        for thread in self.threads:
            thread.join()

    def wait_for_more(self):
        enough = len(self.acknowledged) + STEP
        with self.more:
            if not self.more.wait_for(lambda: len(self.acknowledged) >= enough, 60):
                raise TimeoutError(f'waited for {STEP} lines to be acknowledged')


def accepted():
    return hub('/stats')['accepted']


def wait_for_arrivals():
    before = accepted()
    wait_until(lambda: accepted() > before, 'messages to arrive')


def break_server(sender, name):
    kill_server(name)
    sender.wait_for_more()  # the queue takes messages whatever is broken
    restart_server(name)
    sender.wait_for_more()
    wait_for_arrivals()


def break_sender(sender):
    sender.kill()
    sender.start()
    sender.wait_for_more()
    wait_for_arrivals()


def use_short_tokens():
    """So that a new one is needed again and again, and the TPM's absence is noticed."""
    with open(os.path.join(BOX, 'hubkeyd.conf.d', 'short.conf'), 'w') as file:
        file.write('[slots]\nDefaultTtl=4\nMaxTtl=8\n')
    kill_server('hubkeyd')
    restart_server('hubkeyd')


def judge(tap, sender):
    arrived = list(pages(f'/messages?device={os.environ["HUBKEY_DEVICE_ID"]}', 'messages'))
    first = {}
    for message in arrived:
        first.setdefault(message['messageId'], message)
    created = [int(message['properties']['created']) for message in first.values()]
    missing = sorted(set(sender.acknowledged) - set(first))
    stats = hub('/stats')
    tap.note(f'{sender.number} lines, {len(sender.acknowledged)} acknowledged, {len(arrived)} arrived, '
             f'{len(arrived) - len(first)} of them again; {stats["requests"]} requests')
    tap.ok(not missing, 'every acknowledged message arrived', f'missing: {missing[:5]} and {len(missing)} in all')
    positions = {message_id: place for place, message_id in enumerate(first)}
    order = [positions[message_id] for message_id in sorted(sender.acknowledged, key=sender.acknowledged.get)
             if message_id in positions]
    tap.ok(order == sorted(order), 'first arrivals came in the order of the lines')
    tap.ok(created == sorted(created), 'and in the order in which they were made')
    tap.ok(stats['unexplainedDuplicates'] == 0, 'no duplicate without a reason', stats)
    tap.ok(stats['maxInFlight'].get(os.environ['HUBKEY_DEVICE_ID']) == 1, 'one request at a time', stats)


def main():
    tap = Tap()
    use_short_tokens()
    sender = Sender()
    try:
        sender.wait_for_more()
        wait_for_arrivals()
        for name in ('hub', 'hubkeyd', 'swtpm', 'sender'):
            start = time.monotonic()
            for _ in range(ROUNDS):
                break_sender(sender) if name == 'sender' else break_server(sender, name)
            tap.ok(True, f'messages flow again after each of {ROUNDS} kills of {name}')
            tap.note(f'{time.monotonic() - start:.1f} s')
        code = sender.end()
        tap.ok(code == 0, 'the sender delivers the rest and exits 0', f'exit code {code}')
        judge(tap, sender)
    except TimeoutError as error:
        tap.ok(False, 'nothing gets stuck', error)
        sender.kill()
    tap.done()


if __name__ == '__main__':
    enter()
    main()
